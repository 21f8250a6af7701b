# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns healers over a host: the one loop that the daemon, a module and a simulation share."""

from __future__ import annotations

import math
from typing import Iterable, List

from .._host import Host
from .healer import Healer


class Engine:
    """Any number of healers on one host."""

    def __init__(self, host: Host, healers: Iterable[Healer] = ()) -> None:
        self.host = host
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
        return min((healer.wake for healer in self.healers), default=math.inf)

    def turn(self) -> None:
        """Give a turn to everybody who is due."""
        now = self.host.monotonic()
        for healer in self.healers:
            if healer.wake <= now:
                healer.turn(now)

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
