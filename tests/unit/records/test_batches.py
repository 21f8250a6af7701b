# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Thousands of leases in one go, and journals at a glance: the same rules as for one of each."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

import pytest

from selfheal._core.deployment import Deployment, Phase, Standing
from selfheal._core.errors import RecordError
from selfheal._records import glance, journal
from selfheal._records.lease import LeaseSet
from selfheal._records.lease_batch import ManyLeases

AT = "2026-11-21T21:03:38.123Z"


def test_every_lease_that_can_be_had_is_taken_and_given_back(tmp_path: pathlib.Path) -> None:
    """Who has one keeps it, is named, and costs the others nothing; others see ours while we have them."""
    many, one = ManyLeases(str(tmp_path)), LeaseSet(str(tmp_path))
    theirs = one.acquire(["b"], "deployment", "deploying b", 60)
    batch = many.take_each(["a", "b", "c", "a"], "module", "reconciling", 60)
    assert list(batch.refused) == ["b"] and "held by deployment" in batch.refused["b"]
    found = one.holder("c")
    assert found is not None and (found.holder, found.purpose, found.problem) == ("module", "reconciling", "")
    batch.release()
    batch.release()
    assert [info.name for info in one.list()] == ["b"]
    theirs.release()
    assert sorted(os.listdir(tmp_path)) == [".changing"]


def test_a_lease_that_somebody_else_has_taken_over_is_left_to_them(tmp_path: pathlib.Path) -> None:
    """Only what stands there as we made it is removed."""
    many = ManyLeases(str(tmp_path))
    batch = many.take_each(["a", "b"], "module", "", 60)
    (tmp_path / "a.json").write_text((tmp_path / "a.json").read_text().replace("module", "somebody"))
    (tmp_path / "b.json").unlink()
    batch.release()
    assert (tmp_path / "a.json").exists()


def test_where_no_lease_can_be_made_none_is_kept(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk in the middle gives back what was taken before it."""
    many, link, made = ManyLeases(str(tmp_path)), os.link, []

    def full(*arguments: Any, **more: Any) -> None:
        made.append(arguments)
        if len(made) == 3:
            raise OSError(28, "No space left on device")
        link(*arguments, **more)

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(RecordError, match="ENOSPC"):
        many.take_each(["a", "b", "c", "d"], "module", "", 60)
    assert sorted(os.listdir(tmp_path)) == [".changing"]


def entry(release: str, **more: Any) -> Deployment:
    fields: dict[str, Any] = {"phase": Phase.ACTIVE, "activated_at": AT, "standing": Standing("good", "active", AT), **more}
    return Deployment(release, "web", "deploy", release, AT, AT, **fields)


def at_a_glance(folder: pathlib.Path) -> Any:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return glance.glance(descriptor).entries
    finally:
        os.close(descriptor)


def test_a_glance_says_what_the_journal_says(tmp_path: pathlib.Path) -> None:
    """The fields that tell what is current are those of the whole journal, for every kind of entry."""
    entries = [
        entry("v1"),
        entry("v2", standing=Standing("bad", "unhealthy", AT)),
        entry("v3", phase=Phase.BUILDING, activated_at=None, standing=None),
    ]
    for one in entries:
        (tmp_path / ("%s.json" % one.id)).write_bytes(journal.dump(one))
    (tmp_path / ".v4.json.1-2-3.tmp").write_text("under way")
    (tmp_path / "notes.txt").write_text("somebody's")
    found = {one.id: one for one in at_a_glance(tmp_path)}
    assert sorted(found) == ["v1", "v2", "v3"]
    for one in entries:
        seen = found[one.id]
        assert (seen.kind, seen.release, seen.phase, seen.activated_at) == (one.kind, one.release, one.phase, one.activated_at)
        assert (seen.standing and seen.standing.word) == (one.standing and one.standing.word)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 0}, {"id": "other"}, {"kind": "guess"}, {"release": "../evil"}, {"phase": "somewhere"}, {"activated_at": 5},
        {"standing": {"word": "fine", "reason": "", "at": AT}}, {"standing": []},
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_named(tmp_path: pathlib.Path, change: dict[str, Any]) -> None:
    """One journal that is not what it should be could be the one that counts."""
    (tmp_path / "v1.json").write_text(json.dumps({**json.loads(journal.dump(entry("v1"))), **change}))
    with pytest.raises(glance.Garbled, match="v1.json"):
        at_a_glance(tmp_path)


@pytest.mark.parametrize("what", ["cut", "fifo", "link", "aside"])
def test_what_is_no_journal_at_all_is_named_too(tmp_path: pathlib.Path, what: str) -> None:
    """Nothing is waited for or followed; where all were set aside nobody knows what was good."""
    path = tmp_path / "v1.json"
    if what == "cut":
        path.write_bytes(journal.dump(entry("v1"))[:200])
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "link":
        (tmp_path / "elsewhere").write_bytes(journal.dump(entry("v1")))
        path.symlink_to("elsewhere")
    else:
        (tmp_path / "v1.json.bad-20261121T210338.123Z").write_text("{")
    with pytest.raises((glance.Garbled, OSError)):
        at_a_glance(tmp_path)


@pytest.mark.parametrize(
    "request_of", [{}, {"environment": {"phase": "failed", "release": "evil", "activated_at": None}}, {"x": 'a\n "id": "b"\\'}]
)
def test_a_glance_is_not_led_astray_by_what_was_asked_for(tmp_path: pathlib.Path, request_of: dict[str, Any]) -> None:
    """Fields are told by their depth; what has escapes, or is written in another way, is read whole."""
    raw = journal.dump(entry("v1", request=request_of))
    for text in (raw, json.dumps(json.loads(raw)).encode(), json.dumps(json.loads(raw), indent=4).encode()):
        (tmp_path / "v1.json").write_bytes(text)
        (found,) = at_a_glance(tmp_path)
        assert (found.id, found.release, found.phase, found.activated_at) == ("v1", "v1", Phase.ACTIVE, AT)
        assert found.standing is not None and found.standing.word == "good"
