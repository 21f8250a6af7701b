# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deployment: the journalled act that makes a release current.

Theory of operation. A release is built beside what serves, proven by its manifest, and made current by one rename. Up to that rename
nothing that serves has changed; after it, whatever fails is swapped back. Each phase can be killed anywhere and done again. A rollback
is a deployment of a release that stands already: it goes from *queued* to *creating_symlinks* at once. Every transition
stands in `TRANSITIONS`; any other raises `IllegalTransition` and changes nothing. Only *active* is final: a failed one can be followed by
a redeployment under another id.

Order is by `activated_at`, never by name. What stands here is pure: no clock, no files.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field, replace
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from .errors import IllegalTransition
from .reasons import Reason


class Phase(str, enum.Enum):
    QUEUED = "queued"
    PULLING_SOURCE = "pulling_source"
    BUILDING = "building"
    COPYING_FILES = "copying_files"
    CREATING_SYMLINKS = "creating_symlinks"
    UPDATING_ROUTES = "updating_routes"
    HEALTH_CHECK = "health_check"
    ACTIVE = "active"
    FAILED = "failed"

    def __str__(self) -> str:
        return self.value


class Trigger(str, enum.Enum):
    """deploy: a new release is made. switch: one that stands is made current again. done: the phase has ended well."""

    DEPLOY = "deploy"
    SWITCH = "switch"
    DONE = "done"
    FAIL = "fail"

    def __str__(self) -> str:
        return self.value


TRANSITIONS: Dict[Tuple[Phase, Trigger], Phase] = {
    (Phase.QUEUED, Trigger.DEPLOY): Phase.PULLING_SOURCE,
    (Phase.QUEUED, Trigger.SWITCH): Phase.CREATING_SYMLINKS,
    (Phase.QUEUED, Trigger.FAIL): Phase.FAILED,
    (Phase.PULLING_SOURCE, Trigger.DONE): Phase.BUILDING,
    (Phase.PULLING_SOURCE, Trigger.FAIL): Phase.FAILED,
    (Phase.BUILDING, Trigger.DONE): Phase.COPYING_FILES,
    (Phase.BUILDING, Trigger.FAIL): Phase.FAILED,
    (Phase.COPYING_FILES, Trigger.DONE): Phase.CREATING_SYMLINKS,
    (Phase.COPYING_FILES, Trigger.FAIL): Phase.FAILED,
    (Phase.CREATING_SYMLINKS, Trigger.DONE): Phase.UPDATING_ROUTES,
    (Phase.CREATING_SYMLINKS, Trigger.FAIL): Phase.FAILED,
    (Phase.UPDATING_ROUTES, Trigger.DONE): Phase.HEALTH_CHECK,
    (Phase.UPDATING_ROUTES, Trigger.FAIL): Phase.FAILED,
    (Phase.HEALTH_CHECK, Trigger.DONE): Phase.ACTIVE,
    (Phase.HEALTH_CHECK, Trigger.FAIL): Phase.FAILED,
}

OVER = frozenset((Phase.ACTIVE, Phase.FAILED))
SWITCHED = frozenset((Phase.CREATING_SYMLINKS, Phase.UPDATING_ROUTES, Phase.HEALTH_CHECK))
"""From here on `current` may lead to the new release."""
KINDS = ("deploy", "redeploy", "rollback")
STANDINGS = ("good", "suspect", "bad")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_AGAIN = re.compile(r"(.+)\.r([0-9]{1,9})", re.ASCII)


def advance(phase: Phase, trigger: Trigger) -> Phase:
    """The phase that follows. Raises IllegalTransition."""
    try:
        return TRANSITIONS[phase, trigger]
    except KeyError:
        raise IllegalTransition("A deployment in phase %s cannot %s" % (phase, trigger)) from None


def valid_id(text: object) -> bool:
    """Is it fit to be the name of a release: no separator, no ``..``, nothing invisible, at most 100 characters?"""
    return isinstance(text, str) and _ID.fullmatch(text) is not None and ".." not in text and not text.endswith(".")


def lineage(release: str) -> str:
    """The id that was deployed first: ``v7`` of ``v7``, ``v7.r1`` and ``v7.r2``."""
    match = _AGAIN.fullmatch(release)
    return match.group(1) if match else release


def again(release: str, taken: Iterable[str]) -> str:
    """The id of the next redeployment: ``v7.r1`` of ``v7``, and ``v7.r3`` when .r2 was the last taken."""
    base = lineage(release)
    numbers = [0]
    for other in taken:
        match = _AGAIN.fullmatch(other)
        if match and match.group(1) == base:
            numbers.append(int(match.group(2)))
    return "%s.r%d" % (base, max(numbers) + 1)


@dataclass(frozen=True)
class Done:
    """One phase as it was begun and ended, with what proves its result. Times as of `times.format_time`."""

    phase: Phase
    began: str
    ended: Optional[str] = None
    proof: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """In which phase it failed, and why; resume_attempted: it had been taken up again before."""

    phase: Phase
    reason: str
    detail: str
    resume_attempted: bool = False


@dataclass(frozen=True)
class Standing:
    """What is held of a release: good once active, suspect when the ladder or a person left it, bad with a reason when that is proven."""

    word: str
    reason: str
    at: str


@dataclass(frozen=True)
class Deployment:
    """The journal of one deployment. `release`: the directory it makes current; its own id but for a rollback.

    request: what was asked for, as it was written. source: what identifies it (commit, checksum). previous: what `current` said before it
    was touched ("" : there was none; None: not touched yet). left: the release that was current. by: who left it, ``ladder`` or a person.
    traffic: "away" while it is kept from the service by us. reverting: set once it is settled that it failed, until all is put back.
    """

    id: str
    project: str
    kind: str
    release: str
    started_at: str
    phase_updated_at: str
    phase: Phase = Phase.QUEUED
    owner: Mapping[str, Any] = field(default_factory=dict)
    request: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    phases: Tuple[Done, ...] = ()
    previous: Optional[str] = None
    left: Optional[str] = None
    by: str = ""
    service: Optional[str] = None
    traffic: str = ""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    activated_at: Optional[str] = None
    standing: Optional[Standing] = None
    reverting: Optional[Failure] = None
    failure: Optional[Failure] = None
    resumed: int = 0
    notes: Tuple[str, ...] = ()

    @property
    def over(self) -> bool:
        return self.phase in OVER

    def proof(self, phase: Phase) -> Mapping[str, Any]:
        """What a phase that has ended left as proof; empty when it has not."""
        return next((done.proof for done in reversed(self.phases) if done.phase is phase and done.ended is not None), {})


def began(entry: Deployment, phase: Phase, at: str) -> Deployment:
    """`phase` is begun, or begun again."""
    kept = tuple(done for done in entry.phases if done.phase is not phase or done.ended is not None)
    return replace(entry, phase=phase, phase_updated_at=at, phases=kept + (Done(phase, at),))


def ended(entry: Deployment, proof: Mapping[str, Any], at: str) -> Deployment:
    """The present phase has ended well; the next one is not begun yet."""
    kept = tuple(done for done in entry.phases if done.phase is not entry.phase)
    now = next((done for done in reversed(entry.phases) if done.phase is entry.phase), Done(entry.phase, at))
    return replace(entry, phase_updated_at=at, phases=kept + (Done(entry.phase, now.began, at, dict(proof)),))


def upcoming(entry: Deployment) -> Phase:
    """The phase that follows the present one when it has ended well."""
    if entry.phase is Phase.QUEUED:
        return advance(entry.phase, Trigger.SWITCH if entry.kind == "rollback" else Trigger.DEPLOY)
    return advance(entry.phase, Trigger.DONE)


def activated(entry: Deployment, at: str) -> Deployment:
    """It serves and was judged well."""
    # Health is the last thing asked, so this is where it becomes good.
    good = Standing("good", "active", at) if entry.kind != "rollback" else None
    return replace(entry, phase=advance(entry.phase, Trigger.DONE), phase_updated_at=at, activated_at=at, standing=good)


def failed(entry: Deployment, failure: Failure, at: str) -> Deployment:
    """It failed and everything is put back. One whose health was asked and found bad is a bad release."""
    standing = entry.standing
    if failure.phase is Phase.HEALTH_CHECK and entry.kind != "rollback" and failure.reason == Reason.UNHEALTHY.value:
        standing = Standing("bad", failure.reason, at)
    phase = advance(entry.phase, Trigger.FAIL)
    return replace(entry, phase=phase, phase_updated_at=at, failure=failure, reverting=None, standing=standing)


@dataclass(frozen=True)
class Assessment:
    """What to do about a deployment that is not over: resume or skip, with the reason."""

    do: str
    reason: str
    detail: str


def assess(entry: Deployment, age: float, stuck_after: float, alive: Optional[bool]) -> Assessment:
    """Is it stuck? `age`: seconds since ``phase_updated_at``; `alive`: does its owner provably live (None: nobody can tell)?

    Unknown is not dead: where nobody can tell it is left alone. A time in the future (the clock was set back) counts as old enough, for the
    owner's death is proven apart from it.
    """
    if alive is True:
        return Assessment("skip", Reason.OWNER_ALIVE.value, "its process %s is at work on it" % entry.owner.get("pid"))
    if alive is None:
        return Assessment("skip", Reason.OWNER_UNKNOWN.value, "nobody can tell whether its process %s still lives" % entry.owner.get("pid"))
    if 0 <= age < stuck_after:
        detail = "it was at work %.0f s ago; it counts as stuck after %.0f s" % (age, stuck_after)
        return Assessment("skip", Reason.TOO_YOUNG.value, detail)
    return Assessment(
        "resume", Reason.INTERRUPTED.value, "its process %s is gone; it was cut off in %s" % (entry.owner.get("pid"), entry.phase)
    )


def releases(entries: Iterable[Deployment]) -> List[Deployment]:
    """Those that made a release that was active, oldest activation first."""
    made = [entry for entry in entries if entry.kind != "rollback" and entry.activated_at is not None]
    return sorted(made, key=lambda entry: (entry.activated_at or "", entry.id))


def current_act(entries: Iterable[Deployment]) -> Optional[Deployment]:
    """The newest deployment or rollback that became active: by the journal, its release is current."""
    acts = [entry for entry in entries if entry.phase is Phase.ACTIVE and entry.activated_at is not None]
    return max(acts, key=lambda entry: (entry.activated_at or "", entry.id), default=None)


def newest_good(entries: Iterable[Deployment], but: Optional[str]) -> List[Deployment]:
    """Good releases other than `but`, the newest first: where a rollback may go.

    One whose own lineage is suspect or bad is the same code, and no way back from it.
    """
    found = releases(entries)
    doubted = {lineage(entry.release) for entry in found if entry.standing is not None and entry.standing.word != "good"}
    return [
        entry
        for entry in reversed(found)
        if entry.standing is not None
        and entry.standing.word == "good"
        and entry.release != but
        and lineage(entry.release) not in doubted
        and (but is None or lineage(entry.release) != lineage(but))
    ]


def floor(entries: Iterable[Deployment]) -> Optional[int]:
    """The oldest schema that data may still be read by: the highest that any release which was active has declared."""
    floors = [entry.request.get("schema_floor") for entry in releases(entries)]
    return max((value for value in floors if isinstance(value, int)), default=None)


def first_active(entries: Sequence[Deployment], release: str) -> Optional[str]:
    """When the code of this release first became active: that of its lineage."""
    same = [entry.activated_at for entry in releases(entries) if lineage(entry.release) == lineage(release)]
    return min((at for at in same if at is not None), default=None)


_PRUNED_FIRST = {"bad": 0, "suspect": 1, "good": 2}


def prunable(entries: Iterable[Deployment], standing: Iterable[str], current: Optional[str], keep: int) -> List[str]:
    """Which releases to remove so that `keep` remain, of those whose directories stand: bad before suspect before good, oldest first.

    `current` always stays, and so does the newest good one beside it where `keep` allows more than one. What no journal knows is not ours.
    """
    there = set(standing)
    known = [entry for entry in releases(entries) if entry.release in there]
    excess = len(known) - keep
    order = sorted(
        (entry for entry in known if entry.release != current),
        key=lambda entry: (_PRUNED_FIRST.get(entry.standing.word if entry.standing is not None else "", 0), entry.activated_at or ""),
    )
    return [entry.release for entry in order[: max(0, excess)]]


def fate(entry: Deployment) -> str:
    """What became of it, in words."""
    if entry.failure is not None:
        return "it failed in %s (%s)" % (entry.failure.phase, entry.failure.reason)
    return "it is active" if entry.phase is Phase.ACTIVE else "it was cut off in %s" % entry.phase


def hint(entry: Deployment) -> str:
    """What else may be done about one whose id is used."""
    return "" if entry.over else ", or take it up again with deployment_resume"


__all__ = [
    "Assessment",
    "Deployment",
    "Done",
    "Failure",
    "KINDS",
    "OVER",
    "Phase",
    "STANDINGS",
    "SWITCHED",
    "Standing",
    "TRANSITIONS",
    "Trigger",
    "activated",
    "advance",
    "again",
    "assess",
    "began",
    "current_act",
    "ended",
    "failed",
    "fate",
    "first_active",
    "floor",
    "hint",
    "lineage",
    "newest_good",
    "prunable",
    "releases",
    "upcoming",
    "valid_id",
]
