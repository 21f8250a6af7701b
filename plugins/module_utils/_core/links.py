# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a project's `current` should be, and what to do about what it is. Pure: what was found goes in, a verdict with its reason comes out.

With a journal the journal binds: a link that leads elsewhere is wrong. Without one a sound link is left alone unless the caller says that
the newest release binds, for somebody may have rolled back on purpose.
"""

from __future__ import annotations

import re
from typing import Iterable, List, NamedTuple, Optional, Sequence, Tuple, Union

from .deployment import OVER, SWITCHED, Deployment, Phase
from .reasons import Reason

ACTIVE_BY = ("journal", "name", "marker")
ENFORCE = ("broken", "newest")
ON_OBSTRUCTION = ("fail", "backup")
_DIGITS = re.compile(r"([0-9]+)")


class Found(NamedTuple):
    """What stands at a link's place. kind: missing, link, file, directory, other.

    target: a link's text. leads_to: the release it leads to, by whatever way; None when it leads nowhere or elsewhere. sound: it leads
    to something that is there.
    """

    kind: str
    target: Optional[str] = None
    leads_to: Optional[str] = None
    sound: bool = False


class Wanted(NamedTuple):
    """Where it should lead. release: the newest that may be current and is there; None when there is none.

    target: the link's text for it. binds: a sound link that leads elsewhere is wrong. known: releases were found, fit or not. lost: one
    that may be current is recorded, and its directory is gone. unfinished: releases of deployments that were cut off after they had been
    made current; resuming those comes first.
    """

    release: Optional[str]
    target: str
    binds: bool
    known: bool = True
    lost: bool = False
    unfinished: Sequence[str] = ()


class Verdict(NamedTuple):
    """do: verify (as it should be), repair (swap the link), replace (something else goes aside), skip, fail."""

    do: str
    reason: Optional[Reason] = None


class Word(NamedTuple):
    """What is held of a release, as in `deployment.Standing`."""

    word: str


class Glance(NamedTuple):
    """As much of a `Deployment` as tells what is current, at a tenth of its price: there may be tens of thousands."""

    id: str
    kind: str
    release: str
    phase: Phase
    activated_at: Optional[str]
    standing: Optional[Word]


Entry = Union[Deployment, Glance]


def preferred(entries: Iterable[Entry]) -> List[str]:
    """Releases that may be current by the journal, the newest activation first: good ones, by `activated_at`, never by name.

    A rollback activates its release anew, so who went back on purpose stays there.
    """
    entries = list(entries)
    word = {entry.release: entry.standing.word for entry in entries if entry.kind != "rollback" and entry.standing is not None}
    acts = [entry for entry in entries if entry.phase is Phase.ACTIVE and entry.activated_at is not None]
    acts.sort(key=lambda entry: (entry.activated_at or "", entry.id), reverse=True)
    return list(dict.fromkeys(entry.release for entry in acts if word.get(entry.release) == "good"))


def unfinished(entries: Iterable[Entry]) -> Tuple[str, ...]:
    """Releases that a deployment which is not over may have made current."""
    return tuple(entry.release for entry in entries if entry.phase not in OVER and entry.phase in SWITCHED)


def by_name(names: Iterable[str]) -> List[str]:
    """Names of releases, the newest first, where only names tell: numbers in them count as numbers, so v10 follows v9."""
    return sorted(names, key=_natural, reverse=True)


def _natural(name: str) -> List[Tuple[int, int, str]]:
    # Between the parts that were split off stand the digits: every second one.
    return [(1, int(part), part) if place % 2 else (0, 0, part) for place, part in enumerate(_DIGITS.split(name))]


def judge(found: Found, wanted: Wanted, on_obstruction: str) -> Verdict:
    """What to do about `current`."""
    if wanted.release is None:
        return _without_release(found, wanted)
    if found.kind == "link" and found.target == wanted.target:
        return Verdict("verify")
    if found.kind == "missing":
        return Verdict("repair", Reason.LINK_MISSING)
    if found.kind != "link":
        return Verdict("replace" if on_obstruction == "backup" else "fail", Reason.OBSTRUCTED)
    if not found.sound:
        return Verdict("repair", Reason.LINK_BROKEN)
    if found.leads_to is not None and found.leads_to in wanted.unfinished:
        return Verdict("skip", Reason.INTERRUPTED)
    if found.leads_to is None:
        return Verdict("repair", Reason.LINK_OUTSIDE)
    if wanted.binds:
        return Verdict("repair", _what_is_wrong(found, wanted))
    return Verdict("verify", None if found.leads_to == wanted.release else Reason.NOT_NEWEST)


def _what_is_wrong(found: Found, wanted: Wanted) -> Reason:
    if found.leads_to != wanted.release:
        return Reason.LINK_WRONG
    return Reason.LINK_ABSOLUTE if (found.target or "").startswith("/") else Reason.LINK_INDIRECT


def _without_release(found: Found, wanted: Wanted) -> Verdict:
    """There is nothing to link to. A link that leads to something stays; one that leads nowhere is beyond repair."""
    if not wanted.known:
        return Verdict("skip", Reason.NO_RELEASE)
    if found.kind == "link" and found.sound:
        return Verdict("skip", Reason.NO_GOOD_RELEASE)
    # Before the first activation there is nothing to be current.
    return Verdict("skip" if found.kind == "missing" and not wanted.lost else "fail", Reason.NO_GOOD_RELEASE)


def judge_webroot(found: Found, path: str, public: bool, on_obstruction: str) -> Verdict:
    """What to do about a project's link in the webroot. path: where it should lead; leads_to: where it does, as an absolute path.

    public: there is something to lead to. A project without a public directory is not served from there; whatever has its name stays.
    """
    if found.kind == "link" and found.leads_to == path:
        return Verdict("verify")
    if not public:
        return Verdict("verify", Reason.NO_PUBLIC_DIRECTORY)
    if found.kind == "missing":
        return Verdict("repair", Reason.LINK_MISSING)
    if found.kind != "link":
        return Verdict("replace" if on_obstruction == "backup" else "fail", Reason.OBSTRUCTED)
    return Verdict("repair", Reason.LINK_WRONG if found.sound else Reason.LINK_BROKEN)


__all__ = [
    "ACTIVE_BY",
    "ENFORCE",
    "Entry",
    "Found",
    "Glance",
    "ON_OBSTRUCTION",
    "Verdict",
    "Wanted",
    "Word",
    "by_name",
    "judge",
    "judge_webroot",
    "preferred",
    "unfinished",
]
