# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One container in a run of ``container_heal``: look, decide, act, prove, and again, until it is proven or given up."""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass, field, replace
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple, Union

from .._actuators import container_state as states
from .._actuators.base import Timed, Work
from .._actuators.container_make import Maker, left_to_somebody, mend, unfinished
from .._actuators.container_state import Told, of
from .._core import containers as core
from .._core.containers import Found, Plan, Rules, Want
from .._core.errors import RecordError
from .._core.reasons import Reason
from .._core.times import compact, format_time
from .._host import Host, Outcome, Step
from .._proc import Pause
from .container_deeds import DEEDS, Deeds
from .container_notes import Notes
from .container_result import Result, failed_at
from .container_survey import Listed, Survey, wish_of

POLL = 0.5
RESTS = (1.0, 30.0)
"""Seconds before the second action on one container, doubled with each up to the last."""
STARTS_WITHIN = 10.0
"""So long after an action the probe of the task may be silent: what starts does not answer yet."""
COUNTED = ("start", "restart", "unpause", "recreate")
EVENTS = {"unpause": "start", "keep": "blocked", "stop": "note", "update": "note", "remove": "container_remove"}
FAILING = (Reason.NO_SUCH_CONTAINER, Reason.BUDGET_SPENT, Reason.UNSUPPORTED, Reason.IMAGE_MISSING, Reason.UNPROVEN)
"""Nothing is done for these reasons, and a person has to."""
UNTOUCHED = (Reason.NAME_CONFLICT, Reason.IMAGE_MISSING, Reason.UNSUPPORTED)
"""An action that failed for these has changed nothing."""


@dataclass(frozen=True)
class Terms:
    """What a task asks for. stable_for, wait: seconds. probes: what answers for a container, by its name, and its timeout."""

    rules: Rules = Rules()
    stable_for: float = 10.0
    wait: float = 120.0
    dry: bool = False
    probes: Mapping[str, Tuple[Step, float]] = field(default_factory=dict)


class Surroundings(abc.ABC):
    """What a run needs besides an engine: what people and other healers say, and a place to write."""

    @abc.abstractmethod
    def forbids(self, name: str) -> Optional[Tuple[Reason, str]]:
        """Why nothing may be done to that container now (a hold, a host under maintenance), or None."""

    @abc.abstractmethod
    def take(self, name: str) -> Optional[str]:
        """Take its lease; None when it is ours, else who holds it."""

    @abc.abstractmethod
    def give(self, name: str) -> None:
        """Give the lease back."""

    @abc.abstractmethod
    def record(self, type: str, name: str, incident: Optional[str], data: Dict[str, Any]) -> None:
        """Write an event about that container."""

    @abc.abstractmethod
    def turn(self) -> bool:
        """May one more be acted on now? Then `over` follows."""

    @abc.abstractmethod
    def over(self) -> None:
        """That action has ended."""


class Look(NamedTuple):
    found: Optional[Found]
    told: Told
    plan: Plan


class One:
    """The work on one container; `result` is complete when it has ended. end: when nothing new is begun any more (monotonic seconds)."""

    def __init__(
        self, want: Want, result: Result, host: Host, survey: Survey, notes: Notes, around: Surroundings, terms: Terms, end: float
    ) -> None:
        self.want = want
        self.result = result
        self._host = host
        self._survey = survey
        self._notes = notes
        self._around = around
        self._terms = terms
        self._end = end
        self._deeds = Deeds(survey.engine, want)
        self._ours = False
        self._mended_one = False
        self._stopped_by_us = False
        self._acted_at = -math.inf
        self._there: Mapping[str, Listed] = {}
        self._within: Optional[List[str]] = None
        self._wish = ""

    def work(self, there: Mapping[str, Listed]) -> Work[None]:
        """there: every container of the engine, by name."""
        name = self.want.name
        try:
            going_on = True
            self._there = there
            known = {each: (told.id, told.labels) for each, told in there.items() if each.startswith(name)}
            if unfinished(name, known):
                going_on = yield from self._mended()
            while going_on:
                going_on = yield from self._round()
        except RecordError as error:
            self.result.end("failed", Reason.RECORDS_UNWRITABLE, "nothing more is done that cannot be put on record: %s" % error)
        finally:
            if self._ours:
                self._around.give(name)

    def _mended(self) -> Work[bool]:
        """A run before was killed while it made it anew: what it left is proven or undone. False when it is over with that."""
        name, starts = self.want.name, self.want.state in ("started", "healthy")
        text = "an earlier run was killed while it made container %s anew; what it left is put right" % name
        if self._terms.dry:
            self.result.end("planned", Reason.INTERRUPTED, text, {"stopped": "stop", "absent": "remove"}.get(self.want.state, "recreate"))
            return False
        while not self._ours:
            if not (yield from self._permit()):
                return False
        self._around.record("note", name, None, {"text": text})
        mended = yield from mend(self._survey.engine, name, starts)
        if mended is None:
            return True
        failed = isinstance(mended, Outcome) and mended.status != "ok"
        self._deeds.maker = mended if isinstance(mended, Maker) else None
        self.result.action = "recreate" if self._deeds.made_anew else "start" if starts else "stop"
        self.result.actions.append(self.result.action)
        self._mended_one = True
        # What does not come up again is started, or made anew, like any other: it was stopped by us, and not by somebody.
        self._stopped_by_us = failed
        if failed and not starts and isinstance(mended, Outcome):
            self.result.end("failed", mended.reason, mended.detail)
        return starts or not failed

    def _round(self) -> Work[bool]:
        """Look, decide, and do one thing. False when it is over."""
        looked = yield from self._look()
        if isinstance(looked, Outcome):
            self.result.end("failed", looked.reason, looked.detail)
            return False
        self.result.status = looked.found.status if looked.found is not None else "absent"
        plan = looked.plan
        if plan.action == "none":
            return (yield from self._rest(looked))
        if self._deeds.made_anew and plan.action in COUNTED:
            return (yield from self._relapsed())
        if self._terms.dry:
            self.result.end("planned", plan.reason, plan.detail, plan.action)
            return False
        if not self._ours:
            return (yield from self._permit())
        if self._host.monotonic() >= self._end:
            self.result.end("failed", Reason.WAIT_OVER, "time was over before %s: %s" % (plan.action, plan.detail))
            return False
        outcome = yield from self._act(looked)
        self._acted_at = self._host.monotonic()
        if outcome.reason is Reason.ENGINE_DOWN and (yield from self._came_about(plan)):
            return (yield from self._mended()) if plan.action == "recreate" else True
        if outcome.status != "ok":
            if outcome.reason in UNTOUCHED:
                self.result.actions.pop()
                self.result.action = "none"
            elif outcome.status == "bad" and plan.action == "recreate":
                self._in_vain()
            self.result.end("failed", outcome.reason, outcome.detail)
            return False
        if plan.action == "keep":
            self.result.end("failed", plan.reason, plan.detail)
        elif plan.action in ("stop", "remove"):
            self.result.status = "exited" if plan.action == "stop" else "absent"
            self.result.end("changed", plan.reason, plan.detail)
        return plan.action in COUNTED or plan.action == "update"

    def _came_about(self, plan: Plan) -> Work[bool]:
        """The engine gave no answer in time: a busy one may do it all the same. True once something else is to be done."""
        while self._host.monotonic() < self._end:
            looked = yield from self._look()
            if not isinstance(looked, Outcome) and (looked.plan.action != plan.action or plan.action == "recreate"):
                return True
            yield Timed(Pause(), POLL)
        return False

    def _look(self) -> Work[Union[Look, Outcome]]:
        note = self._notes.read(self.want.name)
        unhealthy = yield from self._asked()
        looked = yield from self._survey.look(self.want, note, unhealthy)
        if isinstance(looked, Outcome):
            return looked
        found, told = (None, {}) if looked is None else looked
        if self._stopped_by_us and found is not None:
            found = replace(found, by_hand=False)
        if unhealthy and self._host.monotonic() < self._acted_at + STARTS_WITHIN and found is not None and found.status == "running":
            return Look(found, told, Plan("none", Reason.NOT_STARTED, "it does not answer yet: %s" % unhealthy, wait=True))
        plan = core.plan(self.want, found, self._terms.rules)
        if plan.action == "recreate" and found is not None and found.status != "dead":
            if self._within is None:
                self._within = yield from self._survey.sharing(found, self._there.values())
            if self._within:
                sharing = "%s; but its network is that of %s, too, which would be cut off: make them anew together"
                plan = Plan("none", Reason.UNSUPPORTED, sharing % (plan.detail, ", ".join(self._within[:10])), True)
        return Look(found, told, plan)

    def _asked(self) -> Work[str]:
        """What the task's own probe says when it is bad, twice in a row."""
        said = ""
        probe = self._terms.probes.get(self.want.name)
        if probe is None:
            return said
        for again in (False, True):
            if again:
                yield Timed(Pause(), POLL)
            outcome = yield Timed(probe[0], probe[1])
            if outcome.status != "bad":
                return ""
            said = outcome.detail
        return said

    def _permit(self) -> Work[bool]:
        """Take the lease, and look again, as its last holder may have healed it. False when somebody forbids it."""
        no = self._around.forbids(self.want.name)
        if no is None:
            held = self._around.take(self.want.name)
            self._ours = held is None
            if held is None:
                return True
            if self._host.monotonic() < self._end:
                yield Timed(Pause(), POLL)
                return True
            no = Reason.LEASE_HELD, held
        self.result.end("blocked", *no)
        self._around.record("blocked", self.want.name, None, {"reason": str(no[0]), "detail": no[1]})
        return False

    def _act(self, looked: Look) -> Work[Outcome]:
        """One action, on record before it begins, when its turn has come."""
        result, plan, name = self.result, looked.plan, self.want.name
        counted = plan.action in COUNTED
        if counted and result.actions:
            yield Timed(Pause(), min(RESTS[1], RESTS[0] * 2.0 ** (len(result.actions) - 1)))
        while not self._around.turn():
            yield Timed(Pause(), 0.05)
        try:
            if counted and result.failed_at is None and plan.reason is not Reason.DRIFTED:
                result.failed_at = failed_at(looked.told, plan, self._host.wall())
                self._record("failure", plan, failure_time=format_time(result.failed_at))
            extra = {"text": "%s of container %s" % (plan.action, name)} if plan.action in ("stop", "update") else {}
            self._record(EVENTS.get(plan.action, plan.action), plan, **extra)
            if counted and plan.reason is not Reason.DRIFTED:
                self._notes.acted(name)
            if plan.action == "recreate":
                wanted = None if self.want.image is None else (yield from self._survey.image(self.want.image))
                self._wish = wish_of(self.want, wanted)
            if plan.action == "keep":  # before it is stopped: who finds it so knows by whom
                self._notes.keep(name, states.life(looked.told))
            result.actions.append(plan.action)
            result.action = plan.action
            outcome = yield from DEEDS[plan.action](self._deeds, looked.told)
        finally:
            self._around.over()
        if plan.action == "keep" and outcome.status == "ok":
            after = yield from self._look()  # its policy may have started it once more before it was stopped
            if not isinstance(after, Outcome) and after.found is not None:
                self._notes.keep(name, states.life(after.told))
        return outcome

    def _rest(self, looked: Look) -> Work[bool]:
        """Nothing is to be done now: it is on its way, given up, or fine, which has to be proven when something was done."""
        result, plan = self.result, looked.plan
        over = self._host.monotonic() >= self._end
        if plan.wait and not over and not self._terms.dry:
            yield Timed(Pause(), POLL)
            return True
        if (plan.wait or plan.blocked) and self._deeds.made_anew:
            return (yield from self._relapsed())
        if plan.wait or plan.blocked:
            outcome = "failed" if plan.reason in FAILING or (plan.wait and not self._terms.dry) else "blocked"
            if plan.reason is Reason.BUDGET_SPENT and result.actions:
                self._notes.keep(self.want.name, states.life(looked.told))
                self._record("blocked", plan)
            result.end(outcome, plan.reason, plan.detail)
            return False
        done = Reason.INTERRUPTED if self._mended_one else Reason.DRIFTED
        if not any(action in COUNTED for action in result.actions):
            result.end("changed" if result.actions else "unchanged", done if result.actions else None, plan.detail)
            return False
        proven = yield from self._prove()
        if proven is None:
            return (yield from self._relapsed())
        kept = yield from self._deeds.keep()
        if self._stopped_by_us:
            yield from mend(self._survey.engine, self.want.name)  # what stayed as a sign
        result.recovered_at = proven
        left = "" if kept.status == "ok" else "; the one before could not be removed, which the next run will do: %s" % kept.detail
        text = "well for %g s without a break%s" % (self._terms.stable_for, left)
        result.end("changed", done if result.failed_at is None else Reason.HEALED, text)
        if result.failed_at is not None:
            self._record("recover", plan, recovery_time=format_time(proven), recovery_duration_ms=result.took_ms)
        return False

    def _relapsed(self) -> Work[bool]:
        unproven = "it was not well for %g s without a break" % self._terms.stable_for
        if self._deeds.made_anew:
            looked = yield from self._look()
            if isinstance(looked, Look) and looked.plan.reason is Reason.ADMIN_STOPPED and (yield from self._left(looked)):
                return False
            self._in_vain()
            back = yield from self._deeds.undo()
            word = "is back" if back.status == "ok" else "could not be put back: %s" % back.detail
            self.result.end("failed", Reason.UNPROVEN, "%s; the old one %s" % (unproven, word))
            return False
        if self._host.monotonic() < self._end:
            return True
        self.result.end("failed", Reason.UNPROVEN, unproven)
        return False

    def _in_vain(self) -> None:
        """What this run has made as wanted does not do: too many such tries within an hour, and none is made any more."""
        if self._wish:
            self._notes.undone(self.want.name, self._wish)

    def _left(self, looked: Look) -> Work[bool]:
        """Has somebody stopped it beyond doubt? Then nothing is undone under their hands; the next run goes on when it runs again."""
        if not (yield from left_to_somebody(self._survey.engine, looked.told)):
            return False
        before = self.want.name + core.OLD
        self.result.end(
            "blocked", looked.plan.reason, "%s; the one before is kept as %s until it has proven itself" % (looked.plan.detail, before)
        )
        return True

    def _prove(self) -> Work[Optional[float]]:
        """Wall time since which it has been well, once that was unbroken for `stable_for`; None when it failed again or time is over."""
        life, since, began = None, 0.0, 0.0
        limit = self._end + self._terms.stable_for
        while self._host.monotonic() < limit:
            looked = yield from self._look()
            if isinstance(looked, Outcome):
                life = None  # what nobody can tell is no proof, and no failure
            elif looked.plan.action != "none" or looked.plan.blocked:
                return None
            elif looked.plan.wait or states.health(looked.told) == "starting":
                life = None
            elif life != states.life(looked.told):
                life, began = states.life(looked.told), self._host.monotonic()
                good = states.health_since(looked.told, True)
                since = good or states.moment(of(looked.told, "State", "StartedAt")) or self._host.wall()
            elif self._host.monotonic() >= began + self._terms.stable_for:
                self.result.status = str(of(looked.told, "State", "Status"))
                return since
            yield Timed(Pause(), min(POLL, max(0.05, self._terms.stable_for / 4)))
        return None

    def _record(self, type: str, plan: Plan, **more: Any) -> None:
        result = self.result
        incident = None if result.failed_at is None else "%s-%s" % (self.want.name, compact(result.failed_at))
        data: Dict[str, Any] = {"container": self.want.name, "reason": str(plan.reason), "detail": plan.detail}
        if type == "recover":
            data = {"container": self.want.name, "failure_time": format_time(result.failed_at or 0.0)}
        elif plan.action in COUNTED and type != "failure":
            data["attempt"] = len(result.actions) + 1
        self._around.record(type, self.want.name, incident, {**data, **more})


__all__ = ["One", "Result", "Surroundings", "Terms", "failed_at"]
