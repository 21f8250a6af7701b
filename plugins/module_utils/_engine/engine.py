# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns healers over a host: the one loop that the daemon, a module and a simulation share."""

from __future__ import annotations

import math
from typing import Any, Iterable, List

from .._host import Host
from .healer import Healer


class Engine:
    """Any number of healers on one host. companions: others with `wake` and `turn(now)` that ride on the same loop, such as the pager."""

    def __init__(self, host: Host, healers: Iterable[Healer] = (), companions: Iterable[Any] = ()) -> None:
        self.host = host
        self.companions: List[Any] = list(companions)
        self.healers: List[Healer] = []
        for healer in healers:
            self.add(healer)

    def add(self, healer: Healer) -> None:
        """Begin to watch one more service."""
        self.healers.append(healer)
        healer.begin()

    def remove(self, healer: Healer) -> None:
        """Stop watching one."""
        healer.stop()
        self.healers.remove(healer)

    @property
    def wake(self) -> float:
        """When somebody next wants a turn."""
        return min((each.wake for each in (*self.healers, *self.companions)), default=math.inf)

    def turn(self) -> None:
        """Give a turn to everybody who is due."""
        now = self.host.monotonic()
        for healer in self.healers:
            if healer.wake <= now:
                healer.turn(now)
        for companion in self.companions:
            companion.turn(now)

    def spin(self, until: float) -> None:
        """Wait for news, at most until `until`, and let those concerned act on it."""
        for handle in self.host.poll(min(self.wake, until)):
            owner = handle.owner
            if owner is None:
                continue
            owner.ended(handle)
            owner.healer.wake = -math.inf
        self.turn()


__all__ = ["Engine"]
