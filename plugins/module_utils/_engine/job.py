# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drives an actuator's work: starts the step it yields, sends it the outcome, until it returns. Never waits."""

from __future__ import annotations

from typing import Any, Callable, Generic, Optional, TypeVar

from .._actuators.base import Presence, State, Work
from .._core.reasons import Reason
from .._host import Handle, Host, Outcome

T = TypeVar("T")


class Job(Generic[T]):
    """One piece of work under way. `done` is called once with its result, from within `begin` when no step takes time."""

    __slots__ = ("healer", "_host", "_work", "_done", "_handle", "_crashed")

    def __init__(self, host: Host, work: Work[T], healer: Any, done: Callable[[T], None], crashed: Callable[[Exception], T]) -> None:
        self.healer = healer
        self._host = host
        self._work = work
        self._done = done
        self._crashed = crashed
        self._handle: Optional[Handle] = None

    def begin(self) -> None:
        self._send(None)

    def ended(self, handle: Handle) -> None:
        """A step of ours has ended."""
        if handle is self._handle:
            self._send(handle.outcome)

    def abandon(self) -> None:
        """Stop driving; the step under way is cancelled."""
        if self._handle is not None:
            self._host.cancel(self._handle)
            self._handle = None
        self._work.close()

    def _send(self, outcome: Optional[Outcome]) -> None:
        self._handle = None
        try:
            timed = next(self._work) if outcome is None else self._work.send(outcome)
        except StopIteration as stop:
            self._done(stop.value)
            return
        except Exception as error:  # an actuator's bug must not end the watch over every other service
            self._done(self._crashed(error))
            return
        self._handle = self._host.start(timed.step, self._host.monotonic() + timed.within, self)


def broken_action(error: Exception) -> Outcome:
    """What an action that raised amounts to."""
    return Outcome("bad", Reason.ACTION_FAILED, "the action itself broke: %s: %s" % (type(error).__name__, error))


def broken_look(error: Exception) -> Presence:
    """What a look that raised amounts to."""
    return Presence(State.UNKNOWN, detail="looking at it broke: %s: %s" % (type(error).__name__, error))


__all__ = ["Job", "broken_action", "broken_look"]
