# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service that is a container. Its engine starts and stops it; here is only asked, watched, and helped where the engine does nothing.

The engine's own restart policy is the first rung and is left to it until its pauses have grown long (`container_state`). Stopping is
the engine's: the container's own stop signal and timeout, then KILL. A restart is one request, which the engine brings to its end also
when we die in the middle. What somebody stopped, killed or paused through the engine stays so.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any, Dict, Optional, Tuple, Union

from .. import _proc
from .._core.reasons import Reason
from .._host import Machine, Outcome, Step
from .._proc import Gone, Pause
from . import container_past as past
from . import container_state as states
from .base import Actuator, Evidence, Instance, Presence, State, Timed, Work
from .container_engine import ContainerEngine
from .container_past import ASK_WITHIN
from .container_state import Clock, Story, Told, of

MARGIN = 30.0
"""Seconds that a start or restart may take beyond the container's own stop timeout until waiting for it ends."""
_LATE = 2.0
"""For so long an engine may call a container running whose process is gone."""
_LATE_POLL = 0.01
_EVENT_POLL = 0.002
_EVENT_LATE = 0.5
"""So long the event of a death is waited for; one that was started again meanwhile has none to come."""


def clock() -> Clock:
    return Clock(time.monotonic(), time.time())


class ContainerActuator(Actuator):
    """`health_counts`: a probe asks for the container's own health check, so an action is over only when that has said something."""

    def __init__(self, name: str, engine: ContainerEngine, health_counts: bool = False) -> None:
        self.name = name
        self.key = "container:%s" % name
        self.engine = engine
        self._health_counts = health_counts
        self._told: Optional[Told] = None
        self._restarts: Tuple[str, int] = ("", 0)
        self._interrupted = -math.inf
        engine.names.add(name)

    # -- looking

    def look(self) -> Work[Presence]:
        if self.engine.problem is not None:
            # Asking again what does not answer is one asker's work, not every container's; it says when the engine is back.
            return Presence(State.UNKNOWN, None, self.engine.problem, states.RELOOK_HEARD)
        found = yield from self._look()
        return states.relook(found, self.engine.heard)

    def _look(self) -> Work[Presence]:
        until = time.monotonic() + _LATE
        heard = yield from self._told_by_events()
        if heard is not None:
            return heard
        while True:
            told = yield from self.inspect()
            if isinstance(told, Outcome):
                if told.reason is Reason.NO_SUCH_CONTAINER:
                    return self._absent()
                return Presence(State.UNKNOWN, None, told.detail, states.RELOOK_UNHEARD)
            story = yield from self.heard(told)
            status = of(told, "State", "Status")
            if status not in ("running", "stopping"):
                state, detail, again = states.stands(told, story, clock())
                return Presence(state, None, detail, again, **self._revival(told, state, story))
            process = self._process(told)
            if process is not None or self.engine.local is not True:
                return self._running(told, process, story)
            if time.monotonic() > until:
                detail = "%s, but its process is gone" % states.describe(told)
                return Presence(State.UNKNOWN, None, detail, 1.0, **self._revival(told, State.UNKNOWN, story))
            yield Timed(Pause(), _LATE_POLL)

    def _told_by_events(self) -> Work[Optional[Presence]]:
        """A death that nothing but us will mend is known with its event, which comes before the engine answers again."""
        told = self._told
        if told is None or not self.engine.heard or of(told, "State", "Status") != "running" or not self.engine.local:
            return None
        until = time.monotonic() + _EVENT_LATE
        while self._process(told) is None and states.policy(told) == "no":
            identity = str(told["Id"])
            story = self.engine.story(identity)
            if story.died_at is not None and story.died_at < self.engine.heard_since:
                return None  # the engine may have gone down since, and have taken it along: it is asked
            known = states.ended(told, story)
            if known is not None:
                state, detail, again = states.stands(known, story, clock())
                self._told = known
                return Presence(state, None, detail, again)
            if time.monotonic() > until:
                return None
            yield Timed(Pause(), _EVENT_POLL)
        return None

    def _absent(self) -> Presence:
        gone = self._told is not None
        self._told = None
        if gone:
            detail = "there is no container %s on the engine at %s any more: somebody removed it" % (self.name, self.engine.address)
            return Presence(State.STOPPED, None, detail)
        return Presence(State.UNKNOWN, None, self._missing(), states.RELOOK_ABSENT)

    def problem(self) -> Work[Tuple[bool, str]]:
        """Is the contract wrong on this host, as no container bears the name? (wrong, why); (False, why) where nobody can tell, or ""."""
        told = yield from self.inspect()
        if not isinstance(told, Outcome):
            return False, ""
        if told.reason is Reason.NO_SUCH_CONTAINER:
            return True, self._missing()
        return False, told.detail

    def _missing(self) -> str:
        return "there is no container %s on the engine at %s; create it or correct the contract" % (self.name, self.engine.address)

    def inspect(self) -> Work[Union[Told, Outcome]]:
        """What the engine says of the container that bears the name; an Outcome says why that cannot be known."""
        outcome = yield Timed(self.engine.call("GET", "/containers/%s/json" % self.name), ASK_WITHIN)
        if outcome.status != "ok":
            return outcome
        told = outcome.data["body"]
        if not isinstance(told, dict) or not isinstance(of(told, "State"), dict) or not told.get("Id"):
            return Outcome("unknown", Reason.ENGINE_DOWN, "the engine's answer about container %s has no State or Id" % self.name)
        if states.name_of(told) != self.name:
            # Names may also be abbreviated ids: what is acted on is only ever what bears the name.
            return Outcome("bad", Reason.NO_SUCH_CONTAINER, "no container bears the name %s" % self.name)
        self._told = told
        return told

    def heard(self, told: Told) -> Work[Story]:
        """What events told of this life; for one that has ended unheard, what the engine has on record of it, or its log still knows."""
        return (yield from past.story_of(self.engine, told, self._ours_since(told)))

    def interrupted(self, at: float) -> None:
        self._interrupted = at

    def _ours_since(self, told: Told) -> float:
        """When (wall time) a stop or restart of ours of this life was asked for, by this process or by one that died over it."""
        began = states.moment(of(told, "State", "StartedAt")) or 0.0
        ended = states.moment(of(told, "State", "FinishedAt")) or 0.0
        if began < self._interrupted and ended <= self._interrupted + states.stop_timeout(told) + states.KILL_GRACE:
            return self._interrupted
        return self.engine.asked.get(str(told["Id"]), math.inf)

    def _process(self, told: Told) -> Optional[_proc.Stat]:
        """Its main process, if the engine's processes are this host's: told by the control group that bears the container's id."""
        pid = int(of(told, "State", "Pid") or 0)
        if not pid or self.engine.local is False:
            return None
        process = _proc.stat(pid)
        if process is None or process.dead:
            return None
        if self.engine.local is None:
            try:
                with open("/proc/%d/cgroup" % pid, encoding="ascii", errors="replace") as file:
                    self.engine.local = str(told["Id"]) in file.read()
            except OSError:
                return None
        return process if self.engine.local else None

    def _running(self, told: Told, process: Optional[_proc.Stat], story: Story) -> Presence:
        now = clock()
        if process is None:
            since = now.when(states.moment(of(told, "State", "StartedAt")) or now.wall)
            instance = Instance(_proc.instance_id(states.life(told), 0, 0), 0, since)
        else:
            instance = Instance(
                _proc.instance_id(states.life(told), process.pid, process.start_time), process.pid, _proc.since(process.start_time)
            )
        pending = self._health_counts and states.health(told) == "starting"
        return Presence(State.RUNNING, instance, states.describe(told), **self._revival(told, State.RUNNING, story), pending=pending)

    def _revival(self, told: Told, state: State, story: Story) -> Dict[str, bool]:
        """Did it die of itself, and its policy starts it again, or has since we looked last? Told once."""
        known, count = self._restarts, int(told.get("RestartCount") or 0)
        self._restarts = (str(told["Id"]), count)
        if state is State.STARTING and of(told, "State", "Status") == "restarting":
            count += 1
            self._restarts = (str(told["Id"]), count)
        return {"revived": known[0] == told["Id"] and count > known[1]}

    def evidence(self) -> Evidence:
        told = self._told or {}
        state = told.get("State") or {}
        known: Dict[str, Any] = {"State": {key: value for key, value in state.items() if key != "Health"}, "health": state.get("Health")}
        known.update({key: told[key] for key in ("Id", "Image", "RestartCount", "Created") if key in told})
        known.update(exit_status=state.get("ExitCode"), MainPID=state.get("Pid"), Result="oom-kill" if state.get("OOMKilled") else "")
        log = ("docker", "--host", self.engine.address, "logs", "--timestamps", "--tail=200", self.name)
        return Evidence(known, commands=(("log", log),))

    def watch(self, instance: Instance) -> Optional[Step]:
        return Gone(*_proc.parse_instance(instance.id)) if instance.pid and _proc.can_wait() else None

    def probe(self, instance: Optional[Instance]) -> Optional[Step]:
        return HealthProbe(self, instance)

    def away(self) -> Optional[str]:
        return self.engine.problem

    # -- acting

    def start(self) -> Work[Outcome]:
        told = yield from self.inspect()
        if isinstance(told, Outcome):
            return _not_asked(told)
        status = of(told, "State", "Status")
        if status == "paused":
            return (yield from self._act("unpause", told))
        if status == "restarting":
            return (yield from self._act("restart", told))
        if status == "running":
            return Outcome("ok", None, "%s already" % states.describe(told))
        return (yield from self._act("start", told))

    def restart(self) -> Work[Outcome]:
        told = yield from self.inspect()
        if isinstance(told, Outcome):
            return _not_asked(told)
        if of(told, "State", "Status") == "paused":
            return Outcome("unknown", Reason.ADMIN_STOPPED, "%s: somebody paused it meanwhile" % states.describe(told))
        return (yield from self._act("restart", told))

    def _act(self, verb: str, before: Told) -> Work[Outcome]:
        """One request, and proof that what stands there now is new."""
        identity = str(before["Id"])
        self.engine.ours.add(identity)
        self.engine.asked[identity] = time.time()
        try:
            # By its id: a container of the same name made meanwhile is not touched.
            query = (("t", "1"),) if of(before, "State", "Status") == "restarting" else ()  # nothing lives that could be stopped gently
            step = self.engine.call("POST", "/containers/%s/%s" % (identity, verb), query)
            outcome = yield Timed(step, states.stop_timeout(before) + MARGIN)
            if outcome.status != "ok":
                return _not_asked(outcome)
            after = yield from self.inspect()
        finally:
            self.engine.ours.discard(identity)
        if isinstance(after, Outcome):
            return _not_asked(after)
        if of(after, "State", "Status") in ("running", "restarting"):
            self.engine.asked.pop(identity, None)
        # A start of ours has the engine count its policy's restarts from the beginning.
        self._restarts = (str(after["Id"]), int(after.get("RestartCount") or 0))
        return self._proven(verb, before, after)

    def _proven(self, verb: str, before: Told, after: Told) -> Outcome:
        said, status = states.describe(after), of(after, "State", "Status")
        if status not in ("running", "restarting"):
            return Outcome("bad", Reason.ACTION_FAILED, ("%s was done, and it ended at once: %s" % (verb, said))[:500])
        if verb != "unpause" and states.life(after) == states.life(before):
            return Outcome("bad", Reason.ACTION_FAILED, ("%s was done, yet the same instance stands: %s" % (verb, said))[:500])
        if after["Id"] != before["Id"]:
            return Outcome("unknown", Reason.LEASE_HELD, "%s: somebody made it anew meanwhile" % said)
        return Outcome("ok", None, said, {"pid": int(of(after, "State", "Pid") or 0)})


def _not_asked(outcome: Outcome) -> Outcome:
    """An action that the engine refused, or did not bring to an end in time."""
    if outcome.reason is Reason.ENGINE_DOWN:
        return replace(outcome, detail=("%s; what was asked for may happen all the same" % outcome.detail)[:500])
    return outcome


class HealthProbe(Step):
    """The probe ``process: {}`` of a container: it runs, and its own HEALTHCHECK, where it has one, does not call it unhealthy.

    unknown while that is still starting, when the engine cannot be asked, and, without such a check, for the first ten seconds after its
    policy has restarted it: what ends again and again is alive in between.
    """

    def __init__(self, actuator: ContainerActuator, instance: Optional[Instance]) -> None:
        self.actuator = actuator
        self.instance = instance

    def begin(self, now: float) -> Machine:
        return _Probing(self, now)


class _Probing(Machine):
    """An inspection under way, whose end is put into a probe's words."""

    def __init__(self, probe: HealthProbe, now: float) -> None:
        actuator = probe.actuator
        self._probe = probe
        self._asking: Optional[Machine] = None
        if actuator.engine.problem is not None:
            self.outcome = Outcome("unknown", Reason.ENGINE_DOWN, actuator.engine.problem)
            return
        self._asking = actuator.engine.call("GET", "/containers/%s/json" % actuator.name).begin(now)
        self._follow()

    def _follow(self) -> None:
        if self._asking is not None:
            self.fd, self.events = self._asking.fd, self._asking.events
            if self._asking.outcome is not None:
                self.outcome = judge(self._probe.actuator.name, self._asking.outcome, time.time())

    def advance(self, now: float) -> None:
        if self._asking is not None:
            self._asking.advance(now)
            self._follow()

    def expire(self, now: float) -> None:
        name = self._probe.actuator.name
        self.outcome = Outcome("unknown", Reason.ENGINE_DOWN, "the engine gave no answer about container %s in time" % name)

    def close(self) -> None:
        if self._asking is not None:
            self._asking.close()


def judge(name: str, asked: Outcome, wall: float) -> Outcome:
    """What an inspection says, as the outcome of a probe."""
    if asked.reason is Reason.NO_SUCH_CONTAINER:
        return Outcome("bad", Reason.NOT_RUNNING, "there is no container %s" % name)
    if asked.status != "ok":
        return Outcome("unknown", asked.reason, asked.detail)
    told = asked.data["body"]
    status, well = of(told, "State", "Status"), states.health(told)
    if status == "restarting":
        return Outcome("unknown", Reason.NOT_RUNNING, "%s: its policy starts it" % states.describe(told))
    if status != "running":
        return Outcome("bad", Reason.NOT_RUNNING, states.describe(told))
    if well == "starting":
        return Outcome("unknown", Reason.NOT_STARTED, "%s: its own health check has not passed yet" % states.describe(told))
    started = states.moment(of(told, "State", "StartedAt"))
    if well is None and told.get("RestartCount") and started is not None and wall - started < states.LASTING:
        return Outcome("unknown", Reason.NOT_STARTED, "%s, and has run for less than %g s since" % (states.describe(told), states.LASTING))
    if well == "unhealthy":
        said = states.health_said(told)
        return Outcome("bad", Reason.CONTAINER_UNHEALTHY, "%s%s" % (states.describe(told), ": %s" % said if said else ""))
    return Outcome("ok", None, states.describe(told))


__all__ = ["ASK_WITHIN", "ContainerActuator", "HealthProbe", "MARGIN", "clock", "judge"]
