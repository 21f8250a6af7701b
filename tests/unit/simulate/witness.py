# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a simulated world saw, independently of what the timeline says: every answer, every action, every new instance."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any, Iterator, NamedTuple, Optional
from unittest import mock

from selfheal._engine import watch, world


class Answer(NamedTuple):
    """`moment` is the place in the order of everything witnessed."""

    moment: int
    probe: str
    status: str
    started: float
    ended: float


class Deed(NamedTuple):
    """One action as the world did it, and what an operator had said at its beginning."""

    moment: int
    rung: str
    begun: float
    ends: float
    held: bool


@dataclass
class Witness:
    answers: list[Answer] = field(default_factory=list)
    deeds: list[Deed] = field(default_factory=list)
    instances: list[int] = field(default_factory=list)
    foreign: list[int] = field(default_factory=list)
    moment: int = 0

    def tick(self) -> int:
        self.moment += 1
        return self.moment

    def run_of_failures(self, probe: str, before: int) -> list[Answer]:
        """The unbroken run of bad answers of the present instance that had ended before that moment; unknown ones do not count."""
        fresh = max((moment for moment in self.instances if moment < before), default=0)
        run: list[Answer] = []
        for answer in self.answers:
            if answer.probe == probe and fresh < answer.moment < before and answer.status != "unknown":
                run = [*run, answer] if answer.status == "bad" else []
        return run

    def unbroken(self, probe: str, before: int) -> list[Answer]:
        """The same run, across instances that an action has started: only a good answer or somebody else's instance ends it."""
        foreign = max((moment for moment in self.foreign if moment < before), default=0)
        run: list[Answer] = []
        for answer in self.answers:
            if answer.probe == probe and foreign < answer.moment < before and answer.status != "unknown":
                run = [*run, answer] if answer.status == "bad" else []
        return run


@contextlib.contextmanager
def watching() -> Iterator[Witness]:
    """Witness every simulation inside the block. One service at a time."""
    seen = Witness()
    ended, plan, renew, stands = watch.Watch.ended, world.Act.plan, world.Body.renew, world.Act._stands
    ours: list[int] = []

    def watched_end(self: watch.Watch, handle: Any) -> None:
        outcome = handle.outcome
        seen.answers.append(Answer(seen.tick(), handle.tag, outcome.status, handle.started, handle.ended))
        ended(self, handle)

    def watched_plan(self: world.Act, now: float, deadline: float) -> tuple[float, Optional[Any]]:
        ends, outcome = plan(self, now, deadline)
        held = self.world.desk.hold(self.body.service.name) is not None
        seen.deeds.append(Deed(seen.tick(), self.rung, now, ends, held))
        return ends, outcome

    def watched_renewal(self: world.Body, *args: Any, **kwargs: Any) -> None:
        seen.instances.append(seen.tick())
        if not ours:
            seen.foreign.append(seen.moment)
        renew(self, *args, **kwargs)

    def watched_stand(self: world.Act, *args: Any, **kwargs: Any) -> None:
        ours.append(1)
        stands(self, *args, **kwargs)
        ours.pop()

    with mock.patch.object(watch.Watch, "ended", watched_end), mock.patch.object(world.Act, "plan", watched_plan):
        with mock.patch.object(world.Body, "renew", watched_renewal), mock.patch.object(world.Act, "_stands", watched_stand):
            yield seen
