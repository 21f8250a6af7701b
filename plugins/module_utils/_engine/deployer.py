# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployments: begun, taken up again, rolled back. One code for the modules, the command line and the ladder's rungs.

What serves is always the old good release or the new proven one. Each phase is journalled before it begins and when it has ended; a process
that dies anywhere leaves a journal from which `resume` goes on, or which the next deployment puts back and fails.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import Any, List, Mapping, Optional, Tuple

from .._actuators.base import Actuator
from .._actuators.release import Project
from .._core.deployment import (
    Deployment,
    Failure,
    Phase,
    again,
    assess,
    began,
    current_act,
    fate,
    hint,
    upcoming,
)
from .._core.deployment_request import Request, parse_request, same_request
from .._core.errors import ContractError, SelfhealError
from .._core.model import Service
from .._core.reasons import Reason
from .._core.times import parse_time
from .._records.files import Owner
from .._records.journal import Journal
from . import cleaning
from .deploy_run import PhaseFailed, Run, reason_of, words_of
from .deploy_site import DeploySite, Under
from .phases import strategy_for, work_of
from .reverting import abandon, put_back
from .targets import Refused, check_target, choose


@dataclass(frozen=True)
class Told:
    """How it ended. outcome: changed, unchanged, planned, blocked or failed; `entry` is the journal, None where none was begun.

    before, after: what `current` said and says (or would say).
    """

    outcome: str
    reason: Optional[str]
    detail: str
    entry: Optional[Deployment] = None
    before: str = ""
    after: str = ""
    warnings: Tuple[str, ...] = ()
    planned: Mapping[str, Any] = field(default_factory=dict)


class Deployer:
    """The deployments of one project. Made for one errand; `wait`: seconds to wait for whoever else acts on it."""

    def __init__(
        self,
        site: DeploySite,
        root: str,
        project: str,
        wait: float = 0.0,
        override: Tuple[str, ...] = (),
        under: Optional[Under] = None,
        check: bool = False,
    ) -> None:
        self.site = site
        self.project = Project(root, project)
        self.check = check
        self.under = under
        self.warnings: List[str] = []
        self.journal = Journal(self.project.journals, self._garbled, site.host.wall, repair=not check)
        self._wait = wait
        self._override = override
        self._replaces: Tuple[str, ...] = ()

    def _garbled(self, path: str, aside: str, problem: str) -> None:
        words = "The journal %s cannot be understood (%s)%s." % (path, problem, "; it was set aside as " + aside if aside else "")
        self.warnings.append(words)
        self.site.warnings.append(words)
        if not self.check:
            self.site.record("state_reset", None, None, {"reason": Reason.GARBLED.value, "path": path, "aside": aside, "detail": problem})

    # -- errands

    def start(self, request: Mapping[str, Any], kind: str = "deploy", pinned: Optional[Mapping[str, Any]] = None) -> Told:
        """Deploy. Raises ContractError for a wrong request, Refused, LeaseHeld, Forbidden, RecordError; whatever fails later is told."""
        wanted = parse_request(request)
        actuator, service = self._prepared(wanted)
        before = self.project.current_target()
        known = self.journal.load(wanted.id) if self.project.check() else None
        if known is not None:
            return self._used(known, wanted, request, before)
        if self.check:
            return self._planned(wanted, actuator, service, before)
        with self._leases(actuator, service, "deploying %s" % wanted.id):
            self.project.prepare()
            self._settle()
            run = self._begin(wanted, request, kind, wanted.id, actuator, pinned or {})
            return self._go(run, self.project.current_target())

    def rollback(self, to: Optional[str] = None, by: str = "person") -> Told:
        """Make the newest good release but the current one current again, or the one named. Raises as `start`."""
        self._must_exist()
        entries = self.journal.all()
        before, current = self.project.current_target(), self.project.current()
        target = choose(self.project, entries, current, to)
        if target.release == current:
            check_target(self._probe(target), target, entries)
            return Told("unchanged", None, "%s is current already" % current, target, before, before, tuple(self.warnings))
        wanted = parse_request(target.request)
        actuator, service = self._prepared(wanted)
        check_target(self._probe(target), target, entries)
        if self.check:
            return Told(
                "planned", None, "would go to %s" % target.release, target, before, "deployments/" + target.release, tuple(self.warnings)
            )
        with self._leases(actuator, service, "rolling back to %s" % target.release):
            self.project.prepare()
            self._settle()
            if self.project.current() == target.release:  # what was cut off had led away from it, and is undone now
                now = self.project.current_target()
                return Told("changed", None, "back to %s" % target.release, target, before, now, tuple(self.warnings))
            before = self.project.current_target()
            identity = self._rollback_id()
            run = self._begin(wanted, target.request, "rollback", identity, actuator, target.source, target, by)
            return self._go(run, before)

    def redeploy(self) -> Told:
        """Build the current release again from what its journal says, under the next id of its lineage. Raises as `start`."""
        self._must_exist()
        current = self.project.current()
        entry = None if current is None else self.journal.load(current)
        if current is None or entry is None:
            raise Refused(
                Reason.NO_GOOD_RELEASE, "%s: no journal knows the current release, so nothing says how to build it" % self.project.path
            )
        if not entry.source:
            raise Refused(Reason.SOURCE_MISSING, "the journal of %s does not say what it was built from" % entry.id)
        request = {**entry.request, "id": again(current, self.journal.ids())}
        if self.under is not None and not request.get("restart"):
            request["restart"] = {"service": self.under.service}
        return self.start(request, "redeploy", entry.source)

    def resume(self, stuck_after: float) -> List[Told]:
        """Take up, or fail, whatever was cut off here. One entry for each deployment that is not over."""
        if not self.project.check():
            return []
        if not self.check:
            self.project.sweep()
        found = [entry for entry in self.journal.all() if not entry.over]
        return [self._resume(entry, stuck_after, entry is not found[-1]) for entry in found]

    def proven(self) -> Optional[str]:
        """The ladder's last rollback has healed: what it left is bad. Returns the release that was left."""
        act = current_act(self.journal.all())
        if act is None or act.kind != "rollback" or act.by != "ladder" or act.left is None:
            return None
        with self._leases(None, None, "judging %s" % act.left):
            cleaning.condemn(self.journal, act.left, self.site.host.wall())
        return act.left

    # -- steps of errands

    def _must_exist(self) -> None:
        if not self.project.check():
            raise Refused(Reason.FILES_MISSING, "There is no project %s. Deploy it first." % self.project.path)

    def _prepared(self, wanted: Request) -> Tuple[Optional[Actuator], Optional[Service]]:
        self.project.check()
        actuator, service = self.site.restarter(wanted, self.under)
        if self.under is None:  # a healer has asked every guard before it sent us, and holds the lease of its container
            self._replaces = () if wanted.source.image is None else ("container:%s" % wanted.source.image.container,)
            self.site.obey(self.site.of_project(self.project) + ((service.name,) if service is not None else ()), self._override)
        return actuator, service

    def _leases(self, actuator: Optional[Actuator], service: Optional[Service], purpose: str) -> Any:
        names = self.site.lease_names(self.project, actuator, service, self._replaces)
        return self.site.take(names, "%s of %s" % (purpose, self.project.path), self._wait, self.under)

    def _begin(
        self,
        wanted: Request,
        request: Mapping[str, Any],
        kind: str,
        identity: str,
        actuator: Optional[Actuator],
        source: Mapping[str, Any],
        target: Optional[Deployment] = None,
        by: str = "",
    ) -> Run:
        now = self._now()
        entry = Deployment(
            id=identity,
            project=self.project.name,
            kind=kind,
            release=identity if target is None else target.release,
            started_at=now,
            phase_updated_at=now,
            owner=Owner.current().as_data(),
            request=dict(request),
            source=dict(source),
            by=by or ("ladder" if self.under is not None else "person"),
            service=self.under.service if self.under is not None else _service_named(wanted),
            manifest=dict(target.manifest) if target is not None else {},
        )
        entry = began(entry, Phase.QUEUED, now)
        if target is None and self.project.stands(identity):
            raise Refused(Reason.ID_USED, "%s stands already, and no journal knows it. Choose another id." % self.project.release(identity))
        try:
            self.journal.create(entry)
        except FileExistsError:
            raise Refused(Reason.ID_USED, "The id %s was used here before. Choose another one." % identity) from None
        return Run(self.site, self.project, self.journal, entry, wanted, actuator, self.under)

    def _go(self, run: Run, before: str) -> Told:
        """From the present phase to the end."""
        strategy = strategy_for(run.request)
        try:
            if run.entry.phase is Phase.QUEUED:
                run.tell("deployment_phase", {"phase": Phase.QUEUED.value, "id": run.entry.id})
                run.end({})
                run.begin(upcoming(run.entry))
            while True:
                run.end(work_of(run.entry.phase, strategy)(run))
                following = upcoming(run.entry)
                if following is Phase.ACTIVE:
                    break
                run.begin(following)
            self._activate(run)
        except (SelfhealError, OSError) as error:
            return self._fail(run, error, before)
        for note in cleaning.clean(run):
            self.warnings.append(note)
        entry = run.entry
        detail = "%s is active" % entry.release if entry.kind != "rollback" else "back to %s" % entry.release
        return Told("changed", None, detail, entry, before, run.target, tuple(self.warnings) + entry.notes)

    def _activate(self, run: Run) -> None:
        entries = self.journal.all()
        left = run.entry.left
        if run.entry.by == "ladder" or run.entry.kind == "rollback":
            reason = Reason.LEFT_BY_LADDER if run.entry.by == "ladder" else Reason.ROLLED_BACK
            cleaning.doubt(self.journal, left, reason, run.now())
        newest = current_act(entries)
        run.activate(newest.activated_at if newest is not None else None)

    def _fail(self, run: Run, error: Exception, before: str) -> Told:
        """Put everything back. What cannot even be journalled now is put back by the next who comes."""
        failure = Failure(run.entry.phase, reason_of(error).value, words_of(error)[:2000], run.entry.resumed > 0)
        problems = put_back(run, failure)
        told = tuple(self.warnings) + run.entry.notes + tuple(problems)
        after = self._current_now(run)
        return Told("failed", failure.reason, "%s: %s" % (failure.phase, failure.detail), run.entry, before, after, told)

    def _current_now(self, run: Run) -> str:
        try:
            return run.project.current_target()
        except SelfhealError as error:
            return str(error)

    def _settle(self) -> None:
        """Deployments that were cut off before us are put back and failed: what we go back to is what was proven. Raises Refused."""
        for entry in self.journal.all():
            if entry.over:
                continue
            alive = _alive(entry)
            if alive is not False:
                who = "is at work" if alive else "may be at work"
                raise Refused(Reason.OWNER_ALIVE, "%s: process %s %s on it" % (entry.id, entry.owner.get("pid"), who))
            try:
                run = self._taken_up(entry)
            except ContractError as error:
                abandon(self.site, self.project, self.journal, entry, str(error))
                continue
            words = "cut off in %s, and another deployment was begun since" % entry.phase
            problems = put_back(run, entry.reverting or Failure(entry.phase, Reason.SUPERSEDED.value, words, entry.resumed > 0))
            if not run.entry.over:
                raise Refused(Reason.INTERRUPTED, "%s was cut off and cannot be undone: %s" % (entry.id, "; ".join(problems)))
            self.warnings += problems

    def _taken_up(self, entry: Deployment) -> Run:
        """A run of a deployment that somebody else began."""
        wanted = parse_request(entry.request)
        actuator: Optional[Actuator] = None
        try:
            actuator, _service = self.site.restarter(wanted, self.under)
        except SelfhealError as error:
            self.warnings.append("%s: nothing can be restarted: %s" % (entry.id, error))
        return Run(self.site, self.project, self.journal, entry, wanted, actuator, self.under)

    def _resume(self, entry: Deployment, stuck_after: float, superseded: bool) -> Told:
        """One deployment that is not over."""
        said = self._assessed(entry, stuck_after)
        before = self.project.current_target()
        if said.do != "resume":
            return Told("unchanged", said.reason, said.detail, entry, before, before)
        if self.check:
            return Told("planned", said.reason, said.detail, entry, before, "deployments/" + entry.release)
        try:
            wanted = parse_request(entry.request)
        except ContractError as error:
            with self._leases(None, None, "giving up %s" % entry.id):
                entry = abandon(self.site, self.project, self.journal, entry, str(error))
            after = self.project.current_target()
            return Told("failed", Reason.SOURCE_MISSING.value, entry.failure.detail if entry.failure else "", entry, before, after)
        actuator, service = self._prepared(wanted)
        with self._leases(actuator, service, "resuming %s" % entry.id):
            fresh = self.journal.load(entry.id)
            if fresh is None or fresh.over or self._assessed(fresh, stuck_after).do != "resume":
                return Told("unchanged", Reason.OWNER_ALIVE.value, "somebody else has taken it up meanwhile", fresh, before, before)
            run = Run(self.site, self.project, self.journal, fresh, wanted, actuator, self.under)
            run.keep(owner=Owner.current().as_data(), resumed=fresh.resumed + 1, phase_updated_at=self._now())
            run.tell("deployment_resume", {"phase": fresh.phase.value, "reason": said.reason, "detail": said.detail})
            if fresh.reverting is not None or superseded:
                words = "cut off in %s, and another deployment was begun since" % fresh.phase
                failure = fresh.reverting or Failure(fresh.phase, Reason.SUPERSEDED.value, words)
                return self._ended_badly(run, replace(failure, resume_attempted=True), before)
            try:
                if fresh.phase in (Phase.CREATING_SYMLINKS, Phase.UPDATING_ROUTES, Phase.HEALTH_CHECK):
                    strategy_for(wanted).verify(run)
            except PhaseFailed as error:
                return self._fail(run, error, before)
            return self._go(run, before)

    def _ended_badly(self, run: Run, failure: Failure, before: str) -> Told:
        problems = put_back(run, failure)
        detail = "%s: %s" % (failure.phase, failure.detail)
        return Told("failed", failure.reason, detail, run.entry, before, self._current_now(run), tuple(problems))

    def _assessed(self, entry: Deployment, stuck_after: float) -> Any:
        age = self.site.host.wall() - parse_time(entry.phase_updated_at)
        return assess(entry, age, stuck_after, _alive(entry))

    def _used(self, known: Deployment, wanted: Request, request: Mapping[str, Any], before: str) -> Told:
        """An id that was used: nothing to do when the very same is active; else refused, saying what became of it."""
        from .sources import unchanged_source

        if known.phase is Phase.ACTIVE and before == "deployments/" + known.release and same_request(known.request, request):
            if unchanged_source(self.site.host, wanted.source, known.source):
                return Told("unchanged", None, "%s is active, from the same source" % known.id, known, before, before, tuple(self.warnings))
        raise Refused(Reason.ID_USED, "The id %s was used before: %s. Choose another one%s." % (known.id, fate(known), hint(known)))

    def _planned(self, wanted: Request, actuator: Optional[Actuator], service: Optional[Service], before: str) -> Told:
        from .planning import plan

        for name in self.site.lease_names(self.project, actuator, service, self._replaces):
            found = self.site.leases.holder(name)
            if found is not None and (found.person or found.owner is None or found.owner.alive() is not False):
                return Told("blocked", Reason.LEASE_HELD.value, str(found), None, before, before, tuple(self.warnings))
        planned = plan(self.site.host, self.project, wanted)
        return Told("planned", None, "would deploy %s" % wanted.id, None, before, "deployments/" + wanted.id, tuple(self.warnings), planned)

    def _probe(self, target: Deployment) -> Run:
        return Run(self.site, self.project, self.journal, target, parse_request(target.request), None, self.under)

    def _rollback_id(self) -> str:
        stem = self._now().replace("-", "").replace(":", "").replace(".", "").replace("T", "").rstrip("Z") + ".rollback"
        taken = self.journal.ids()
        return next(name for name in [stem] + ["%s%d" % (stem, n) for n in range(2, 1000)] if name not in taken)

    def _now(self) -> str:
        from .._core.times import format_time

        return format_time(self.site.host.wall())


def _alive(entry: Deployment) -> Optional[bool]:
    try:
        return Owner.from_data(entry.owner).alive()
    except ValueError:
        return False  # its journal names nobody; whoever it was took no lease


def _service_named(wanted: Request) -> Optional[str]:
    return wanted.restart.name if wanted.restart is not None and wanted.restart.kind == "service" else None


def projects_of(root: str) -> List[str]:
    """Every directory below `root` that was deployed to, no links. Raises Refused where it cannot be listed."""
    try:
        with os.scandir(root) as entries:
            found = [each.name for each in entries if each.is_dir(follow_symlinks=False)]
    except OSError as error:
        raise Refused(Reason.FILES_MISSING, "Listing the projects in %s: %s" % (root, words_of(error))) from error
    return sorted(name for name in found if os.path.isdir(os.path.join(root, name, ".selfheal", "deployments")))


__all__ = ["Deployer", "Told", "projects_of"]
