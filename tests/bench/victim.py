# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""victim.c for machines without a C compiler: the same, but it takes some 20 ms to start."""

from __future__ import annotations

import os
import pathlib
import select
import signal
import socket
import sys
from typing import List

HELD = 256


def stop(path: str) -> int:
    try:
        os.kill(int(pathlib.Path(path).read_text()), signal.SIGKILL)
    except ProcessLookupError:
        return 0  # it is gone, which is what was wanted
    return 0


def answer(client: socket.socket) -> None:
    client.settimeout(1)
    data = b""
    try:
        while b"\r\n\r\n" not in data and len(data) < 4096:
            got = client.recv(4096)
            if not got:
                break
            data += got
        body = b"%d\n" % os.getpid()
        client.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body)
        )
    except OSError as error:
        sys.stderr.write("%s\n" % error)
    client.close()


def tell(word: bytes) -> None:
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(word, "\0" + path[1:] if path[0] == "@" else path)


def serve(server: socket.socket, silent: bool) -> None:
    held: List[socket.socket] = []
    limit = os.environ.get("WATCHDOG_USEC")
    tell(b"READY=1")
    while True:
        if not select.select([server], [], [], int(limit) / 2e6 if limit else None)[0]:
            tell(b"WATCHDOG=1")
            continue
        client = server.accept()[0]
        if not silent:
            answer(client)
            continue
        held.append(client)
        if len(held) > HELD:
            held.pop(0).close()


def main(words: List[str]) -> int:
    if words[:1] == ["--stop"] and len(words) == 2:
        return stop(words[1])
    background = words[:1] == ["-d"]
    words = words[background:]
    if len(words) not in (2, 3) or (background and len(words) < 3):
        sys.stderr.write("usage: victim [-d] PORT answer|silent [PIDFILE] | victim --stop PIDFILE\n")
        return 2
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", int(words[0])))
    server.listen(4096)
    if background:
        child = os.fork()
        if child:
            pathlib.Path(words[2]).write_text("%d\n" % child)
            return 0
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
    elif len(words) == 3:
        pathlib.Path(words[2]).write_text("%d\n" % os.getpid())
    serve(server, words[1] == "silent")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
