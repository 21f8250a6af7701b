# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service that the lab's units run. Everything it does wrong is asked for by a file in its folder.

`python3 lab-service.py FOLDER PORT [--slow-start S] [--slow-stop S] [--dies-after S]`. Answers 200 (500 while FOLDER/bad exists). Appends
its pid to FOLDER/starts at every start; exits at once with 3 while FOLDER/crash exists. Says READY=1 when it can be asked.
"""

from __future__ import annotations

import http.server
import os
import signal
import socket
import sys
import threading
import time


def option(name: str) -> float:
    return float(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else 0.0


def ready() -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"READY=1", "\0" + address[1:] if address[0] == "@" else address)


def main() -> None:
    folder, port = sys.argv[1], int(sys.argv[2])
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "starts"), "a", encoding="ascii") as starts:
        starts.write("%d\n" % os.getpid())
    if os.path.exists(os.path.join(folder, "crash")):
        sys.exit(3)
    slow_stop = option("--slow-stop")
    if slow_stop:

        def stop(_number: int, _frame: object) -> None:
            with open(os.path.join(folder, "stopping"), "a", encoding="ascii") as told:
                told.write("%d\n" % os.getpid())
            time.sleep(slow_stop)
            with open(os.path.join(folder, "stopped"), "a", encoding="ascii") as done:
                done.write("%d\n" % os.getpid())
            os._exit(0)

        signal.signal(signal.SIGTERM, stop)
    time.sleep(option("--slow-start"))

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(500 if os.path.exists(os.path.join(folder, "bad")) else 200)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer)
    dies_after = option("--dies-after")
    if dies_after:
        threading.Timer(dies_after, os._exit, (3,)).start()
    ready()
    server.serve_forever()


main()
