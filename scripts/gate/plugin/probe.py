"""Runs in a container, for preflight: does it see the folder, and can it call this machine back?

usage: python3 - PORT. GET /all answers ok, or what failed: `folder` or `host`, and the error.
"""

import http.server
import sys
import urllib.request

PORT = int(sys.argv[1])


class Probe(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        if self.path != "/all":
            return
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        step = "folder"
        try:
            open("/worktrees/probe").close()
            step = "host"
            direct.open(f"http://host.docker.internal:{PORT}/", timeout=5)
            self.wfile.write(b"ok")
        except OSError as error:
            self.wfile.write(f"{step} {error}".encode())


http.server.ThreadingHTTPServer(("", PORT), Probe).serve_forever()
