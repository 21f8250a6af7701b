# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a rollback may go: a release that was proven, stands, and is what was deployed."""

from __future__ import annotations

from typing import Optional, Sequence

from .._actuators.release import Project
from .._core.deployment import Deployment, floor, newest_good, releases
from .._core.errors import SelfhealError
from .._core.reasons import Reason
from .deploy_run import PhaseFailed, Run
from .phases import strategy_for


class Refused(SelfhealError):
    """A deployment or rollback that is not begun; `reason` is one of `Reason`. Nothing was changed."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def choose(project: Project, entries: Sequence[Deployment], current: Optional[str], to: Optional[str]) -> Deployment:
    """The release to go to. Raises Refused."""
    if to is not None:
        return _named(project, entries, to)
    good = newest_good(entries, current)
    for entry in good:
        if project.stands(entry.release):
            return entry
    words = "%s has no good release but %s to go back to" % (project.path, current or "the current one")
    left = [entry.release for entry in releases(entries) if entry.standing is not None and entry.standing.word == "suspect"]
    if left:
        words += "; %s was left before and is doubted: name it if you mean it" % left[-1]
    raise Refused(Reason.NO_GOOD_RELEASE, words)


def _named(project: Project, entries: Sequence[Deployment], to: str) -> Deployment:
    known = {entry.release: entry for entry in releases(entries)}
    entry = known.get(to)
    if entry is None:
        failed = next((each for each in entries if each.release == to and each.failure is not None), None)
        if failed is not None and failed.failure is not None:
            words = "The release %s never was active: it failed in %s (%s). Nothing was changed."
            raise Refused(Reason.BAD_RELEASE, words % (to, failed.failure.phase, failed.failure.reason))
        where = "stands, but no journal knows it" if project.stands(to) else "is not known"
        raise Refused(
            Reason.FILES_MISSING, "The release %s %s in %s. Known are: %s." % (to, where, project.path, ", ".join(known) or "none")
        )
    if entry.standing is not None and entry.standing.word == "bad":
        raise Refused(Reason.BAD_RELEASE, "The release %s is bad (%s). Nothing was changed." % (to, entry.standing.reason))
    return entry


def check_target(run: Run, target: Deployment, entries: Sequence[Deployment]) -> None:
    """Is it whole, and may it read the data as they are now? Raises Refused."""
    needed = floor(entries)
    schema = target.request.get("schema")
    if needed is not None and (not isinstance(schema, int) or schema < needed):
        words = "The release %s reads data of schema %s; what was deployed since needs at least %d. Nothing was changed."
        raise Refused(Reason.SCHEMA_FLOOR, words % (target.release, "unknown" if schema is None else schema, needed))
    try:
        strategy_for(run.request).verify(run)
    except PhaseFailed as error:
        raise Refused(error.reason, "%s Nothing was changed." % error) from error


__all__ = ["Refused", "check_target", "choose"]
