# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of releases that are not current: doubted, condemned, and in the end removed. Cleaning up never fails a deployment."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Callable, Iterable, List, Optional, Set

from .._actuators.release import in_use
from .._core.deployment import Standing, lineage, prunable, releases
from .._core.errors import SelfhealError
from .._core.reasons import Reason
from .._core.times import format_time
from .._records.files import remove
from .._records.journal import Journal
from .deploy_run import Run

JOURNALS = 200
"""So many journals of releases that are gone are kept."""


def doubt(journal: Journal, release: Optional[str], reason: Reason, at: str) -> None:
    """It was left, by the ladder or by a person: no rollback goes there unless it is named. Raises RecordError."""
    entry = journal.load(release) if release is not None else None
    if entry is not None and entry.standing is not None and entry.standing.word == "good":
        journal.save(replace(entry, standing=Standing("suspect", reason.value, at)))


def condemn(journal: Journal, release: str, wall: float) -> None:
    """Leaving it is proven to have healed: it and its like are bad. Raises RecordError."""
    for entry in releases(journal.all()):
        if lineage(entry.release) == lineage(release) and entry.standing is not None and entry.standing.word == "suspect":
            journal.save(replace(entry, standing=Standing("bad", Reason.HEALED_BY_ROLLBACK.value, format_time(wall))))


def clean(run: Run) -> List[str]:
    """Remove what `keep` leaves no room for. Returns what could not be done, in words; one that resists keeps none of the others."""
    problems: List[str] = []
    steps: List[Callable[[Run], Iterable[str]]] = [_releases, leftovers, _journals]
    for step in steps:
        try:
            problems.extend(step(run))
        except (SelfhealError, OSError) as error:
            problems.append("cleaning up: %s" % error)
    return problems


def _releases(run: Run) -> List[str]:
    project = run.project
    current = project.current()
    if current is None:
        return ["cleaning up: nothing was removed, as current leads to no release"]
    entries = run.journal.all()
    # What was just left for a fault stays, whatever `keep` says: somebody will want to know what was wrong with it.
    left = run.entry.left if run.entry.kind != "deploy" else None
    victims = [each for each in prunable(entries, project.standing(), current, run.request.keep) if each != left]
    used = dict(in_use([project.release(each) for each in victims]))
    problems = []
    for victim in victims:
        place = project.release(victim)
        if place in used:
            problems.append("release %s stays: process %d works in it" % (victim, used[place]))
            continue
        try:
            project.remove(place)
            for path in (project.manifest(victim), project.output(victim), project.routes(victim)):
                remove(path)
        except (SelfhealError, OSError) as error:
            problems.append("release %s could not be removed: %s" % (victim, error))
    return problems


def leftovers(run: Run) -> List[str]:
    """Archives that no release stands for any more, builds of those that died, and what was being removed."""
    project, problems = run.project, []
    project.empty_trash()
    project.sweep()
    entries = run.journal.all()
    standing = set(project.standing())
    wanted: Set[str] = {str(each.source.get("sha256")) for each in entries if each.release in standing or not each.over}
    busy = {each.id for each in entries if not each.over}
    places = [("sources", wanted), ("build", busy), ("tar", busy), ("built", {each + ".json" for each in busy})]
    for folder, kept in places:
        where = os.path.join(project.own, folder)
        for name in os.listdir(where) if os.path.isdir(where) else ():
            if name not in kept:
                try:
                    project.remove(os.path.join(where, name))
                except OSError as error:
                    problems.append("%s could not be removed: %s" % (os.path.join(where, name), error))
    return problems


def _journals(run: Run) -> List[str]:
    """The oldest journals of what is neither current nor stands."""
    standing = set(run.project.standing())
    gone = [each for each in run.journal.all() if each.over and each.release not in standing and each.id != run.entry.id]
    for entry in gone[: max(0, len(gone) - JOURNALS)]:
        run.journal.forget(entry.id)
    return []


__all__ = ["JOURNALS", "clean", "condemn", "doubt", "leftovers"]
