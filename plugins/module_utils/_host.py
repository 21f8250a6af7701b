# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The effects the library needs from the machine it runs on, behind one small class.

The daemon, a module, a simulation and a test each drive the same decisions over their own `Host`.
No call blocks: `start` begins a step and returns at once, `poll` waits for the first step that ends.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass, field
from typing import Any, List, Mapping, Optional

from ._core.reasons import Reason


@dataclass(frozen=True)
class Outcome:
    """How a step ended.

    status: ``ok``, ``slow`` (probes only; never set by a machine, see `health`), ``bad`` or ``unknown`` (could not run).
    detail: one line for people, at most 500 characters, free of secrets.
    data: what the step produced (an exit status, a certificate's expiry, the pid it started).
    """

    status: str
    reason: Optional[Reason] = None
    detail: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


class Machine(abc.ABC):
    """A step under way: a non-blocking state machine on at most one file descriptor.

    The host's loop calls `advance` when `fd` is ready for `events`, and `expire` at the deadline. Either may set
    `outcome`; the loop then calls `close`, which releases everything (kills the process group, closes the socket).
    ``fd`` may change between calls; ``None`` means that only the deadline matters.
    """

    fd: Optional[int] = None
    events: int = 0
    outcome: Optional[Outcome] = None

    @abc.abstractmethod
    def advance(self, now: float) -> None:
        """Go on: the descriptor is ready. Must not block."""

    def expire(self, now: float) -> None:
        """The deadline has passed; must set `outcome`."""
        self.outcome = Outcome("bad", Reason.TIMEOUT)

    def close(self) -> None:  # noqa: B027 -- most steps hold nothing
        """Release what is held; called exactly once, also when the step is cancelled."""


class Step(abc.ABC):
    """One thing to do that takes time. Immutable; `begin` makes the machine that does it."""

    @abc.abstractmethod
    def begin(self, now: float) -> Machine:
        """Start. May set the machine's `outcome` at once (a refused connection, a missing program). Must not block or raise."""


class Handle:
    """A started step, and its outcome once it has ended. `owner` is whoever wants to be told; `tag` is the owner's own."""

    __slots__ = ("step", "owner", "tag", "started", "deadline", "ended", "outcome", "machine")

    def __init__(self, step: Step, owner: Any, started: float, deadline: float) -> None:
        self.step = step
        self.owner = owner
        self.tag: Any = None
        self.started = started
        self.deadline = deadline
        self.ended: Optional[float] = None
        self.outcome: Optional[Outcome] = None
        self.machine: Optional[Machine] = None


class Host(abc.ABC):
    """Clocks, and the only way to start and await anything."""

    @abc.abstractmethod
    def monotonic(self) -> float:
        """Seconds since boot (CLOCK_MONOTONIC): for every span."""

    @abc.abstractmethod
    def wall(self) -> float:
        """Seconds since the epoch: for people and records only."""

    @abc.abstractmethod
    def start(self, step: Step, deadline: float, owner: Any = None) -> Handle:
        """Begin `step`; it is ended with reason timeout at `deadline` (monotonic seconds; math.inf for none)."""

    @abc.abstractmethod
    def cancel(self, handle: Handle) -> None:
        """Forget a started step and release what it holds. It will not be returned by `poll`."""

    @abc.abstractmethod
    def poll(self, until: float) -> List[Handle]:
        """Wait until at least one step has ended, or `until` (monotonic seconds); return those that have, in order of ending."""


__all__ = ["Handle", "Host", "Machine", "Outcome", "Step"]
