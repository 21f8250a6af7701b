# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container engine's socket, answered by a test."""

from __future__ import annotations

import json
import os
import socket
import threading
from typing import Any, Callable, Dict, List, Optional

from selfheal._engine.job import Job

Handler = Callable[[socket.socket, str], Any]
"""What it returns true for stays open until the engine goes down."""


def answer(body: Any, status: int = 200, chunked: bool = False) -> bytes:
    data = b"" if body is None else json.dumps(body).encode()
    if chunked:
        pieces = b"".join(b"%x\r\n%s\r\n" % (len(data[at : at + 7]), data[at : at + 7]) for at in range(0, len(data), 7))
        return b"HTTP/1.1 %d X\r\nTransfer-Encoding: chunked\r\n\r\n%s0\r\n\r\n" % (status, pieces)
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(data), data)


class Engine:
    """Listens on a Unix socket; every connection is a thread that runs `handler(connection, request line)`."""

    def __init__(self, folder: str, handler: Handler) -> None:
        self.path = os.path.join(folder, "engine.sock")
        self.handler = handler
        self.asked: List[str] = []
        self._open: List[socket.socket] = []
        self._sock: Optional[socket.socket] = None
        self.up()

    @property
    def address(self) -> str:
        return "unix://" + self.path

    def up(self) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.bind(self.path)
        self._sock.listen(256)
        threading.Thread(target=self._serve, args=(self._sock,), daemon=True).start()

    def down(self) -> None:
        """As if it were killed: the socket is gone, and every connection ends."""
        if self._sock is not None:
            self._sock.shutdown(socket.SHUT_RDWR)
            self._sock.close()
            os.unlink(self.path)
            self._sock = None
        for connection in self._open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it has ended already
            finally:
                connection.close()
        self._open.clear()

    def _serve(self, sock: socket.socket) -> None:
        while True:
            try:
                connection, _address = sock.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        kept = False
        try:
            line = connection.recv(65536).split(b"\r\n")[0].decode()
            self.asked.append(line)
            kept = bool(self.handler(connection, line))
        except OSError:
            return  # the test has ended meanwhile
        finally:
            if kept and self._sock is not None:
                self._open.append(connection)
            else:
                connection.close()


def finish(host: Any, work: Any) -> Any:
    """The result of an actuator's work."""
    ended: List[Any] = []

    def crashed(error: Exception) -> Any:
        raise error

    job: Job[Any] = Job(host, work, None, ended.append, crashed)
    job.begin()
    while not ended:
        for handle in host.poll(host.monotonic() + 1.0):
            handle.owner.ended(handle)
    return ended[0]


def event(action: str, name: str = "web", identity: str = "abc", at: float = 1.0, **attributes: str) -> Dict[str, Any]:
    actor = {"ID": identity, "Attributes": {"name": name, **attributes}}
    return {"Type": "container", "Action": action, "Actor": actor, "timeNano": int(at * 1e9)}
