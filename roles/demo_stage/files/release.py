# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small HTTP service that is deployed in releases. Usage: release.py PORT

``release.json`` beside it says what it is: ``{"version": "v1"}``. With ``"ready": false`` it never gets ready; with ``"lasts": 2`` it is
well for 2 seconds after its first start and never again, so that only another release helps.
"""

import json
import os
import socket
import sys
import threading
import time

ANSWER = b"HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
PATIENCE = 5.0
LONGEST = 8192
# The release itself, also when `current` leads elsewhere by now.
HERE = os.path.dirname(os.path.realpath(__file__))


def first_start():
    """When this release was started for the first time, in seconds since the epoch."""
    path = os.path.join(HERE, "first-start")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.stat(path).st_mtime
    os.close(descriptor)
    return time.time()


def answer(about, started, url):
    lasts = about.get("lasts")
    well = lasts is None or time.time() < started + lasts
    if url == b"/version":
        return b"200 OK", about["version"].encode() + b"\n"
    if url == b"/live":
        return (b"200 OK", b"ok\n") if well else (b"500 Internal Server Error", b"a bug in " + about["version"].encode() + b"\n")
    if url == b"/ready":
        return (b"200 OK", b"ok\n") if well and about.get("ready", True) else (b"503 Service Unavailable", b"starting\n")
    return b"404 Not Found", b"not found\n"


def serve(connection, about, started):
    """Answer one request; a client that is gone, slow or talks nonsense costs only its own thread."""
    with connection:
        connection.settimeout(PATIENCE)
        head = b""
        try:
            while b"\r\n\r\n" not in head and len(head) < LONGEST:
                part = connection.recv(LONGEST)
                if not part:
                    return
                head += part
            words = head.split(b" ", 2)
            status, body = answer(about, started, words[1].split(b"?")[0] if len(words) == 3 else b"")
            connection.sendall(ANSWER % (status, len(body), body))
        except OSError as error:
            sys.stderr.write("a client went away: %s\n" % error)


def main():
    with open(os.path.join(HERE, "release.json"), encoding="utf-8") as file:
        about = json.load(file)
    started = first_start()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(sys.argv[1])))
    listener.listen(128)
    while True:
        connection = listener.accept()[0]
        threading.Thread(target=serve, args=(connection, about, started), daemon=True).start()


if __name__ == "__main__":
    main()
