# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deployment that failed is undone: routes, `current`, what was restarted, traffic. Only its journal and quarantine stay."""

from __future__ import annotations

from dataclasses import replace
from typing import Callable, List

from .._actuators import routes
from .._actuators.release import Project
from .._core.deployment import Deployment, Failure, failed
from .._core.errors import RecordError, SelfhealError
from .._core.reasons import Reason
from .._core.times import format_time
from .._records.journal import Journal
from .cleaning import leftovers
from .deploy_run import Run
from .deploy_site import DeploySite
from .deploy_traffic import back
from .phases import strategy_for


def put_back(run: Run, failure: Failure) -> List[str]:
    """Undo everything, then say durably that it failed. Returns what could not be done, in words.

    It may be killed anywhere and begun again: the journal says that it is being undone before anything is, and says *failed* last. A file
    that cannot be put back (a full disk) does not end it: whoever comes next goes on with it, and no deployment is begun before that is
    done. A command that fails (a restart, a reload) is told and ends it, for running it for ever would help nobody.
    """
    problems: List[str] = []
    if run.entry.reverting is None:
        try:
            run.keep(reverting=failure)
        except RecordError as error:
            problems.append("the journal could not say that it is undone: %s" % error)
    strategy = strategy_for(run.request)
    steps: List[Callable[[], List[str]]] = [
        lambda: strategy.before_back(run),
        lambda: _routes(run),
        lambda: strategy.switch_back(run),
        lambda: back(run),
        lambda: strategy.clear(run),
    ]
    undone = True
    for step in steps:
        try:
            problems += step()
        except (SelfhealError, OSError) as error:
            undone = False
            problems.append("not undone yet: %s" % error)
    try:
        problems += _end(run, failure, undone)
        leftovers(run)
    except (SelfhealError, OSError) as error:
        problems.append(str(error))
    return problems


def abandon(site: DeploySite, project: Project, journal: Journal, entry: Deployment, problem: str) -> Deployment:
    """Fail a deployment that was cut off and whose journal does not say what was asked for: nothing else can be done about it.

    Left as it is, it would stand in the way of every other. `current` goes back to what the journal says it was. Raises RecordError.
    """
    if entry.previous and project.current() == entry.release and project.current_target() != entry.previous:
        project.switch(entry.previous)
    detail = "its journal does not say what was to be deployed: %s. Deploy again." % problem
    failure = Failure(entry.phase, Reason.SOURCE_MISSING.value, detail[:2000], True)
    entry = failed(entry, failure, format_time(site.host.wall()))
    journal.save(entry)
    about = {"deployment": entry.id, "project": entry.project, "kind": entry.kind, "release": entry.release}
    told = {"phase": failure.phase.value, "reason": failure.reason, "detail": detail[:1000], "resume_attempted": True}
    site.record("deployment_fail", entry.service, None, {**about, **told, "current": project.current_target()})
    return entry


def _routes(run: Run) -> List[str]:
    if not run.request.routes:
        return []
    return run.drive(routes.put_back(run.project.routes(run.entry.id), run.request.routes))


def _end(run: Run, failure: Failure, undone: bool) -> List[str]:
    entry = failed(run.entry, failure, run.now()) if undone else replace(run.entry, reverting=failure, phase_updated_at=run.now())
    run.journal.save(entry)
    run.entry = entry
    data = {
        "phase": failure.phase.value,
        "reason": failure.reason,
        "detail": failure.detail[:1000],
        "resume_attempted": failure.resume_attempted,
        "current": run.project.current_target(),
        "undone": undone,
    }
    run.tell("deployment_fail", data)
    return []


__all__ = ["abandon", "put_back"]
