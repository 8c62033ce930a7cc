"""Runs in a container, for preflight: can it use the folder, and call this machine back?

usage: python3 - PORT BYTES. GET /all answers ok, or the step that failed (read, write, space, host)
and why. Its own files are on the engine's disk, which must have that many bytes free.
"""

import http.server
import shutil
import sys
import urllib.request

PORT = int(sys.argv[1])
NEEDED_BYTES = int(sys.argv[2])
FOLDER = "/worktrees"


def read():
    open(f"{FOLDER}/probe").close()


def write():
    open(f"{FOLDER}/written", "w").close()


def space():
    free = shutil.disk_usage("/").free
    if free < NEEDED_BYTES:
        raise OSError(f"{free / 1e9:.1f} GB free")


def host():
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    direct.open(f"http://host.docker.internal:{PORT}/", timeout=5)


class Probe(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        if self.path != "/all":
            return
        for step in (read, write, space, host):
            try:
                step()
            except OSError as error:
                self.wfile.write(f"{step.__name__} {error}".encode())
                return
        self.wfile.write(b"ok")


http.server.ThreadingHTTPServer(("", PORT), Probe).serve_forever()
