# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The deployment journal: what another version or a person's script wrote is understood as far as it says anything."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from selfheal._core.deployment import Phase
from selfheal._records.glance import Garbled, glance
from selfheal._records.journal import Journal, Newer, dump, parse

AT = "2026-11-21T21:03:30.000Z"
MINIMAL = [
    ({"id": "a", "phase": "building", "phase_updated_at": AT}, Phase.BUILDING, None, None),
    ({"id": "a", "phase": "active", "activated_at": AT}, Phase.ACTIVE, AT, "good"),
    ({"id": "a", "phase": "active", "phase_updated_at": AT}, Phase.ACTIVE, AT, "good"),
    ({"id": "a", "phase": "active", "activated_at": AT, "standing": None}, Phase.ACTIVE, AT, None),
    ({"id": "a", "phase": "active", "activated_at": AT, "kind": "rollback", "release": "b"}, Phase.ACTIVE, AT, None),
    ({"schema": 1, "id": "a", "phase": "queued", "started_at": AT, "unknown": 1}, Phase.QUEUED, None, None),
]


@pytest.mark.parametrize("data, phase, activated, standing", MINIMAL)
def test_a_journal_that_says_little_is_understood(tmp_path, data: Any, phase: Phase, activated: Any, standing: Any) -> None:
    """Phases and their times are enough; both readers agree."""
    entry = parse("a", json.dumps(data).encode())
    (tmp_path / "a.json").write_text(json.dumps(data))
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        (seen,) = glance(folder).entries
    finally:
        os.close(folder)
    for found in (entry, seen):
        word = found.standing.word if found.standing else None
        assert (found.phase, found.activated_at, word) == (phase, activated, standing)
    assert parse("a", dump(entry)) == entry


WRONG = [
    {"id": "b", "phase": "active", "activated_at": AT},
    {"id": "a", "phase": "begun", "phase_updated_at": AT},
    {"id": "a", "phase": "building"},
    {"id": "a", "phase": "building", "phase_updated_at": "yesterday"},
    {"id": "a", "phase": "building", "phase_updated_at": AT, "schema": 0},
    {"id": "a", "phase": "building", "phase_updated_at": AT, "schema": "2"},
    {"id": "a", "phase": "building", "phase_updated_at": AT, "owner": 7},
    {"id": "a", "phase": "active", "activated_at": AT, "release": "../b"},
    {"id": "a", "phase": "active", "activated_at": AT, "kind": "other"},
    [],
    None,
]


@pytest.mark.parametrize("data", WRONG)
def test_what_is_no_journal_is_set_aside_and_told(tmp_path, data: Any) -> None:
    """It names another deployment, has no phase or no time: nothing is guessed from it."""
    told = []
    path = tmp_path / "a.json"
    path.write_text(json.dumps(data))
    assert Journal(str(tmp_path), lambda *each: told.append(each)).load("a") is None
    assert (path.exists(), len(told), len(os.listdir(tmp_path))) == (False, 1, 1)


def test_what_a_newer_version_wrote_is_refused_and_stays(tmp_path) -> None:
    """Whoever comes with an older collection must not throw away what tells which release is good."""
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"id": "a", "phase": "dancing", "schema": 2}))
    with pytest.raises(Newer, match=r"a\.json: a newer version wrote it \(schema 2"):
        Journal(str(tmp_path)).load("a")
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(Newer, match=r"a\.json: a newer version"):
            glance(folder)
    finally:
        os.close(folder)
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_glance_names_what_it_cannot_understand(tmp_path) -> None:
    """Nothing is decided over a project whose journal is in doubt."""
    (tmp_path / "a.json").write_text('{"id": "b"}')
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(Garbled, match=r"a\.json: ValueError: it is the journal of 'b'"):
            glance(folder)
    finally:
        os.close(folder)
