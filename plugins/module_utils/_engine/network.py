# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is it the others, or is it us? A failure of something off this host counts only while the network reference answers.

Nothing is asked while all is well: the reference is asked when a target off this host has failed, and the failure is held back until
it has answered. Who fails together shares one question.
"""

from __future__ import annotations

import errno
import math
import socket
from typing import Callable, List, Optional, Tuple
from urllib.parse import urlsplit

from .._core.model import HttpTarget, Probe, Target, TcpTarget
from .._host import Handle, Host, Step


class NetworkWatch:
    """Shared by all healers of a host. `down`: in words, since the last question; None while the reference answers."""

    def __init__(self, reference: Probe, host: Host, prober: Callable[[], Step]) -> None:
        self.down: Optional[str] = None
        self.wake = math.inf
        self._reference = reference
        self._host = host
        self._prober = prober
        self._flying: Optional[Handle] = None
        self._began = -math.inf
        self._waiting: List[Tuple[float, Callable[[Optional[str]], None]]] = []

    @property
    def healer(self) -> NetworkWatch:
        return self

    def judge(self, since: float, then: Callable[[Optional[str]], None]) -> None:
        """Call `then` with why our own network is down, or None, as of an answer to a question put at `since` or later."""
        if self._flying is None and self._began >= since:
            then(self.down)
            return
        self._waiting.append((since, then))
        if self._flying is None:
            self._ask()

    def turn(self, now: float) -> None:
        """Nothing is due by time: it rides along to be reached by its answers."""
        self.wake = math.inf

    def ended(self, handle: Handle) -> None:
        """The reference has answered, or has not."""
        if handle is not self._flying or handle.outcome is None:
            return
        self._flying = None
        outcome = handle.outcome
        self.down = None
        if outcome.status != "ok":
            why = " ".join(word for word in (str(outcome.reason or ""), outcome.detail) if word)
            self.down = "the network reference does not answer (%s): this host's own network is down" % why
        waiting, self._waiting = self._waiting, []
        for since, then in waiting:
            if since <= self._began:
                then(self.down)
            else:
                self._waiting.append((since, then))
        if self._waiting and self._flying is None:
            self._ask()

    def stop(self) -> None:
        """Nobody waits any more."""
        self._waiting.clear()
        if self._flying is not None:
            self._host.cancel(self._flying)
            self._flying = None

    def _ask(self) -> None:
        self._began = self._host.monotonic()
        self._flying = self._host.start(self._prober(), self._began + self._reference.timeout, self)


def on_this_host(target: Target) -> bool:
    """Is what a probe asks on this host? Units, processes and programs are; a name is only if it is this host's own or localhost."""
    if isinstance(target, TcpTarget):
        return _own(target.host)
    if isinstance(target, HttpTarget):
        return _own(urlsplit(target.url).hostname or "")
    return True


def _own(name: str) -> bool:
    name = name.strip("[]").lower().rstrip(".")
    if name in ("", "localhost", socket.gethostname().lower()) or name.endswith(".localhost"):
        return True
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, name.partition("%")[0])
        except OSError:
            continue
        return _assigned(family, name.partition("%")[0])
    return False


def _assigned(family: int, address: str) -> bool:
    """Has an interface of this host that address? Binding to it says so, without a packet."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL)
    return True


__all__ = ["NetworkWatch", "on_this_host"]
