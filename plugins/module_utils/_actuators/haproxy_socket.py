# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One question to HAProxy's runtime socket, and its whole answer.

Source: HAProxy Management Guide, "Unix Socket commands". Without `prompt` the socket takes one line, answers and closes.
"""

from __future__ import annotations

import errno
import os
import re
import socket
from typing import List

from .._core.reasons import Reason
from .._host import Machine, Outcome, Step
from .._probes.engine import EXHAUSTED, LONGEST_DETAIL, READ

SHORT = 262144
"""Bytes of an answer about one backend; one that is longer is no such answer."""
LONG = 8388608
"""Bytes of an answer about everything: some 50,000 servers."""

# What `;`, line breaks, `<<` and `\` would make of a line: another command.
_PLAIN = re.compile(r"[A-Za-z0-9_.:/%# -]+")
_REASONS = {errno.ENOENT: Reason.UNREACHABLE, errno.ECONNREFUSED: Reason.CONNECTION_REFUSED, errno.ECONNRESET: Reason.CONNECTION_RESET}


class Ask(Step):
    """ok: answered, data ``text`` (what HAProxy thinks of the command stands there) · bad: no answer · unknown: not to be asked from here.

    Raises ValueError for a command that is more than one plain command.
    """

    __slots__ = ("path", "command", "most")

    def __init__(self, path: str, command: str, most: int = SHORT) -> None:
        if not _PLAIN.fullmatch(command):
            raise ValueError("%r is no plain command for HAProxy: only letters, digits and _ . : / %% # - are" % command[:100])
        self.path = path
        self.command = command
        self.most = most

    def begin(self, now: float) -> Machine:
        machine = _Asking(self, now)
        machine.dial()
        return machine


class _Asking(Machine):
    events = READ

    def __init__(self, ask: Ask, now: float) -> None:
        self.fd = None
        self._ask = ask
        self._began = now
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._parts: List[bytes] = []
        self._size = 0

    def dial(self) -> None:
        try:
            self._socket.connect(self._ask.path)
            self._socket.sendall(self._ask.command.encode("ascii") + b"\n")
        except BlockingIOError:
            self._bad(Reason.TIMEOUT, "it takes no connection at present; does HAProxy hang?")
        except OSError as error:
            self._failed(error)
        else:
            self.fd = self._socket.fileno()

    def advance(self, now: float) -> None:
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return  # not ready after all: asked again when it is
        except OSError as error:
            self._failed(error)
            return
        self._size += len(data)
        if self._size > self._ask.most:
            self._bad(Reason.BODY_TOO_LARGE, "the answer has more than %d bytes" % self._ask.most)
        elif data:
            self._parts.append(data)
        elif not self._parts:
            self._bad(Reason.EMPTY_REPLY, "it hung up without an answer")
        else:
            self.outcome = Outcome("ok", None, "", {"text": b"".join(self._parts).decode("utf-8", "replace")})

    def expire(self, now: float) -> None:
        self._bad(Reason.TIMEOUT, "no answer within %.3g s; does HAProxy hang?" % (now - self._began))

    def close(self) -> None:
        self._socket.close()

    def _bad(self, reason: Reason, finding: str, status: str = "bad") -> None:
        line = "asking HAProxy at %s: %s: %s" % (self._ask.path, self._ask.command, finding)
        self.outcome = Outcome(status, reason, line[:LONGEST_DETAIL])

    def _failed(self, error: OSError) -> None:
        if error.errno in (errno.EACCES, errno.EPERM):
            self._bad(Reason.NO_PERMISSION, "no permission; run as root, or give it in `stats socket ... user`", "unknown")
        elif error.errno in EXHAUSTED:
            self._bad(Reason.RESOURCE_LIMIT, os.strerror(error.errno or 0), "unknown")
        elif error.errno == errno.ENOENT:
            self._bad(Reason.UNREACHABLE, "there is no such socket; is HAProxy running, with `stats socket %s`?" % self._ask.path)
        else:
            reason = _REASONS.get(error.errno or 0, Reason.UNREACHABLE)
            self._bad(reason, os.strerror(error.errno) if error.errno else str(error))


__all__ = ["Ask", "LONG", "SHORT"]
