# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands there: the part of a healer that looks at the service, watches its present instance, and notices a new one."""

from __future__ import annotations

import abc
import math
from dataclasses import replace
from typing import Any, Dict, Optional

from .._actuators.base import Actuator, Evidence, Instance, Presence, State
from .._core.decide import Decision, Do
from .._core.health import ProbeHealth
from .._core.memory import NOTHING, Memory
from .._host import Handle, Host
from .job import Job, broken_look
from .ports import Desk
from .watch import Watch

RELOOK = 0.25
RELOOK_GONE = 1.0
RELOOK_STOPPED = 5.0


class Standing(abc.ABC):
    """`presence`, `instance`: as last seen. `memory`: what is remembered. `wake`: when the healer next wants a turn (monotonic seconds)."""

    def __init__(self, name: str, source: str, host: Host, actuator: Actuator, desk: Desk, watch: Watch, delay: float) -> None:
        self.name = name
        self.source = source
        self.memory: Memory = NOTHING
        self.presence: Presence = Presence(State.UNKNOWN)
        self.instance: Optional[Instance] = None
        self.watch = watch
        self.wake = -math.inf
        self._host = host
        self._actuator = actuator
        self._desk = desk
        self._delay = delay
        self._job: Optional[Job[Any]] = None
        self._death: Optional[Handle] = None
        self._dead_since: Optional[float] = None
        self._revived_since: Optional[float] = None
        self._relook_at = math.inf
        self._looked_at = -math.inf
        self._look_began = self._looked_from = -math.inf
        self._until = -math.inf
        self._restored: Optional[Dict[str, ProbeHealth]] = None

    @abc.abstractmethod
    def _save(self) -> None:
        """Make durable what is remembered."""

    def evidence(self) -> Evidence:
        """What is known of the last end of what stood there."""
        return self._actuator.evidence()

    def nudge(self) -> None:
        """Somebody has said something: decide anew at the next turn."""
        self._until = -math.inf
        self.wake = -math.inf

    def look_again(self) -> None:
        """Something may have happened to what stands there."""
        if self._job is None:
            self._relook_at = -math.inf
        self.nudge()

    def ended(self, handle: Handle) -> None:
        """The watched instance is gone, or the watch over it ended otherwise: look once."""
        if handle is self._death:
            self._death = None
            self._dead_since = handle.ended
            if self._job is None:
                self._look()

    def _look(self) -> None:
        self._relook_at = math.inf
        self._look_began = self._host.monotonic()
        self._job = Job(self._host, self._actuator.look(), self, self._seen, broken_look)
        self._job.begin()

    def _seen(self, presence: Presence) -> None:
        now = self._host.monotonic()
        self._job = None
        if self.presence.state is State.STOPPED:
            self._dead_since = None  # that end was wanted; what fails now failed after it
        self.presence = presence
        self._looked_at = now
        self._looked_from = self._look_began
        self.nudge()
        if presence.again is not None:
            self._relook_at = now + presence.again
        if presence.revived:
            # Seen in passing it has no time of its own: the last good answer was before.
            at = self._dead_since if self._dead_since is not None else self.watch.verdict.failing_since
            self._revived_since = now if at is None else at
        if presence.state is State.RUNNING and presence.instance is not None:
            self._found(presence.instance, now)
            return
        if presence.state in (State.STARTING, State.STOPPING, State.UNKNOWN):
            if presence.again is None:
                self._relook_at = now + (RELOOK_GONE if presence.state is State.UNKNOWN else RELOOK)
            return
        if self._desk.recheck is not None and presence.again is None:
            # Somebody else may start it: another healer, or a person.
            self._relook_at = now + (RELOOK_STOPPED if presence.state is State.STOPPED else RELOOK_GONE)
        self._unwatch()
        self.instance = None
        if presence.state is State.GONE:
            failing = self.watch.verdict.failing_since
            self._dead_since = min(at for at in (self._dead_since, failing, now) if at is not None)
        self.watch.suspend()
        self.watch.reset()

    def _in_doubt(self, proven_at: float, now: float) -> Optional[Decision]:
        """What to wait for before health that was unbroken until `proven_at` is called recovery; None once a look begun since says nothing
        against it. A death may have been heard, and what came of it not yet known; answers of one life prove nothing of the next.
        """
        if self._job is None and self._looked_from < proven_at:
            self._look()
            return Decision(
                Do.WAIT, detail="healthy; looking once more before it is called recovered", until=now if self._job is None else None
            )
        if self._job is not None:
            return Decision(Do.WAIT, detail="healthy when last asked; looking at what stands there")
        if self.presence.pending or self.presence.state in (State.STARTING, State.STOPPING):
            self._relook_at = min(self._relook_at, now + RELOOK)
            return Decision(Do.WAIT, detail="its own stop or start is not over")
        return None

    def _found(self, instance: Instance, now: float) -> None:
        """It runs: an instance we know, or a new one whose health begins afresh."""
        known = self.instance.id if self.instance is not None else self.memory.instance
        fresh = known != instance.id
        self.instance = instance
        self._dead_since = None
        if self.memory.instance != instance.id:
            self.memory = replace(self.memory, instance=instance.id)
        elif self._restored is not None:
            self.watch.restore(self._restored)
        self._restored = None
        if fresh or not self.watch.active:
            delay = self._delay if self.memory.incident is None else 0.0
            self.watch.begin(now, instance.since, fresh, delay)
            self._delay = 0.0
        if self._death is None or self._death.tag != instance.id:
            self._unwatch()
            step = self._actuator.watch(instance)
            if step is not None:
                self._death = self._host.start(step, math.inf, self)
                self._death.tag = instance.id
        if fresh:
            self._save()

    def _unwatch(self) -> None:
        if self._death is not None:
            self._host.cancel(self._death)
            self._death = None


__all__ = ["RELOOK", "Standing"]
