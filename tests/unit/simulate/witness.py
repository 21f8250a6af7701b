# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a simulated world saw, independently of what the timeline says: every answer, every action, every new instance."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import Any, Dict, Iterator, NamedTuple, Optional
from unittest import mock

from selfheal._core import model
from selfheal._engine import simulation, watch, world


class Answer(NamedTuple):
    """`moment` is the place in the order of everything witnessed."""

    moment: int
    service: str
    probe: str
    status: str
    started: float
    ended: float


class Deed(NamedTuple):
    """One action as the world did it, and how things really stood at its beginning.

    held: somebody holds it. alive: the main process ran, and nobody had stopped it. serves_since: since when every readiness probe (without
    one every liveness probe) of this instance would answer well; None when one would not. leased: somebody else acts on it. approvals:
    how many were given to it so far.
    """

    moment: int
    service: str
    rung: str
    begun: float
    ends: float
    held: bool
    alive: bool = True
    stopped: bool = False
    serves_since: Optional[float] = None
    leased: bool = False
    approvals: int = 0
    upkeep: bool = False
    unwritable: bool = False


class Moved(NamedTuple):
    """One move of traffic as the world did it."""

    moment: int
    service: str
    way: str
    at: float
    held: bool


class Told(NamedTuple):
    """One answer of a peer or a dependency."""

    moment: int
    name: str
    asked: float
    ended: float
    status: str


@dataclass
class Witness:
    answers: list[Answer] = field(default_factory=list)
    deeds: list[Deed] = field(default_factory=list)
    moves: list[Moved] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    instances: list[tuple[int, str]] = field(default_factory=list)
    foreign: list[tuple[int, str, float]] = field(default_factory=list)
    crashes: list[float] = field(default_factory=list)
    moment: int = 0

    def tick(self) -> int:
        self.moment += 1
        return self.moment

    def of(self, service: str) -> Witness:
        """What concerns one service."""
        return replace(
            self,
            answers=[each for each in self.answers if each.service == service],
            deeds=[each for each in self.deeds if each.service == service],
            moves=[each for each in self.moves if each.service == service],
            instances=[each for each in self.instances if each[1] == service],
            foreign=[each for each in self.foreign if each[1] == service],
        )

    def run_of_failures(self, probe: str, before: int) -> list[Answer]:
        """The unbroken run of bad answers of the present instance that had ended before that moment; unknown ones do not count."""
        return self._run(probe, before, self.instances)

    def unbroken(self, probe: str, before: int) -> list[Answer]:
        """The same run, across instances that an action has started: only a good answer or somebody else's instance ends it.

        One that came and went while an action ran was seen by nobody.
        """
        unseen = [(each.moment, each.ends) for each in self.deeds]
        seen = [(moment, name) for moment, name, at in self.foreign if not any(m < moment and at <= ends for m, ends in unseen)]
        return self._run(probe, before, seen)

    def fails(self, probe: model.Probe, before: int) -> bool:
        """Has the present instance reached the probe's failure threshold, and not its success threshold since?"""
        fresh = max((moment for moment, _service in self.instances if moment < before), default=0)
        passing, good, bad = True, 0, 0
        for answer in self.answers:
            if answer.probe != probe.name or answer.status == "unknown" or not fresh < answer.moment < before:
                continue
            good, bad = (good + 1, 0) if answer.status == "ok" else (0, bad + 1)
            passing = (passing or good >= probe.success_threshold) and bad < probe.failure_threshold
        return not passing

    def _run(self, probe: str, before: int, beginnings: list[tuple[int, str]]) -> list[Answer]:
        fresh = max((moment for moment, _service in beginnings if moment < before), default=0)
        run: list[Answer] = []
        for answer in reversed(self.answers):
            if answer.moment >= before or answer.probe != probe or answer.status == "unknown":
                continue
            if answer.moment <= fresh or answer.status != "bad":
                break
            run.append(answer)
        return run[::-1]


class _Reporter:
    """Stands beside the simulation and writes down what happens in its world."""

    def __init__(self, seen: Witness) -> None:
        self.seen = seen
        self.ours: list[int] = []
        self.changed: Dict[tuple[int, str], float] = {}
        self.approvals: Dict[str, int] = {}
        self.unwritable = False

    def deed(self, act: world.Act, now: float, ends: float) -> None:
        body, desk = act.body, act.world.desk
        name = body.service.name
        self.seen.deeds.append(
            Deed(
                self.seen.tick(),
                name,
                act.rung,
                now,
                ends,
                held=desk.hold(name) is not None,
                alive=body.alive and not body.stopped,
                stopped=body.stopped,
                serves_since=self._serves_since(body),
                leased=desk.lease(name) is not None,
                approvals=self.approvals.get(name, 0),
                upkeep=desk.maintenance() is not None,
                unwritable=self.unwritable,
            )
        )

    def _serves_since(self, body: world.Body) -> Optional[float]:
        if not body.alive or body.stopped:
            return None
        probes = [probe for probe in body.service.probes if probe.role == "readiness"] or list(body.service.probes)
        if any(body.results.get(probe.name, "ok") not in ("ok", "slow") for probe in probes):
            return None
        return max([body.since, *(self.changed.get((id(body), probe.name), 0.0) for probe in probes)])


def _on_the_world(seen: Witness, told: _Reporter) -> list[tuple[Any, str, Any]]:
    """What is done and asked there: owner, name, and what stands in its place."""
    ended, plan, renew, stands = watch.Watch.ended, world.Act.plan, world.Body.renew, world.Act._stands
    move, reach, made = world.Move.plan, world.Reach.plan, world.ScriptedDesk.__init__
    _desk: list[Any] = []

    def watched_end(self: watch.Watch, handle: Any) -> None:
        outcome = handle.outcome
        seen.answers.append(Answer(seen.tick(), self.service.name, handle.tag, outcome.status, handle.started, handle.ended))
        ended(self, handle)

    def watched_plan(self: world.Act, now: float, deadline: float) -> tuple[float, Optional[Any]]:
        ends, outcome = plan(self, now, deadline)
        told.deed(self, now, ends)
        return ends, outcome

    def watched_move(self: world.Move, now: float, deadline: float) -> tuple[float, Optional[Any]]:
        name = self._body.service.name
        seen.moves.append(Moved(seen.tick(), name, self._way, now, _desk[0].hold(name) is not None))
        return move(self, now, deadline)

    def watched_reach(self: world.Reach, now: float, deadline: float) -> tuple[float, Optional[Any]]:
        ends, outcome = reach(self, now, deadline)
        seen.told.append(Told(seen.tick(), self._name, now, ends, outcome.status))
        return ends, outcome

    def watched_renewal(self: world.Body, *args: Any, **kwargs: Any) -> None:
        moment = seen.tick()
        seen.instances.append((moment, self.service.name))
        if not told.ours:
            seen.foreign.append((moment, self.service.name, args[0].now))
        renew(self, *args, **kwargs)

    def watched_stand(self: world.Act, *args: Any, **kwargs: Any) -> None:
        told.ours.append(1)
        stands(self, *args, **kwargs)
        told.ours.pop()

    def watched_desk(self: world.ScriptedDesk, *args: Any, **kwargs: Any) -> None:
        _desk[:] = [self]
        made(self, *args, **kwargs)

    return [
        (watch.Watch, "ended", watched_end),
        (world.Act, "plan", watched_plan),
        (world.Act, "_stands", watched_stand),
        (world.Body, "renew", watched_renewal),
        (world.Move, "plan", watched_move),
        (world.Reach, "plan", watched_reach),
        (world.ScriptedDesk, "__init__", watched_desk),
    ]


def _on_the_script(seen: Witness, told: _Reporter) -> tuple[dict[str, Any], dict[str, Any]]:
    """What people do and what changes by itself: in the place of what operates, and of what applies."""
    disk = simulation._APPLY["records"]
    said, crashed, answers = simulation._OPERATE["approve"], simulation._APPLY["crash"], simulation._APPLY["probe"]

    def watched_approval(self: simulation.Simulation, entry: Any) -> None:
        told.approvals[str(entry.service)] = told.approvals.get(str(entry.service), 0) + 1
        said(self, entry)

    def watched_disk(self: simulation.Simulation, entry: Any) -> None:
        told.unwritable = entry.name == "unwritable"
        disk(self, entry)

    def watched_crash(self: simulation.Simulation, entry: Any) -> None:
        seen.crashes.append(entry.at)
        crashed(self, entry)

    def watched_change(self: simulation.Simulation, entry: Any) -> None:
        body = self.world.bodies[str(entry.service)]
        told.changed[id(body), entry.name] = entry.at
        answers(self, entry)

    return {"approve": watched_approval}, {"crash": watched_crash, "probe": watched_change, "records": watched_disk}


@contextlib.contextmanager
def watching() -> Iterator[Witness]:
    """Witness every simulation inside the block."""
    seen = Witness()
    told = _Reporter(seen)
    operated, applied = _on_the_script(seen, told)
    with contextlib.ExitStack() as stack:
        for owner, name, new in _on_the_world(seen, told):
            stack.enter_context(mock.patch.object(owner, name, new))
        stack.enter_context(mock.patch.dict(simulation._OPERATE, operated))
        stack.enter_context(mock.patch.dict(simulation._APPLY, applied))
        yield seen
