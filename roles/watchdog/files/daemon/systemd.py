# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The notify protocol of systemd, sd_notify(3): a datagram to the socket it names. Without systemd everything here does nothing."""

from __future__ import annotations

import math
import os
import socket
import struct
import time
from typing import Optional

_PATIENCE = struct.pack("ll", 1, 0)  # a struct timeval: 1 s


class Notifier:
    """Tells systemd how the daemon is. `interval`: seconds between signs of life, infinite when none are wanted.

    A socket takes a few datagrams until systemd reads them. Where it is full, what systemd itself waits for (READY, RELOADING, STOPPING)
    waits for a second at most; a sign of life is dropped, as there is another one soon, and so is a status, which is to be said again.
    """

    def __init__(self) -> None:
        self._socket: Optional[socket.socket] = None
        self._status = ""
        address = os.environ.pop("NOTIFY_SOCKET", "")
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _PATIENCE)
            self._address = "\0" + address[1:] if address[0] == "@" else address
        self.interval = _interval()
        self.failed = 0

    def ready(self, status: str) -> None:
        self._send("READY=1\nSTATUS=%s" % self._one_line(status))

    def reloading(self) -> None:
        self._send("RELOADING=1\nMONOTONIC_USEC=%d" % (time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6))

    def stopping(self, status: str) -> None:
        self._send("STOPPING=1\nSTATUS=%s" % self._one_line(status))

    def alive(self) -> None:
        """A sign of life: only after a cycle in which everybody had a turn."""
        self._send("WATCHDOG=1", socket.MSG_DONTWAIT)

    def status(self, text: str) -> bool:
        """One sentence for people, sent when it differs from the last; False when that could not be done now."""
        if text == self._status:
            return True
        sent = self._send("STATUS=%s" % " ".join(text.split())[:500], socket.MSG_DONTWAIT)
        self._status = text if sent else ""
        return sent

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _one_line(self, text: str) -> str:
        self._status = text
        return " ".join(text.split())[:500]

    def _send(self, message: str, flags: int = 0) -> bool:
        if self._socket is None:
            return True
        try:
            self._socket.sendto(message.encode("utf-8", "backslashreplace"), flags, self._address)
        except OSError:
            self.failed += 1  # systemd that is not listening will miss the sign of life itself
            return False
        return True


def _interval() -> float:
    """Half of what WATCHDOG_USEC allows, if it is meant for this process."""
    raw, pid = os.environ.pop("WATCHDOG_USEC", ""), os.environ.pop("WATCHDOG_PID", "")
    if not raw.isdigit() or int(raw) <= 0 or (pid and pid != str(os.getpid())):
        return math.inf
    return int(raw) / 2e6


__all__ = ["Notifier"]
