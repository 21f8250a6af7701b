# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests that keep a service warm: no probes, in nobody's way, and none while something is wrong with it.

One is begun only while no probe of the service is under way or about to be, and is let go of when one comes due: a service that answers one
request at a time is asked by its probes as if nobody else was there.
"""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, Optional

from .._actuators.base import Timed, Work
from .._core.model import KeepWarm, Service
from .._host import Handle, Host, Step

CLEAR = 0.2
"""Seconds without a probe that must lie ahead."""
PUT_OFF = 0.1
LONGEST = 30.0
"""Seconds after which one that is not answered is given up; at most its own period."""
WARM_UPS, WARM_UP_LIMIT = 3, 3.0
"""Requests before traffic returns, and what each may take."""


class Warmer:
    """One service's. `counts`: requests by result: ok, bad, unknown (could not be made), given_way (to a probe).

    ask: makes the request; None: nothing is asked. steadily: every period, too, and not only before traffic returns.
    """

    def __init__(self, service: Service, host: Host, ask: Optional[Callable[[KeepWarm], Step]], steadily: bool, healer: Any) -> None:
        rules = service.keep_warm
        self.healer = healer
        self.counts: Dict[str, int] = {} if rules is None or ask is None else {"ok": 0, "bad": 0, "unknown": 0, "given_way": 0}
        self._rules = rules if ask is not None else None
        self._ask = ask
        self._host = host
        self._flying: Optional[Handle] = None
        self._steadily = steadily and self._rules is not None and service.mode != "observe"
        self.wake = -math.inf if self._steadily else math.inf

    def turn(self, now: float, quiet_until: float, free: bool) -> None:
        """quiet_until: when the next probe is due; -inf while one is under way. free: may it be asked at all now?"""
        if self._flying is not None and (now >= quiet_until or not free):
            self._host.cancel(self._flying)
            self._flying = None
            self.counts["given_way"] += 1
            self.wake = now + PUT_OFF
        if not self._steadily or self._rules is None or self._ask is None or now < self.wake or self._flying is not None:
            return
        if not free:
            self.wake = now + self._rules.period
        elif quiet_until < now + CLEAR:
            self.wake = now + PUT_OFF
        else:
            self.wake = now + self._rules.period
            self._flying = self._host.start(self._ask(self._rules), now + min(LONGEST, self._rules.period), self)

    def ended(self, handle: Handle) -> None:
        """It was answered, or was not: nothing follows from that."""
        if handle is self._flying and handle.outcome is not None:
            self._flying = None
            self.counts[handle.outcome.status] += 1

    def warm_up(self) -> Work[None]:
        """Before traffic returns: a few requests, whatever comes of them."""
        for _turn in range(WARM_UPS if self._rules is not None else 0):
            if self._rules is not None and self._ask is not None:
                outcome = yield Timed(self._ask(self._rules), WARM_UP_LIMIT)
                self.counts[outcome.status] += 1

    def stop(self) -> None:
        if self._flying is not None:
            self._host.cancel(self._flying)
            self._flying = None


__all__ = ["Warmer"]
