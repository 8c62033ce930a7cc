"""Runs in a container, for preflight: can it use the folder, and call this machine back?

usage: python3 - PORT. GET /all answers ok, or the step that failed (read, write, host) and why.
"""

import http.server
import sys
import urllib.request

PORT = int(sys.argv[1])
FOLDER = "/worktrees"


def read():
    open(f"{FOLDER}/probe").close()


def write():
    open(f"{FOLDER}/written", "w").close()


def host():
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    direct.open(f"http://host.docker.internal:{PORT}/", timeout=5)


class Probe(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        if self.path != "/all":
            return
        for step in (read, write, host):
            try:
                step()
            except OSError as error:
                self.wfile.write(f"{step.__name__} {error}".encode())
                return
        self.wfile.write(b"ok")


http.server.ThreadingHTTPServer(("", PORT), Probe).serve_forever()
