# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Probe kind ``tcp``: something accepts connections. It says nothing about whether anything answers behind it."""

from __future__ import annotations

import errno

from .._core.target import TcpTarget
from .._host import Machine, Outcome, Step
from .connect import Connecting, Endpoint, show_address


class TcpProbe(Step):
    """Connects and closes. ok when one of the name's addresses accepts."""

    __slots__ = ("endpoint",)

    def __init__(self, target: TcpTarget) -> None:
        self.endpoint = Endpoint(target.host, target.port)

    def begin(self, now: float) -> Machine:
        machine = _TcpMachine(self.endpoint, now)
        machine._begin(now)
        return machine


class _TcpMachine(Connecting):
    __slots__ = ()

    def _connected(self, now: float) -> None:
        try:
            self.sock.getpeername()
        except OSError as error:
            # Not connected: still under way, or refused already, which the loop's next event tells.
            if error.errno != errno.ENOTCONN:
                self._failed(error.errno or 0, now)
            return
        address = self._addresses[self._next - 1]
        self.outcome = Outcome("ok", None, "%s accepts connections" % show_address(address.host, self._endpoint.port))

    def expire(self, now: float) -> None:
        self._expired(now, "nothing accepted the connection")


__all__ = ["TcpProbe"]
