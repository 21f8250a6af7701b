# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches one dependency of one service through its breaker: one question at a time, none while it is open."""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, Optional

from .._core.breaker import ASKED, BINDING, EVENTS, Breaker, BreakerState, Cause, answered, forced, passed, timer
from .._core.model import Dependency
from .._host import Handle, Host, Step
from .network import NetworkWatch, on_this_host


class DependencyWatch:
    """`changed(event type, data)` is called for every change of the breaker; `news` is set when it has answered or changed."""

    def __init__(
        self,
        rules: Dependency,
        host: Host,
        prober: Callable[[], Step],
        healer: Any,
        changed: Callable[[str, Dict[str, Any]], None],
        network: Optional[NetworkWatch] = None,
    ) -> None:
        self.healer = healer
        self.rules = rules
        self.state = BreakerState()
        self.wake = -math.inf
        self.news = False
        self._host = host
        self._prober = prober
        self._changed = changed
        self._flying: Optional[Handle] = None
        self._network = network if network is not None and not on_this_host(rules.probe.target) else None
        self._held_back: Optional[Handle] = None
        self._next = -math.inf
        self._answer: Optional[bool] = None
        self._answered_at = -math.inf
        self._unknown_at = -math.inf
        self._tripped_at: Optional[float] = None

    def turn(self, now: float) -> None:
        """Ask when a question is due; let time change the breaker."""
        self._become(passed(self.rules, self.state, now), now)
        asked = self.state.state in ASKED
        if self._flying is None and self._held_back is None and now >= self._next and asked:
            self._ask(now)
        at = timer(self.rules, self.state)
        due = math.inf if self._flying is not None or self._held_back is not None or not asked else self._next
        self.wake = min(due, math.inf if at is None else at)

    def ended(self, handle: Handle) -> None:
        """The dependency has answered, or could not be asked."""
        if handle is not self._flying or handle.outcome is None or handle.ended is None:
            return
        self._flying = None
        if handle.outcome.status == "bad" and self._network is not None:
            self._held_back = handle
            self._network.judge(handle.started, lambda down: self._judged(handle, down))
        else:
            self._heard(handle, handle.outcome.status, handle.ended)

    def _judged(self, handle: Handle, down: Optional[str]) -> None:
        """The network reference has answered: is the dependency down, or are we cut off?"""
        if self._held_back is not handle:
            return
        self._held_back = None
        self.healer.cut_off(down)
        self._heard(handle, "bad" if down is None else "unknown", self._host.monotonic())
        self.healer.wake = -math.inf

    def _heard(self, handle: Handle, status: str, now: float) -> None:
        gap = 0.0 if self.state.state is Breaker.HALF_OPEN else self.rules.probe.period
        self._next = max(now, handle.started + gap) if gap else now + min(1.0, self.rules.probe.period)
        self.news = True
        if status == "unknown":
            self._unknown_at = now
            return
        good = status == "ok"
        self._answer, self._answered_at = good, now
        self._become(answered(self.rules, self.state, good, now), now)

    def down(self, now: float) -> Optional[str]:
        """Why a restart must wait for this dependency, or None."""
        if self.state.state in BINDING:
            return "the breaker of %s is %s" % (self.rules.name, str(self.state.state).replace("_", " "))
        if self.state.state is Breaker.CLOSED and self._answer is False:
            return "%s failed when asked" % self.rules.name
        return None

    def asked_since(self, at: float, ask: bool = False) -> bool:
        """Has it answered at `at` or later? If not, and `ask`, it is asked now. An open breaker is answer enough."""
        if self.state.state is not Breaker.CLOSED or self._answered_at >= at:
            return True
        if self._flying is None and self._held_back is None and ask and self._unknown_at < at:
            self._ask(self._host.monotonic())
        return self._flying is None and self._held_back is None

    def force(self, to: Optional[str], now: float) -> None:
        """An operator's word: open, disabled, closed, or None."""
        before = self.state.state
        self._become(forced(self.state, to, now), now)
        if self.state.state is not before:
            self._answer = None
            if self.state.state not in ASKED:
                self.stop()

    def restore(self, state: BreakerState) -> None:
        """Take up what another process knew."""
        self.state = state

    def stop(self) -> None:
        self._held_back = None
        if self._flying is not None:
            self._host.cancel(self._flying)
            self._flying = None

    def _ask(self, now: float) -> None:
        self._next = math.inf
        self._flying = self._host.start(self._prober(), now + self.rules.probe.timeout, self)

    def _become(self, state: BreakerState, now: float) -> None:
        if state.state is self.state.state:
            self.state = state
            return
        before, self.state = self.state, state
        self.news = True
        self._answer = None if state.state is Breaker.HALF_OPEN else self._answer
        self._next = now
        data: Dict[str, Any] = {
            "dependency": self.rules.name,
            "from": before.state.value,
            "to": state.state.value,
            "reason": str(state.cause),
        }
        if state.cause is Cause.THRESHOLD:
            data["failures"] = before.failures + 1
            self._tripped_at = now
        elif state.state is Breaker.CLOSED and self._tripped_at is not None:
            data["open_ms"] = round((now - self._tripped_at) * 1000)
            self._tripped_at = None
        if state.cause in _BY_ITSELF:
            self._changed(EVENTS[state.state], data)


_BY_ITSELF = frozenset((Cause.THRESHOLD, Cause.RESET_TIMEOUT, Cause.TRIAL_FAILED, Cause.HALF_OPEN_LIMIT, Cause.SUCCESSES))


__all__ = ["DependencyWatch"]
