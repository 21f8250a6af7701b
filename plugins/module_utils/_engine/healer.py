# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The healer of one service: observe → decide → act → record. It never waits; its driver calls it when something has ended or is due.

An event is durable before the state that follows from it, and both before the action, so that it can be killed after any line.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Dict, FrozenSet, Optional, Tuple

from .._actuators.base import Actuator, Instance, Presence, State
from .._core import health
from .._core.apply import action_ended, apply, noticed, published
from .._core.decide import Decision, Do, decide
from .._core.guards import Facts
from .._core.memory import Memory
from .._core.model import Probe, Service
from .._core.reasons import Reason
from .._host import Host, Outcome, Step
from . import events
from .diagnostics import Diagnosis
from .job import Job, broken_action
from .keeper import Keeper
from .permit import Permit, known_block
from .ports import Desk, Records
from .standing import RELOOK, Standing
from .surroundings import Surroundings, Wiring, serving
from .watch import Watch

BEGINNINGS = frozenset((Do.ATTEMPT, Do.FIRST_START))
DIAGNOSED = frozenset((Do.ATTEMPT, Do.BLOCK, Do.PAGE, Do.ESCALATE))
CANNOT_HELP = frozenset((Reason.UNSUPPORTED, Reason.RELEASE_SETTLED, Reason.NO_GOOD_RELEASE))
SETTLED = 64
"""More decisions than this in one turn mean that two of them undo each other; the turn ends and says so."""


class Healer(Standing):
    """One service's healer. `wake`: when it next wants a turn (monotonic seconds). `busy`: an action is under way, not to be cut off.

    `leaving`: no action is begun any more."""

    def __init__(
        self,
        service: Service,
        host: Host,
        actuator: Actuator,
        desk: Desk,
        records: Records,
        prober: Callable[[Probe, Optional[Instance]], Step],
        operated: bool = False,
        override: FrozenSet[Reason] = frozenset(),
        phase: float = 0.0,
        delay: float = 0.0,
        jitter: float = 0.0,
        source: str = "watchdog",
        wiring: Optional[Wiring] = None,
    ) -> None:
        network = wiring.network if wiring is not None else None
        watch = Watch(service, host, lambda probe: prober(probe, self.instance), self, phase, network)
        super().__init__(service.name, source, host, actuator, desk, watch, delay)
        self.service = service
        self.decision: Decision = Decision(Do.WAIT, detail="not looked at yet")
        self.busy = False
        self.leaving = False
        self._records = records
        self._operated = operated
        self._override = override
        self._jitter = jitter
        self._permit = Permit(service, desk, operated, override)
        self._saved: Tuple[Any, ...] = (None, None, self.watch.verdict.started)
        self._deferred = False
        self._unsaved = False
        self._degraded = self._foretold = False
        self._cut_off = False
        self._keeper = Keeper(service, host, records, source)
        self.around = Surroundings(self, host, wiring or Wiring(), self._say)
        self.diagnosis = Diagnosis(wiring.diagnostics if wiring is not None else None, host, self, records)

    # -- what the driver calls -------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Take up what was saved, and look at what stands there."""
        self._load()
        self._look()

    def turn(self, now: float) -> None:
        """Do whatever is due. Cheap when nothing is."""
        if now >= self._relook_at and self._job is None:
            self._look()
        news = self.around.turn(now) or self.watch.news
        if news or now >= self._until:
            self.watch.news = False
            self._advance(now)
        self.watch.start_due(now)
        self.wake = min(self.watch.wake, self._until, self._relook_at, self.around.wake)

    def stop(self) -> None:
        """Let go of everything that is under way here; what was begun outside goes on."""
        self.watch.suspend()
        if self._job is not None:
            self._job.abandon()
            self._job = None
        self._unwatch()
        self.diagnosis.stop()
        self.around.stop()
        self._permit.release()

    def remember(self, memory: Memory) -> None:
        """A part of ours has changed what is remembered."""
        self.memory = memory
        self._save()

    def cut_off(self, why: Optional[str]) -> None:
        """Something distant has failed, and our own network is down (why, in words) or is not (None): said once."""
        if (why is not None) is not self._cut_off:
            self._cut_off = why is not None
            if why is not None:
                self._say("blocked", {"reason": Reason.OWN_NETWORK_DOWN.value, "detail": why, "action": "observe"})

    @property
    def healer(self) -> Healer:
        return self

    @property
    def state(self) -> health.State:
        """The published state."""
        return published(self.memory, self._facts(self._host.monotonic()))

    @property
    def acting(self) -> bool:
        incident = self.memory.incident
        return incident is not None and incident.attempt is not None and incident.attempt.ended is None

    # -- facts -----------------------------------------------------------------------------------------------------------

    def _facts(self, now: float) -> Facts:
        here = self.presence.state
        held = self._desk.hold(self.name)
        return Facts(
            verdict=self.watch.verdict,
            wall_offset=self._host.wall() - now,
            dead=here is State.GONE and self._job is None,
            dead_since=self._dead_since,
            never=here is State.NEVER and self._job is None,
            stopped=here is State.STOPPED,
            # While it is looked for again, what was never started is no better known than before.
            unseen=here in (State.UNKNOWN, State.NEVER) and self.instance is None,
            pending=here in (State.STARTING, State.STOPPING) or self._job is not None or self.presence.pending,
            observed=self.watch.observed,
            asked_since=self.watch.asked_since,
            watched_since=self.watch.begun,
            hold=held.text if held is not None else None,
            hold_until=held.until if held is not None else None,
            approved=self._desk.approved(self.name),
            lease=self._permit.held_by(now),
            maintenance=self._desk.maintenance(),
            unwritable=self._records.unwritable(),
            revived_since=self._revived_since,
            operated=self._operated,
            override=self._override,
            cannot=self._cannot(),
            windows={rung.rung: self._actuator.window(rung.rung) for rung in self.service.ladder},
            jitter=self._jitter,
            **self.around.facts(now, serving(self.service, here, self.watch.verdict), self._actuator.away()),
        )

    def _cannot(self) -> Dict[str, Reason]:
        found = {rung.rung: self._actuator.cannot(rung.rung) for rung in self.service.ladder if rung.rung != "page"}
        return {rung: reason for rung, reason in found.items() if reason is not None}

    # -- decide and act --------------------------------------------------------------------------------------------------

    def _advance(self, now: float) -> None:
        for _turn in range(SETTLED):
            facts = self._facts(now)
            self._notice(facts, now)
            if self._permit.yielded and facts.lease is None:
                self._permit.yielded = False
                self._adopt()
                continue
            if self._permit.yielded:
                decision = Decision(Do.BLOCK, Reason.LEASE_HELD, facts.lease or "")
                break
            decision = decide(self.service, self.memory, facts, now)
            if decision.do in BEGINNINGS:
                # A package manager that has just begun is not found out after the fact.
                self._desk.refresh()
                decision = decide(self.service, self.memory, self._facts(now), now)
            if decision.do is not Do.WAIT and self._overtaken():
                continue
            if self.leaving and decision.do in BEGINNINGS:
                decision = Decision(Do.WAIT, detail="nothing new is begun any more")
            if decision.do is Do.ATTEMPT and not (facts.dead or facts.never):
                decision = self._second_thought(decision, now)
            if decision.do is Do.ESCALATE:
                told = self.diagnosis.told(now)
                if told is not None:
                    decision = Decision(Do.WAIT, detail="a person is told as soon as the probable cause is known", until=told)
            if decision.do is Do.RECOVER and decision.since is not None:
                decision = self._in_doubt(decision.since + self.service.recovered_after, now) or decision
            if decision.do is Do.WAIT or known_block(decision, self.memory):
                break
            if decision.do is Do.RECOVER and self._desk.take(self.name, "closing the incident of") is not None:
                # Another healer may be about to say so at this moment; an incident is closed once.
                decision = Decision(Do.WAIT, detail="healthy; waiting for who acts on it just now", until=now + RELOOK)
                break
            self._do(decision, facts, now)
        else:
            decision = Decision(Do.WAIT, detail="decisions undo each other; asking again in a second", until=now + 1.0)
        self._save_opened()
        self._revived_since = None
        self.decision = decision
        self.watch.awaited = decision.awaits
        self._until = self._permit.ask_again(decision, now)
        if decision.do is Do.WAIT and decision.since is not None and facts.storm is None:
            self._until = min(self._until, self.diagnosis.foresee(decision.since, now))
        self._remember()
        self.around.move_traffic(self._facts(now), now)

    def _second_thought(self, decision: Decision, now: float) -> Decision:
        """Before something that lives is disrupted: what it depends on has answered, and every other service had its say (storm)."""
        incident = self.memory.incident
        if incident is not None and incident.attempt is None and not self.around.asked_since(incident.opened):
            return Decision(Do.WAIT, Reason.DEPENDENCY_DOWN, "asking what it depends on before anything is disrupted")
        gathered = self.diagnosis.before(now)
        if gathered is not None:
            return Decision(Do.WAIT, detail="diagnostics are gathered before it is disrupted", until=gathered)
        if now - self._looked_at >= RELOOK and not self.leaving:
            self._look()
            return Decision(Do.WAIT, detail="looking at what stands there before it is disrupted", until=now)
        if not self._deferred:
            self._deferred = True
            return Decision(Do.WAIT, detail="about to act", until=now)
        return decision

    def _notice(self, facts: Facts, now: float) -> None:
        if facts.dead or self.watch.observed:
            shown = published(self.memory, facts)
            if shown is not health.State.NOT_READY or facts.verdict.unready is not None:
                self.memory = noticed(self.memory, shown, now)
            slow = shown is health.State.DEGRADED
            foretold = slow and self.watch.foretold
            if slow and (not self._degraded or (self._foretold and not foretold)):
                self._say("degrade", self.watch.slowness())
            self._degraded, self._foretold = slow, foretold

    def _do(self, decision: Decision, facts: Facts, now: float) -> None:
        if decision.do in BEGINNINGS and (not self._permit.take(now) or self._overtaken()):
            return
        if decision.do is Do.RECOVER and self._overtaken():
            return
        if decision.do is Do.BLOCK and decision.reason is Reason.LEASE_HELD:
            self._save_opened()
            self._permit.yielded = True
        self._deferred = False
        self._revived_since = None
        before = self.memory
        self.memory = apply(self.service, before, decision, facts, now)
        for each in events.of(self, decision, before, facts, now):
            self._records.record(each.type, self.name, each.incident, each.source, each.data)
        if decision.do is Do.OPEN:
            self.around.opened(now)
        elif decision.do is Do.RECOVER:
            self.around.closed()
            self._put_on_record(before)
        # What opens is saved together with what follows from it in the same turn: a dead service waits for every write.
        self._unsaved = decision.do is Do.OPEN
        if not self._unsaved:
            self._save()
        self.watch.pace(self.memory.incident, decision.do, now)
        if decision.do in DIAGNOSED and facts.storm is None:
            self.diagnosis.begin(now, alive=not (facts.dead or facts.never or facts.stopped))
        if decision.do in BEGINNINGS:
            self._act(decision, facts)
        elif decision.do in (Do.OBSERVE, Do.ESCALATE, Do.RECOVER, Do.BLOCK):
            self._permit.release()

    def _act(self, decision: Decision, facts: Facts) -> None:
        self.watch.suspend()
        self._unwatch()
        rung = decision.rung or "restart"
        if rung == "restart":
            work = self._actuator.start() if facts.dead or facts.never or facts.stopped else self._actuator.restart()
        else:
            work = self._actuator.redeploy() if rung == "redeploy" else self._actuator.rollback()
        self.busy = True
        self._job = Job(self._host, work, self, self._acted, broken_action)
        self._job.begin()

    def _put_on_record(self, before: Memory) -> None:
        """What healed may be worth remembering elsewhere: a rollback that did makes the release it left a bad one."""
        attempt = before.incident.attempt if before.incident is not None else None
        work = self._actuator.proven(attempt.rung) if attempt is not None and attempt.outcome == "ok" else None
        if work is not None:
            self.busy = True
            Job(self._host, work, self, self._recorded, broken_action).begin()

    def _recorded(self, outcome: Outcome) -> None:
        self.busy = self._job is not None
        if outcome.status != "ok":
            self._say("note", {"text": "what healed could not be put on record: %s" % outcome.detail})

    def _acted(self, outcome: Outcome) -> None:
        now = self._host.monotonic()
        self._job = None
        self.busy = False
        if outcome.status == "ok":
            word = "ok"
        else:
            word = "cannot_help" if outcome.reason in CANNOT_HELP else "failed"
        self.memory = action_ended(self.memory, word, now, outcome.reason, outcome.detail)
        self.watch.ours = outcome.status == "ok"
        if self.memory.incident is None:
            self._permit.release()
            if outcome.status != "ok":
                self.presence = Presence(State.GONE, detail=outcome.detail)
                self._dead_since = now
                self.nudge()
                return
        self._save()
        self._look()

    # -- what is remembered ----------------------------------------------------------------------------------------------

    def _load(self) -> None:
        kept = self._keeper.load()
        if kept is None:
            return
        self.memory = kept.memory
        self._restored = kept.healths
        self.around.restore(kept.breakers)
        now = self._host.monotonic()
        self.watch.pace(self.memory.incident, Do.WAIT, now)
        incident = self.memory.incident
        if incident is not None:
            self.around.opened(now, again=True)
            if incident.attempt is not None and incident.attempt.outcome == "interrupted":
                self._actuator.interrupted(incident.attempt.begun + self._host.wall() - now)

    def _overtaken(self) -> bool:
        """Has another healer written what is remembered since we did? Then its word holds, and nothing is done on ours."""
        if not self._records.overtaken(self.name):
            return False
        self._permit.release()
        self._adopt()
        return True

    def _adopt(self) -> None:
        """Take up what another healer remembers. Our own probes went on meanwhile and know better; what stands there may be new."""
        said = self.memory.blocked
        self._load()
        self.memory = replace(self.memory, blocked=said)  # what we said ourselves is not said again
        self._restored = None
        if self._job is None:
            self._look()

    def _save_opened(self) -> None:
        if self._unsaved:
            self._save()

    def _save(self) -> None:
        self._unsaved = False
        if self._permit.yielded:
            return
        self._keeper.save(self.memory, self.watch.health, self.around.to_data())

    def _say(self, type: str, data: Dict[str, Any]) -> None:
        """A part of ours has an event to tell."""
        incident = self.memory.incident
        source = self.source if type in ("blocked", "degrade") else "circuit_breaker"
        self._records.record(type, self.name, incident.id if incident is not None else None, source, data)

    def _remember(self) -> None:
        """What outlives this process too: since when it has failed or been well during an incident, and that a startup probe has passed."""
        verdict = self.watch.verdict
        runs = (verdict.failing_since, verdict.well_since) if self.memory.incident is not None else (None, None)
        if (*runs, verdict.started) != self._saved:
            self._saved = (*runs, verdict.started)
            self._save()


__all__ = ["Healer"]
