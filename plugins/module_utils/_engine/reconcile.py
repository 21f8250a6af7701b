# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Putting links right for any number of projects: look, take the project's lease, look again, record, swap, give the lease back.

Everything durable is done once for many: one append of events, one sync of the file system.
"""

from __future__ import annotations

import itertools
import os
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

from .._actuators.libc import FEW, has_syncfs, sync_many
from .._actuators.links import LinkRefused, open_checked, replace_at, swap_at
from .._core.errors import RecordError
from .._core.model import Service
from .._core.reasons import Reason
from .._core.times import compact
from .._records.files import cause
from .._records.holds import ALL, Hold, Holds
from .._records.lease import LeaseInfo
from .._records.lease_batch import Batch, ManyLeases
from .._records.timeline import Timeline
from .survey import Link, Look, Policy, Surveyor, said, thing

AT_ONCE = 2500
LEASE_SECONDS = 300.0
_STATUS = {"verify": "verified", "repair": "fixed", "replace": "fixed", "skip": "skipped", "fail": "error"}
_OUTCOME = {"verified": "unchanged", "fixed": "changed", "skipped": "unchanged", "error": "failed", "blocked": "blocked"}
_ACTIONS = {"verified": "verify", "fixed": "repair", "skipped": "skip", "error": "repair", "blocked": "skip"}
STATUSES = ("fixed", "verified", "errors", "skipped")


@dataclass
class Result:
    """What became of one project. status: fixed, verified, skipped, blocked (skipped, too: it needed repair) or error."""

    look: Look
    status: str
    reason: Optional[Reason] = None
    detail: str = ""
    done: List[Link] = field(default_factory=list)

    def as_data(self, planned: bool, webroot: bool) -> Dict[str, Any]:
        """For the module's results."""
        outcome = "planned" if planned and self.status == "fixed" else _OUTCOME[self.status]
        data = {
            "name": self.look.project,
            "action": _ACTIONS[self.status],
            "outcome": outcome,
            "reason": None if self.reason is None else self.reason.value,
            "detail": self.detail,
            "before": _before(self.look.current),
            "after": self._after(self.look.current),
        }
        if webroot:
            data["webroot_before"] = _before(self.look.webroot)
            data["webroot_after"] = self._after(self.look.webroot)
        return data

    def _after(self, link: Optional[Link]) -> Optional[str]:
        return link.target if link is not None and link in self.done else _before(link)


def _before(link: Optional[Link]) -> Optional[str]:
    if link is None or link.found.kind == "missing":
        return None
    return link.found.target if link.found.kind == "link" else "(%s)" % link.found.kind


@dataclass(frozen=True)
class Surroundings:
    """Whom to ask and where to tell. `services`: contracts of this host, for holds of those who release a project.

    `services` None: they cannot be read, so any service's hold may be meant. `check`: change nothing.
    """

    holds: Holds
    leases: ManyLeases
    timeline: Timeline
    services: Optional[Sequence[Service]] = ()
    holder: str = "module"
    source: str = "module"
    check: bool = False
    clock: Callable[[], float] = time.time


class Reconciler:
    """Reconciles the links that a policy speaks of. `warnings`: what went wrong beside the links; `unrecorded`: no events are written."""

    def __init__(self, policy: Policy, surroundings: Surroundings) -> None:
        self.policy = policy
        self.unrecorded = False
        self.warnings: List[str] = []
        self._around = surroundings
        self._root = os.path.realpath(policy.root)
        self._services: Dict[str, List[str]] = {}
        self._healed_as: Dict[str, Set[str]] = {}
        for service in surroundings.services or ():
            if service.release is not None:
                root, project = service.release.root, service.release.project
                place = os.path.join(os.path.realpath(root), project)
                self._services.setdefault(place, []).append(service.name)
                self._healed_as.setdefault(place, set()).add(os.path.join(root, project))

    def run(self) -> List[Result]:
        """Look at every project and put right what is wrong. Raises LinkRefused when root or webroot cannot be worked in."""
        results: List[Result] = []
        with Surveyor(self.policy) as survey:
            waiting: List[int] = []
            for project in survey.projects():
                result = _judged(survey.look(project))
                results.append(result)
                if result.status == "fixed":
                    waiting.append(len(results) - 1)
                if len(waiting) >= AT_ONCE:
                    self._put_right(survey, results, waiting)
                    waiting = []
            self._put_right(survey, results, waiting)
        return results

    # -- a batch

    def _put_right(self, survey: Surveyor, results: List[Result], waiting: List[int]) -> None:
        """Act on these results, in place. Who may not be touched becomes blocked."""
        held = self._held()
        free = []
        for place in waiting:
            hold = self._hold(results[place].look.project, held)
            if hold is None:
                free.append(place)
            else:
                results[place] = _blocked(results[place], Reason.HOLD, "held by %s: %s" % (hold.owner, hold.reason or "no reason given"))
        if self._around.check:
            self._foresee(results, free)
            return
        if not free:
            return
        names = {place: self._leases(results[place].look.project) for place in free}
        wanted = itertools.chain.from_iterable(names.values())
        try:
            batch = self._around.leases.take_each(wanted, self._around.holder, "symlink_reconcile", LEASE_SECONDS)
        except RecordError as error:
            for place in free:
                results[place] = Result(results[place].look, "error", Reason.RECORDS_UNWRITABLE, "no lease could be taken: %s" % error)
            return
        refused = {place: batch.refused[name] for place in free for name in names[place] if name in batch.refused}
        try:
            self._under_lease(survey, results, [place for place in free if place not in refused], batch)
        finally:
            self._give_back(batch)
        for place, why in refused.items():
            results[place] = _blocked(results[place], Reason.LEASE_HELD, why)

    def _give_back(self, batch: Batch) -> None:
        try:
            batch.release()
        except RecordError as error:
            self.warnings.append("%s. They are free again when this process has ended." % error)

    def _foresee(self, results: List[Result], free: Sequence[int]) -> None:
        """Check mode: whose lease somebody has would be left alone."""
        for place in free:
            holders = map(self._around.leases.holder, self._leases(results[place].look.project))
            found = next((each for each in holders if each is not None and _is_held(each)), None)
            if found is not None:
                results[place] = _blocked(results[place], Reason.LEASE_HELD, "%s" % found)
            else:
                results[place].done = [link for link in results[place].look.links if link.acts]
                _conclude(results[place])

    def _under_lease(self, survey: Surveyor, results: List[Result], places: Sequence[int], batch: Batch) -> None:
        acting: List[Result] = []
        with _Directories(survey) as directories:
            for place in places:
                result = results[place]
                if not survey.unchanged(result.look):
                    result = results[place] = _judged(survey.look(result.look.project))
                if result.status == "fixed":
                    acting.append(result)
            self._record(acting, batch)
            for result in acting:
                self._repair(result, directories)
                _conclude(result)
            problem = directories.sync()
        for result in acting:
            if problem and result.done:
                result.status, result.detail = "error", "linked, but perhaps not on the disk: %s" % problem

    def _repair(self, result: Result, directories: "_Directories") -> None:
        for link in result.look.links:
            if not link.acts:
                continue
            try:
                self._swap(result, link, directories)
            except (LinkRefused, OSError) as error:
                why = cause(error) if isinstance(error, OSError) else str(error)
                result.status, result.reason = "error", Reason.OBSTRUCTED if isinstance(error, LinkRefused) else Reason.ACTION_FAILED
                result.detail = "linking %s to %s: %s" % (link.path, link.target, why)
                self._tell(result, link)
                return
            result.done.append(link)

    def _swap(self, result: Result, link: Link, directories: "_Directories") -> None:
        directory = directories.of(result.look, link)
        if link.verdict.do == "replace":
            backup = "%s.backup-%s" % (link.name, compact(self._around.clock()))
            replace_at(directory, link.name, link.target, backup, sync=False)
            result.detail = "%s stood at %s; it is kept as %s" % (thing(link.found.kind), link.path, os.path.join(link.directory, backup))
        else:
            swap_at(directory, link.name, link.target, sync=False, alone=True)

    # -- who may not be touched

    def _held(self) -> Mapping[str, Hold]:
        return {hold.scope: hold for hold in reversed(self._around.holds.list())}

    def _hold(self, project: str, held: Mapping[str, Hold]) -> Optional[Hold]:
        """What holds a project: all of the host, a service that is released from it, or a hold of its own name."""
        if not held:
            return None
        if self._around.services is None:
            return next(iter(held.values()))
        names = [ALL, *self._services.get(self._place(project), ()), project]
        return next((held[name] for name in names if name in held), None)

    def _place(self, project: str) -> str:
        return os.path.join(self._root, project)

    def _leases(self, project: str) -> Tuple[str, ...]:
        """A project's lease by every name that others take: where it lies, and as it is called where its root is reached through a link."""
        place, called = self._place(project), os.path.join(self.policy.root, project)
        healed = self._healed_as.get(place)
        if healed is None:
            return ("project:" + place,) if called == place else ("project:" + place, "project:" + called)
        return tuple("project:" + name for name in sorted({place, called, *healed}))

    # -- what is told

    def _record(self, acting: Sequence[Result], batch: Batch) -> None:
        """What is about to be done, durable before it is; dead holders that lost their leases, too."""
        around = self._around
        timeline = around.timeline
        drafts = [timeline.draft("lease_takeover", source=around.source, data=lost.as_data()) for lost in batch.takeovers]
        for result in acting:
            for link in result.look.links:
                if link.acts:
                    drafts.append(timeline.draft("symlink_repair", self._service(result), None, around.source, _event(result, link)))
        try:
            if drafts and not self.unrecorded:
                timeline.write_all(drafts)
        except RecordError as error:
            # A link that leads nowhere is worse than one missing in the log; the caller is told.
            self._cannot_record(error)

    def _tell(self, result: Result, link: Link) -> None:
        """It was announced and did not happen."""
        data = {**_event(result, link), "outcome": "failed", "detail": result.detail}
        try:
            self._around.timeline.append("symlink_repair", self._service(result), None, self._around.source, data)
        except RecordError as error:
            self._cannot_record(error)

    def _cannot_record(self, error: RecordError) -> None:
        if not self.unrecorded:
            self.unrecorded = True
            self.warnings.append("The repairs are not in the timeline: %s" % error)

    def _service(self, result: Result) -> Optional[str]:
        names = self._services.get(self._place(result.look.project), ())
        return names[0] if len(names) == 1 else None


class _Directories:
    """The directories that links of one batch are made in: open until they are durable, or of many one for each file system."""

    def __init__(self, survey: Surveyor) -> None:
        self._survey = survey
        self._project = ""
        self._open: Dict[int, int] = {}
        self._last = -1
        self._webroot = False

    def __enter__(self) -> "_Directories":
        return self

    def __exit__(self, *_error: object) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)

    def of(self, look: Look, link: Link) -> int:
        if link is look.webroot:
            self._webroot = True
            return self._survey.webroot_descriptor
        if look.project != self._project:
            self._last = self._keep(*open_checked(look.project, self._survey.descriptor, link.directory))
            self._project = look.project
        return self._last

    def _keep(self, descriptor: int, found: os.stat_result) -> int:
        """Of few all stay open; of many only the last of each file system, as all of that is made durable at once."""
        key = len(self._open) if len(self._open) < FEW else -1 - found.st_dev
        if key in self._open:
            if not has_syncfs():
                os.fsync(self._open[key])
            os.close(self._open[key])
        self._open[key] = descriptor
        return descriptor

    def sync(self) -> str:
        """Make all of it durable; what went wrong, else nothing."""
        webroot = [self._survey.webroot_descriptor] if self._webroot else []
        try:
            sync_many([*self._open.values(), *webroot])
        except OSError as error:
            return cause(error)
        return ""


def _is_held(lease: LeaseInfo) -> bool:
    return lease.person or lease.owner is None or lease.owner.alive() is not False


def _judged(look: Look) -> Result:
    """The result as far as looking tells; `fixed` still is to be done."""
    if look.current is None:
        return Result(look, _STATUS[look.do], look.reason, look.trouble or _words(look))
    first = next((link for link in look.links if link.acts), None) or _failing(look) or _worth_saying(look) or look.current
    status = "blocked" if first.verdict.reason is Reason.INTERRUPTED else _STATUS[first.verdict.do]
    return Result(look, status, first.verdict.reason, said(first))


def _conclude(result: Result) -> None:
    """What could be put right was; a link that cannot be makes the project an error all the same."""
    failing = _failing(result.look)
    if failing is not None and result.status == "fixed":
        result.status, result.reason, result.detail = "error", failing.verdict.reason, said(failing)


def _failing(look: Look) -> Optional[Link]:
    return next((link for link in look.links if link.verdict.do == "fail"), None)


def _worth_saying(look: Look) -> Optional[Link]:
    return next((link for link in look.links if link.verdict.reason is not None), None)


def _blocked(result: Result, reason: Reason, why: str) -> Result:
    return Result(result.look, "blocked", reason, "%s; it needs repair: %s" % (why, result.detail))


def _words(look: Look) -> str:
    return "it is a symbolic link itself" if look.reason is Reason.PROJECT_IS_LINK else ""


def _event(result: Result, link: Link) -> Dict[str, Any]:
    return {
        "project": result.look.project,
        "link": link.path,
        "before": _before(link),
        "after": link.target,
        "reason": None if link.verdict.reason is None else link.verdict.reason.value,
    }


def summarise(results: Sequence[Result]) -> Dict[str, int]:
    """How many projects were fixed, verified, skipped, and how many are errors."""
    names = {"fixed": "fixed", "verified": "verified", "error": "errors", "skipped": "skipped", "blocked": "skipped"}
    counts = dict.fromkeys(STATUSES, 0)
    for result in results:
        counts[names[result.status]] += 1
    return counts


def changes(results: Sequence[Result]) -> Iterator[Tuple[str, str, str]]:
    """Every link that was or would be changed: path, what stood there, what stands there now."""
    for result in results:
        for link in result.done:
            yield link.path, _before(link) or "", link.target


__all__ = ["AT_ONCE", "Reconciler", "Result", "STATUSES", "Surroundings", "changes", "summarise"]
