# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of ``container_heal``: one list for all, and each container that is not plainly well healed beside the others.

First come, first served, `AT_ONCE` acting at a time; one that takes long keeps nobody else. Each takes the same lease as the watchdog, and
obeys the same holds.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, FrozenSet, List, Mapping, Optional, Sequence, Tuple

from .._actuators import container_state as states
from .._actuators.base import Timed, Work
from .._actuators.container_make import unfinished
from .._core import containers as core
from .._core.containers import HELPER, OWNER, Labelled, Want
from .._core.errors import RecordError, SelfhealError
from .._core.reasons import Reason
from .._host import Host, Outcome
from .._proc import Pause
from .._records.names import service_name
from .container_deeds import Deeds
from .container_notes import Notes
from .container_one import One, Result, Surroundings, Terms
from .container_survey import ASK_WITHIN, Listed, Survey, labelled, listing
from .job import Job
from .local import LocalDesk

AT_ONCE = 8
"""So many containers are acted on at the same time: an engine that starts fifty serves nobody."""


class EngineAway(SelfhealError):
    """The container engine cannot be asked."""


class Around(Surroundings):
    """This host's holds, leases and timeline. services: the service whose contract names a container, by the container's name."""

    def __init__(self, desk: LocalDesk, services: Mapping[str, str], record: Callable[..., Any], override: FrozenSet[Reason]) -> None:
        self._desk = desk
        self._services = services
        self._record = record
        self._override = override
        self._acting = 0

    def _name(self, name: str) -> str:
        return self._services.get(name, name)

    def forbids(self, name: str) -> Optional[Tuple[Reason, str]]:
        held = self._desk.hold(_held_by(self._name(name)))
        if held is not None and Reason.HOLD not in self._override:
            return Reason.HOLD, held.text
        why = self._desk.maintenance()
        return None if why is None or Reason.MAINTENANCE in self._override else (Reason.MAINTENANCE, why)

    def take(self, name: str) -> Optional[str]:
        if Reason.LEASE_HELD in self._override:
            return None
        self._desk.needs(self._name(name), ("container:%s" % name,))
        return self._desk.take(self._name(name), "healing")

    def give(self, name: str) -> None:
        self._desk.release(self._name(name))

    def record(self, type: str, name: str, incident: Optional[str], data: Dict[str, Any]) -> None:
        self._record(type, self._name(name), incident, "module", {**data, "container": name})

    def turn(self) -> bool:
        if self._acting >= AT_ONCE:
            return False
        self._acting += 1
        return True

    def over(self) -> None:
        self._acting -= 1


class Run:
    """`list` first, then `heal` and `clean`."""

    def __init__(self, host: Host, survey: Survey, notes: Notes, around: Surroundings, terms: Terms) -> None:
        self._host = host
        self._survey = survey
        self._notes = notes
        self._around = around
        self._terms = terms
        self.there: Dict[str, Listed] = {}

    def list(self) -> None:
        """The one list. Raises EngineAway."""
        found: List[Any] = []
        self._drive([Job(self._host, listing(self._survey.engine), self, found.append, _raise)], found)
        if isinstance(found[0], Outcome):
            raise EngineAway("The container engine cannot be asked: %s" % found[0].detail)
        self.there = {each.name: each for each in found[0]}

    def heal(self, wants: Sequence[Want]) -> List[Result]:
        """Every container, until it is proven or given up; nothing new is begun after `wait` seconds."""
        end = self._host.monotonic() + self._terms.wait
        results: List[Result] = []
        jobs: List[Job[None]] = []
        ended: List[None] = []
        for want in wants:
            listed = self.there.get(want.name)
            status = listed.status if listed is not None else "absent"
            result = Result(want.name, status=status, before=status)
            results.append(result)
            if not self._plainly_fine(want, listed):
                one = One(want, result, self._host, self._survey, self._notes, self._around, self._terms, end)
                jobs.append(Job(self._host, one.work(self.there), self, ended.append, _broken(result)))
        self._drive(jobs, ended)
        return results

    def clean(self, owners: FrozenSet[str], min_age: float, most: int) -> Tuple[List[Result], int]:
        """Remove what bears our label and stands for nothing any more; and how many more than `most` there are."""
        there = labelled(self.there.values())
        known = {each.name: (each.id, each.labels) for each in self.there.values()}
        # Between two renames nobody bears the name, and what is to bear it stands beside it.
        halfway = {owner for owner in {each.labels[OWNER] for each in there} if unfinished(owner, known) or core.swapping(owner, known)}
        chosen, left = core.orphans(there, owners | halfway | frozenset(self.there), self._host.wall(), min_age, most)
        results: List[Result] = []
        by_owner: Dict[str, List[Tuple[Labelled, str, Result]]] = {}
        for each, why in chosen:
            result = Result(each.name, status=each.status, before=each.status)
            result.end("planned", Reason.ORPHANED, why, "remove")
            results.append(result)
            by_owner.setdefault(each.labels[OWNER], []).append((each, why, result))
        jobs: List[Job[None]] = []
        ended: List[None] = []
        for owner, orphans in by_owner.items() if not self._terms.dry else ():
            broken = _broken(*(result for _each, _why, result in orphans))
            jobs.append(Job(self._host, self._remove_all(owner, orphans), self, ended.append, broken))
        self._drive(jobs, ended)
        return results, left

    def _remove_all(self, owner: str, orphans: Sequence[Tuple[Labelled, str, Result]]) -> Work[None]:
        """What one owner has left behind, one after the other, under the lease and the holds of the owner's name."""
        no = self._around.forbids(owner)
        held = self._around.take(owner) if no is None else None
        if no is not None or held is not None:
            for _each, _why, result in orphans:
                result.end("blocked", *(no if no is not None else (Reason.LEASE_HELD, held or "")), "none")
            return None
        try:
            while not self._around.turn():
                yield Timed(Pause(), 0.05)
            try:
                for each, why, result in orphans:
                    yield from self._remove(each, why, result)
            finally:
                self._around.over()
        finally:
            self._around.give(owner)
        return None

    def _remove(self, each: Labelled, why: str, result: Result) -> Work[None]:
        asked = yield Timed(self._survey.engine.call("GET", "/containers/%s/json" % each.id), ASK_WITHIN)
        if asked.status == "ok":
            told = asked.data["body"]
            if states.name_of(told) != each.name:
                now = "it bears the name %s now, so somebody has taken it up since" % states.name_of(told)
                result.end("unchanged", None, now, "none")
                return None
            data = {"reason": str(Reason.ORPHANED), "detail": why, "id": each.id[:12], "labels": _ours(each.labels)}
            self._around.record("container_remove", each.name, None, data)
            asked = yield from Deeds(self._survey.engine, Want(each.name)).remove(told)
        if asked.status != "ok" and asked.reason is not Reason.NO_SUCH_CONTAINER:
            result.end("failed", asked.reason, asked.detail)
        else:
            result.status = "absent"
            result.end("changed", Reason.ORPHANED, why)
        return None

    def _plainly_fine(self, want: Want, listed: Optional[Listed]) -> bool:
        """Does the list alone say that nothing is to be done?"""
        if want.name + core.OLD in self.there or want.name + core.NEW in self.there:
            return False
        if want.state == "absent":
            return listed is None
        plain = want.image is None and want.restart_policy is None and not want.env and want.name not in self._terms.probes
        if listed is None or not plain or any(listed.labels.get(key) != value for key, value in want.labels.items()):
            return False
        return listed.plainly_well if want.state != "stopped" else listed.status in ("exited", "created")

    def _drive(self, jobs: Sequence[Job[Any]], ended: List[Any]) -> None:
        """Turn them all until every one has ended."""
        before = len(ended)
        for job in jobs:
            job.begin()
        while len(ended) - before < len(jobs):
            for handle in self._host.poll(self._host.monotonic() + 1.0):
                handle.owner.ended(handle)


def _held_by(name: str) -> Optional[str]:
    """A container may bear a name that no service can, with dots and capitals: nobody can hold that but with the whole host (None)."""
    try:
        return service_name(name)
    except RecordError:
        return None


def _ours(labels: Mapping[str, str]) -> Dict[str, str]:
    return {key: labels[key] for key in (OWNER, HELPER) if key in labels}


def _raise(error: Exception) -> Any:
    raise error


def _broken(*results: Result) -> Callable[[Exception], None]:
    """One container's fault must not keep the others from being healed."""

    def told(error: Exception) -> None:
        for result in results:
            if result.outcome in ("unchanged", "planned"):
                result.end("failed", Reason.INTERNAL_ERROR, "healing it broke: %s: %s" % (type(error).__name__, error))

    return told


__all__ = ["AT_ONCE", "Around", "EngineAway", "Run"]
