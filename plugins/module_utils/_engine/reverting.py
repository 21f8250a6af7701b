# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deployment that failed is undone: routes, `current`, what was restarted, traffic. Nothing of it stays but its journal and quarantine."""

from __future__ import annotations

from typing import Callable, List

from .._actuators import routes
from .._core.deployment import Failure, failed
from .._core.errors import RecordError, SelfhealError
from .deploy_run import Run
from .phases import back, strategy_for


def put_back(run: Run, failure: Failure) -> List[str]:
    """Undo everything, then say durably that it failed. Returns what could not be done, in words.

    It may be killed anywhere and begun again: the journal says that it is being undone before anything is, and says *failed* last. On a
    full disk even that may be impossible: then what serves is put back all the same, and room is made by clearing up before the journal is
    written.
    """
    problems: List[str] = []
    if run.entry.reverting is None:
        try:
            run.keep(reverting=failure)
        except RecordError as error:
            problems.append("the journal could not say that it is undone: %s" % error)
    strategy = strategy_for(run.request)
    steps: List[Callable[[], List[str]]] = [
        lambda: _routes(run),
        lambda: strategy.switch_back(run),
        lambda: back(run),
        lambda: strategy.clear(run),
        lambda: _end(run, failure),
    ]
    for step in steps:
        try:
            problems += step()
        except (SelfhealError, OSError) as error:
            problems.append(str(error))
    return problems


def _routes(run: Run) -> List[str]:
    if not run.request.routes:
        return []
    return run.drive(routes.put_back(run.project.routes(run.entry.id), run.request.routes))


def _end(run: Run, failure: Failure) -> List[str]:
    entry = failed(run.entry, failure, run.now())
    run.journal.save(entry)
    run.entry = entry
    data = {
        "phase": failure.phase.value,
        "reason": failure.reason,
        "detail": failure.detail[:1000],
        "resume_attempted": failure.resume_attempted,
        "current": run.project.current_target(),
    }
    run.tell("deployment_fail", data)
    return []


__all__ = ["put_back"]
