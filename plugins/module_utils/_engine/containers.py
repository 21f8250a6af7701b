# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hears a container engine's events for all the healers of its containers, and watches over the engine itself.

One stream for the host, whatever the number of containers. When it breaks it is opened again with a growing pause, and then everybody
looks once at what stands there, since events may have been missed. An engine that is down or hangs is one incident of its own: its
containers are unknown meanwhile, nothing is started or restarted, and a probe that fails opens no incident, unless its service has traffic
that can be moved.
"""

from __future__ import annotations

import json
import math
from typing import Any, Callable, Dict, Iterable, Optional

from .._actuators.container_api import EventStream, OpenStream
from .._actuators.container_engine import EVENTS, ContainerEngine
from .._core.reasons import Reason
from .._core.times import compact, format_time
from .._host import Handle, Host, Machine, Outcome, Step
from .ports import Records

OPEN_WITHIN = 5.0
PING_EVERY = 10.0
PING_WITHIN = 3.0
PAUSES = (0.25, 5.0)
"""Seconds before the stream is opened again: the first, doubled up to the last."""
DOWN_AFTER = 2
"""So many failed tries in a row, opening or ping, mean that the engine is down."""
PAGE_AFTER = 60.0
"""Seconds after which a person is told of an engine that is still down: an upgrade of it takes less."""
GONE_FOR = 1.0
"""A stream that cannot be had again for so many seconds broke because its engine went down, and what died just before went with it."""
FORBIDDEN_PAUSE = 60.0
"""A proxy that forbids the stream is asked again after so many seconds; containers are looked at every few seconds meanwhile."""
AGAIN_AFTER = 15.0
"""Seconds without events after which the pause begins small again."""


class ContainerWatch:
    """A companion of the engine's loop. `healers()` gives those whose resource is a container of that engine.

    `incident`: that of the engine itself, while it is down; `tells`: is it recorded, and a person told? One watcher of a host does.
    """

    def __init__(
        self, engine: ContainerEngine, host: Host, records: Records, healers: Callable[[], Iterable[Any]], tells: bool = True
    ) -> None:
        self.engine = engine
        self.wake = -math.inf
        self.incident: Optional[str] = None
        self._host = host
        self._records = records
        self._healers = healers
        self._tells = tells
        self._stream: Optional[EventStream] = None
        self._forbidden = False
        self._opening: Optional[Handle] = None
        self._listening: Optional[Handle] = None
        self._ping: Optional[Handle] = None
        self._pause = PAUSES[0]
        self._open_at = -math.inf
        self._ping_at = math.inf
        self._opened_at = -math.inf
        self._lost_at = math.inf
        self._failures = 0
        self._first_failure = math.inf
        self._paged = False

    @property
    def healer(self) -> "ContainerWatch":
        """Whose turn it is when one of its steps has ended."""
        return self

    # -- the loop's side

    def turn(self, now: float) -> None:
        """Do whatever is due."""
        if now < self.wake:
            return
        if self._stream is None and self._opening is None and now >= self._open_at:
            query = {"type": ["container"], "event": list(EVENTS)}
            step = OpenStream(self.engine.place, (("filters", json.dumps(query)),))
            self._opening = self._host.start(step, now + OPEN_WITHIN, self)
        if self._stream is not None and self._ping is None and now >= self._ping_at:
            self._ping = self._host.start(self.engine.call("GET", "/_ping"), now + PING_WITHIN, self)
        if self.incident is not None and not self._paged and now >= self._first_failure + PAGE_AFTER:
            self._page(now)
        self.wake = self._next()

    def _next(self) -> float:
        due = []
        if self._stream is None and self._opening is None:
            due.append(self._open_at)
        if self._stream is not None and self._ping is None:
            due.append(self._ping_at)
        if self.incident is not None and not self._paged:
            due.append(self._first_failure + PAGE_AFTER)
        return min(due, default=math.inf)

    def ended(self, handle: Handle) -> None:
        """A step of ours has ended."""
        now, outcome = self._host.monotonic(), handle.outcome
        if outcome is None:
            return
        if handle is self._opening:
            self._opening = None
            if outcome.status == "ok":
                self._opened(outcome.data["stream"], now)
            elif "status" in outcome.data:
                self._refused(outcome, now)
            else:
                self._failed(outcome, now)
        elif handle is self._ping:
            self._ping = None
            self._ping_at = now + PING_EVERY
            if outcome.status == "unknown" and "status" not in outcome.data:
                self._failed(outcome, now)
                self._ping_at = now + self._pause
            else:
                self._answers(now)
        elif handle is self._listening:
            self._listening = None
            if outcome.status == "ok":
                for event in outcome.data["events"]:
                    self._event(event, now)
                self._listen()
            else:
                self._lost(outcome, now)
        self.wake = -math.inf

    def stop(self) -> None:
        """Let go of everything."""
        for handle in (self._opening, self._listening, self._ping):
            if handle is not None:
                self._host.cancel(handle)
        self._opening = self._listening = self._ping = None
        self._close()

    # -- the stream

    def _opened(self, stream: EventStream, now: float) -> None:
        self._stream = stream
        self._opened_at = now
        if now - self._lost_at >= GONE_FOR:
            self.engine.went_away(self._host.wall() - (now - self._lost_at))
        self._lost_at = math.inf
        self.engine.came_back(self._host.wall())
        self._ping_at = now + PING_EVERY
        self.engine.heard = True
        self.engine.heard_since = self._host.wall()
        self._answers(now)
        self._listen()
        self._look_again()

    def _refused(self, outcome: Outcome, now: float) -> None:
        """It answers, and gives no events."""
        self._answers(now)
        self._open_at = now + FORBIDDEN_PAUSE
        if not self._forbidden:
            self._forbidden = True
            text = "no events are heard, so containers are looked at every few seconds: %s" % outcome.detail
            self._say("note", None, {"text": text})

    def _listen(self) -> None:
        if self._stream is not None:
            self._listening = self._host.start(self._stream.listen(), math.inf, self)

    def _lost(self, outcome: Outcome, now: float) -> None:
        """The stream broke."""
        self._close()
        self._lost_at = min(self._lost_at, now)
        self._pause = PAUSES[0] if now >= self._opened_at + AGAIN_AFTER else min(PAUSES[1], self._pause * 2)
        self._open_at = now + self._pause
        if self._ping is not None:
            self._host.cancel(self._ping)
            self._ping = None

    def _close(self) -> None:
        self.engine.heard = False
        self.engine.fresh()
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _event(self, event: Dict[str, Any], now: float) -> None:
        found = self.engine.take(event)
        if found is None:
            return
        name, action = found
        for healer in self._healers():
            if healer.service.resource.name == name:
                healer.look_again()
                if action == "health_status":
                    healer.watch.press(now)

    def _look_again(self) -> None:
        for healer in self._healers():
            healer.look_again()

    # -- the engine itself

    def _failed(self, outcome: Outcome, now: float) -> None:
        self._failures += 1
        self._first_failure = min(self._first_failure, now)
        self._pause = min(PAUSES[1], self._pause * 2)
        self._open_at = now + self._pause
        if self._failures < DOWN_AFTER:
            return
        self.engine.problem = "the container engine does not answer: %s" % outcome.detail
        if self.incident is not None:
            return
        failed_at = self._first_failure + self._host.wall() - now
        self.incident = "engine-%s" % compact(failed_at)
        if self._listening is not None:
            # A stream that stays open says nothing when the engine hangs.
            self._host.cancel(self._listening)
            self._listening = None
        self._close()
        self._lost_at = min(self._lost_at, self._first_failure)
        data = {
            "reason": str(Reason.ENGINE_DOWN),
            "detail": outcome.detail,
            "failure_time": format_time(failed_at),
            "detected_after_ms": round((now - self._first_failure) * 1000),
            "containers": sum(1 for _healer in self._healers()),
        }
        self._say("failure", self.incident, data)
        self._look_again()

    def _answers(self, now: float) -> None:
        incident, failed_at = self.incident, self._first_failure
        self._failures = 0
        self._first_failure = math.inf
        self.engine.problem = None
        if incident is None:
            return
        self.incident = None
        wall = self._host.wall() - now
        data = {
            "reason": str(Reason.ENGINE_DOWN),
            "failure_time": format_time(failed_at + wall),
            "recovery_time": format_time(now + wall),
            "recovery_duration_ms": round((now - failed_at) * 1000),
        }
        self._say("recover", incident, data)
        if self._paged:
            self._paged = False
            self._say("page_resolved", incident, {"reason": str(Reason.ENGINE_DOWN)})
        self._look_again()

    def _page(self, now: float) -> None:
        self._paged = True
        data = {
            "reason": str(Reason.ENGINE_DOWN),
            "detail": self.engine.problem or "",
            "failure_time": format_time(self._first_failure + self._host.wall() - now),
        }
        self._say("page", self.incident, data)

    def _say(self, type: str, incident: Optional[str], data: Dict[str, Any]) -> None:
        if self._tells:
            self._records.record(type, None, incident, data=data)


class Excused(Step):
    """A probe of a container's service: what fails while its engine is away is unknown, since nobody could do anything about it."""

    def __init__(self, step: Step, why: Callable[[], Optional[str]]) -> None:
        self.step = step
        self.why = why

    def begin(self, now: float) -> Machine:
        return _Excusing(self, now)


class _Excusing(Machine):
    def __init__(self, excused: Excused, now: float) -> None:
        self._why = excused.why
        self._inner = excused.step.begin(now)
        self._follow()

    def _follow(self) -> None:
        inner = self._inner
        self.fd, self.events = inner.fd, inner.events
        found = inner.outcome
        if found is not None:
            why = self._why() if found.status == "bad" else None
            if why is not None:
                found = Outcome("unknown", Reason.ENGINE_DOWN, ("%s; %s" % (found.detail, why))[:500], found.data)
            self.outcome = found

    def advance(self, now: float) -> None:
        self._inner.advance(now)
        self._follow()

    def expire(self, now: float) -> None:
        self._inner.expire(now)
        if self._inner.outcome is None:
            self._inner.outcome = Outcome("bad", Reason.TIMEOUT)
        self._follow()

    def close(self) -> None:
        self._inner.close()


__all__ = ["ContainerWatch", "Excused"]
