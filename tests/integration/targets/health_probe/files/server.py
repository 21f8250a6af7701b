# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An HTTP server that behaves as the path says. ``server.py FILE`` writes its port and pid to FILE as JSON, and ends after ten minutes."""

from __future__ import annotations

import collections
import json
import os
import re
import socketserver
import sys
import threading
import time

STOP = threading.Event()
SEEN: collections.Counter[str] = collections.Counter()
LOCK = threading.Lock()


class Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        try:
            self.answer()
        except OSError as error:
            print("the peer has gone: %s" % error, file=sys.stderr)

    def answer(self) -> None:
        request = b""
        while b"\r\n\r\n" not in request or len(request.partition(b"\r\n\r\n")[2]) < self.length(request):
            piece = self.request.recv(65536)
            if not piece:
                return
            request += piece
        path = request.split(b" ")[1].decode().partition("?")[0]
        with LOCK:
            SEEN[path] += 1
            count = SEEN[path]
        self.behave(path, count, request)

    @staticmethod
    def length(request: bytes) -> int:
        found = re.search(rb"\r\nContent-Length: (\d+)", request)
        return int(found.group(1)) if found else 0

    def behave(self, path: str, count: int, request: bytes) -> None:
        if path == "/silence":
            STOP.wait(20)
        elif path == "/header-drip":
            self.drip(b"HTTP/1.1 200 OK\r\nX-Drip: " + b"x" * 1000)
        elif path == "/body-drip":
            self.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000)
        elif path == "/garbage":
            self.request.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")
        elif path == "/slow":
            time.sleep(0.5)
            self.say("200 OK", b"late")
        elif path == "/loop":
            self.say("302 Found", b"", "Location: /loop")
        elif path == "/moved":
            self.say("302 Found", b"", "Location: /ok")
        elif path == "/away":
            self.say("302 Found", b"", "Location: http://elsewhere.example/")
        elif path == "/echo":
            self.say("500 Oops", request)
        elif path == "/json":
            self.say("200 OK", b'{"status": "green", "nodes": [{"ready": true}]}')
        elif path.startswith("/third-time"):
            self.say("200 OK" if count >= 3 else "503 Starting", b"")
        elif path == "/seen":
            with LOCK:
                self.say("200 OK", json.dumps(SEEN).encode(), "Content-Type: application/json")
        elif path == "/ok":
            self.say("200 OK", b"fine")
        else:
            self.say("404 Not Found", b"nothing here")

    def say(self, status: str, body: bytes, *headers: str) -> None:
        lines = ["HTTP/1.1 " + status, "Content-Length: %d" % len(body), "Connection: close", *headers]
        self.request.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + body)

    def drip(self, data: bytes) -> None:
        for byte in data:
            self.request.sendall(bytes([byte]))
            if STOP.wait(0.1):
                return


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 512


def main() -> None:
    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Timer(600, server.shutdown).start()
        with open(sys.argv[1] + ".new", "w", encoding="ascii") as out:
            json.dump({"port": server.server_address[1], "pid": os.getpid()}, out)
        os.replace(sys.argv[1] + ".new", sys.argv[1])
        server.serve_forever()


if __name__ == "__main__":
    main()
