# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a link should be, as a table: the same decisions in check mode, in the real run, and for ten thousand projects."""

from __future__ import annotations

from typing import Optional

import pytest

from selfheal._core.deployment import Deployment, Phase, Standing
from selfheal._core.links import Found, Wanted, by_name, judge, judge_webroot, preferred, unfinished

MINUTE = "2026-11-21T21:%02d:00.000Z"


def deployed(release: str, minute: Optional[int], word: str = "good", phase: Phase = Phase.ACTIVE, kind: str = "deploy") -> Deployment:
    at = None if minute is None else MINUTE % minute
    identity = release if kind != "rollback" else "back-to-%s-%s" % (release, minute)
    standing = Standing(word, "", MINUTE % 0) if kind != "rollback" and word else None
    return Deployment(identity, "web", kind, release, MINUTE % 0, MINUTE % 0, phase=phase, activated_at=at, standing=standing)


def rolled_back(release: str, minute: int) -> Deployment:
    return deployed(release, minute, kind="rollback")


@pytest.mark.parametrize(
    ("what", "entries", "expected"),
    [
        ("none", [], []),
        ("the last activation, not the highest name", [deployed("9", 1), deployed("1", 2)], ["1", "9"]),
        ("a rollback is an activation", [deployed("1", 1), deployed("2", 2), rolled_back("1", 3)], ["1", "2"]),
        ("deployed again after a rollback", [deployed("1", 1), deployed("2", 2), rolled_back("1", 3), deployed("3", 4)], ["3", "1", "2"]),
        ("not a bad one", [deployed("1", 1), deployed("2", 2, "bad")], ["1"]),
        ("not a suspect one", [deployed("1", 1), deployed("2", 2, "suspect")], ["1"]),
        ("not back to one that became bad", [deployed("1", 1, "bad"), deployed("2", 2), rolled_back("1", 3)], ["2"]),
        ("not one that failed", [deployed("1", 1), deployed("2", None, "", Phase.FAILED)], ["1"]),
        ("not one under way", [deployed("1", 1), deployed("2", None, "", Phase.HEALTH_CHECK)], ["1"]),
        ("the same moment: by id", [deployed("1", 1), deployed("2", 1)], ["2", "1"]),
    ],
)
def test_c50_which_release_the_journal_prefers(what: str, entries: list[Deployment], expected: list[str]) -> None:
    """C50: by the time of activation, so that every second rollback goes where the first went; only good ones."""
    assert preferred(entries) == expected
    assert preferred(reversed(entries)) == expected


def test_which_deployments_are_to_be_resumed_first() -> None:
    """Only those that may have swapped the link, and are not over."""
    entries = [
        deployed("1", None, "", Phase.BUILDING),
        deployed("2", None, "", Phase.CREATING_SYMLINKS),
        deployed("3", None, "", Phase.HEALTH_CHECK),
        deployed("4", 4),
        deployed("5", None, "", Phase.FAILED),
    ]
    assert unfinished(entries) == ("2", "3")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["20261121210330", "20261120190012"], ["20261121210330", "20261120190012"]),
        (["v9", "v10", "v1"], ["v10", "v9", "v1"]),
        (["1.9.0", "1.10.0", "1.10"], ["1.10.0", "1.10", "1.9.0"]),
        (["a", "1", "\u00b2", "10", ""], ["\u00b2", "a", "10", "1", ""]),
    ],
)
def test_names_are_ordered_as_people_read_them(names: list[str], expected: list[str]) -> None:
    """Digits count as numbers; nothing that a directory may be called stops it."""
    assert by_name(names) == expected


GOOD, OTHER = "deployments/2", "deployments/1"
NEWEST = Wanted("2", GOOD, binds=True)
ALONE = Wanted("2", GOOD, binds=False)
NOTHING = Wanted(None, "", binds=False, known=False)
NONE_GOOD = Wanted(None, "", binds=True)
LOST = Wanted(None, "", binds=True, lost=True)
CUT_OFF = Wanted("2", GOOD, binds=True, unfinished=("3",))
RIGHT = Found("link", GOOD, "2", True)
OLD = Found("link", OTHER, "1", True)
BROKEN = Found("link", "deployments/gone")
OUTSIDE = Found("link", "/etc", None, True)
ABSOLUTE = Found("link", "/var/www/web/deployments/2", "2", True)
DETOUR = Found("link", "latest", "2", True)
MISSING = Found("missing")
CASES = [
    # found, wanted, what is done, reason
    (RIGHT, NEWEST, "verify", None),
    (RIGHT, ALONE, "verify", None),
    (MISSING, NEWEST, "repair", "link_missing"),
    (MISSING, ALONE, "repair", "link_missing"),
    (BROKEN, NEWEST, "repair", "link_broken"),
    (BROKEN, ALONE, "repair", "link_broken"),
    (OUTSIDE, NEWEST, "repair", "link_outside"),
    (OUTSIDE, ALONE, "repair", "link_outside"),
    (OLD, NEWEST, "repair", "link_wrong"),
    (OLD, ALONE, "verify", "not_newest"),
    (ABSOLUTE, NEWEST, "repair", "link_absolute"),
    (ABSOLUTE, ALONE, "verify", None),
    (DETOUR, NEWEST, "repair", "link_indirect"),
    (DETOUR, ALONE, "verify", None),
    (MISSING, NOTHING, "skip", "no_release"),
    (BROKEN, NOTHING, "skip", "no_release"),
    (Found("directory"), NOTHING, "skip", "no_release"),
    (MISSING, NONE_GOOD, "skip", "no_good_release"),
    (OLD, NONE_GOOD, "skip", "no_good_release"),
    (BROKEN, NONE_GOOD, "fail", "no_good_release"),
    (MISSING, LOST, "fail", "no_good_release"),
    (OLD, LOST, "skip", "no_good_release"),
    (Found("link", "deployments/3", "3", True), CUT_OFF, "skip", "interrupted"),
    (Found("link", "deployments/3"), CUT_OFF, "repair", "link_broken"),
    (OLD, CUT_OFF, "repair", "link_wrong"),
    (Found("directory"), NEWEST, "fail", "obstructed"),
    (Found("file"), ALONE, "fail", "obstructed"),
    (Found("other"), NEWEST, "fail", "obstructed"),
]


@pytest.mark.parametrize(("found", "wanted", "do", "reason"), CASES)
def test_what_is_done_about_current(found: Found, wanted: Wanted, do: str, reason: Optional[str]) -> None:
    """Broken is repaired; what somebody may have meant is left alone unless a journal or the caller binds; nothing is ever removed."""
    verdict = judge(found, wanted, "fail")
    assert (verdict.do, None if verdict.reason is None else verdict.reason.value) == (do, reason)


@pytest.mark.parametrize("kind", ["file", "directory", "other"])
def test_what_stands_in_the_way_is_put_aside_when_the_caller_says_so(kind: str) -> None:
    """Only then, and only where there is a release to link to."""
    assert judge(Found(kind), NEWEST, "backup").do == "replace"
    assert judge(Found(kind), NOTHING, "backup").do == "skip"
    assert judge(Found(kind), LOST, "backup").do == "fail"
    assert judge_webroot(Found(kind), "/w/current/public", True, "backup").do == "replace"


PUBLIC = "/var/www/web/current/public"


@pytest.mark.parametrize(
    ("found", "public", "do", "reason"),
    [
        (Found("link", PUBLIC, PUBLIC, True), True, "verify", None),
        (Found("link", "../web/current/public", PUBLIC, True), True, "verify", None),
        (Found("link", PUBLIC, PUBLIC, False), False, "verify", None),
        (Found("missing"), True, "repair", "link_missing"),
        (Found("missing"), False, "verify", "no_public_directory"),
        (Found("link", "/nowhere", "/nowhere"), True, "repair", "link_broken"),
        (Found("link", "/etc", "/etc", True), True, "repair", "link_wrong"),
        (Found("link", "/etc", "/etc", True), False, "verify", "no_public_directory"),
        (Found("directory"), True, "fail", "obstructed"),
        (Found("directory"), False, "verify", "no_public_directory"),
    ],
)
def test_what_is_done_about_the_link_in_the_webroot(found: Found, public: bool, do: str, reason: Optional[str]) -> None:
    """It leads to current's public directory, by whatever text; a project without one is not served from there."""
    verdict = judge_webroot(found, PUBLIC, public, "fail")
    assert (verdict.do, None if verdict.reason is None else verdict.reason.value) == (do, reason)
