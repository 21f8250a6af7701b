# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A runtime socket that answers as HAProxy 2.6.12 and 3.0.11 do, and misbehaves as told. Its words were recorded from the real ones."""

from __future__ import annotations

import socket
import threading
from typing import Dict, List, Optional

COLUMNS = (
    "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status,weight,act,bck,chkfail,chkdown,"
)
NO_PROXY = "No such proxy.\n\n"
NO_SERVER = "No such server.\n\n"
DENIED = "Permission denied\n\n"
STATES = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight\n"


class Double:
    """Servers of one backend `web`: {name: status}. `told`: every command. `stuck`: servers whose state no command changes.

    `hangs`, `mute`, `garbage`, `denies`, `floods`: how it misbehaves.
    """

    def __init__(self, path: str, **servers: str) -> None:
        self.path = path
        self.servers: Dict[str, str] = dict(servers) or {"a": "UP", "b": "UP"}
        self.weights = dict.fromkeys(self.servers, 100)
        self.sessions = dict.fromkeys(self.servers, 0)
        self.told: List[str] = []
        self.hangs = False
        self.mute = False
        self.denies = False
        self.garbage: Optional[bytes] = None
        self.floods = 0
        self.stuck: List[str] = []
        self._ending = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(16)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                client, _peer = self._listener.accept()
            except OSError:
                return
            with client:
                self._answer(client)

    def _answer(self, client: socket.socket) -> None:
        data = b""
        while not data.endswith(b"\n"):
            part = client.recv(4096)
            if not part:
                return
            data += part
        # HAProxy takes several commands in one line; a test sees all of them.
        commands = data.decode().strip().split(";")
        self.told += commands
        if self.hangs:
            self._ending.wait(10)
            return
        if self.mute:
            return
        try:
            client.sendall(self.garbage if self.garbage is not None else "".join(map(self.reply, commands)).encode())
            for _piece in range(self.floods):
                client.sendall(b"x" * 65536)
        except OSError:
            return  # the client has had enough

    def reply(self, command: str) -> str:
        words = command.split()
        if command == "show servers state":
            return STATES + "".join("3 web 1 %s 127.0.0.1 2 0 100 100\n" % name for name in self.servers) + "\n"
        if words[:2] == ["show", "stat"]:
            return self._stat() if words[2] == "web" else NO_PROXY
        if words[:2] == ["set", "server"]:
            backend, _slash, name = words[2].partition("/")
            if self.denies:
                return DENIED
            if backend != "web" or name not in self.servers:
                return NO_SERVER
            if name not in self.stuck:
                self._set(name, words[3], words[4])
            return "\n"
        return "Unknown command: '%s'\n\n" % command

    def _set(self, name: str, what: str, value: str) -> None:
        if what == "weight":
            self.weights[name] = int(value.rstrip("%"))
        else:
            self.servers[name] = {"maint": "MAINT", "drain": "DRAIN", "ready": "UP"}[value]

    def _stat(self) -> str:
        row = "web,%s,0,0,%d,0,,0,0,0,,0,,0,0,0,0,%s,%d,1,%d,0,0,\n"
        rows = [row % (name, self.sessions[name], status, self.weights[name], name == "b") for name, status in self.servers.items()]
        return COLUMNS + "\n" + "".join(rows) + "\n"


__all__ = ["DENIED", "Double", "NO_PROXY", "NO_SERVER", "STATES"]
