# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bundles of diagnostics on the disk: whole, small, free of secrets, for root's eyes, and not for ever."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import stat

import pytest

from selfheal._core.errors import RecordError
from selfheal._records import diagnostics
from selfheal._records.diagnostics import LARGEST, Bundles


def test_a_bundle_is_what_the_event_says_it_is(tmp_path: pathlib.Path) -> None:
    """The path, the SHA-256 and the size are those of the file, which only its owner may read."""
    bundles = Bundles(str(tmp_path))
    kept = bundles.keep("web-20261121T210330.001Z", {"incident": "web-20261121T210330.001Z", "sections": {"log": ["one", "two"]}})
    data = pathlib.Path(kept.path).read_bytes()
    assert (kept.sha256, kept.bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    assert stat.S_IMODE(os.stat(kept.path).st_mode) == 0o600
    assert pathlib.Path(kept.path) == tmp_path / "diagnostics" / "web-20261121T210330.001Z.json"
    found = bundles.load("web-20261121T210330.001Z")
    assert found is not None and found[0]["sections"]["log"] == ["one", "two"] and found[1] == kept
    assert bundles.load("other") is None


def test_secrets_do_not_enter(tmp_path: pathlib.Path) -> None:
    """Passwords in arguments, lines and keys are gone before anything is written."""
    sections = {
        "process": {"command": ["web", "--password", "hunter2"]},
        "log": ["GET http://joe:hunter2@x/?token=hunter2", "db_password=hunter2"],
    }
    kept = Bundles(str(tmp_path)).keep("web-1", {"sections": {**sections, "api_key": "hunter2"}})
    assert b"hunter2" not in pathlib.Path(kept.path).read_bytes()


def test_a_bundle_too_large_loses_the_oldest_lines_and_says_so(tmp_path: pathlib.Path) -> None:
    """Whatever a service writes, the file stays within its bound, and what matters most is still there."""
    lines = ["%06d %s" % (n, "y" * 3000) for n in range(1000)]
    kept = Bundles(str(tmp_path)).keep(
        "web-1", {"sections": {"log": lines, "huge": {"a": {str(n): "z" * 999 for n in range(600)}}, "disks": [1]}}
    )
    bundle = json.loads(pathlib.Path(kept.path).read_text())
    assert kept.bytes <= LARGEST
    assert bundle["sections"]["disks"] == [1] and bundle["sections"]["log"][-1].startswith("000999 ")
    assert bundle["left_out"]["log"] == 1000 - len(bundle["sections"]["log"]) and "huge" in bundle["left_out"]


def test_only_the_newest_are_kept(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that fails every minute fills no disk: by number and by size the oldest go."""
    monkeypatch.setattr(diagnostics, "MOST", 3)
    bundles = Bundles(str(tmp_path))
    for n in range(6):
        bundles.keep("web-%d" % n, {"n": n})
        os.utime(bundles.path("web-%d" % n), (n, n))
    assert sorted(os.listdir(bundles.directory)) == ["web-3.json", "web-4.json", "web-5.json"]
    monkeypatch.setattr(diagnostics, "MOST_BYTES", 2500)
    bundles.keep("web-6", {"text": "x" * 900, "more": "y" * 900})
    assert sorted(os.listdir(bundles.directory)) == ["web-4.json", "web-5.json", "web-6.json"] or bundles.load("web-6")
    total = sum(os.path.getsize(os.path.join(bundles.directory, name)) for name in os.listdir(bundles.directory))
    assert total <= 2500 and bundles.load("web-6") is not None


def test_the_same_incident_has_one_bundle(tmp_path: pathlib.Path) -> None:
    """A second one replaces the first, and nothing is left beside it."""
    bundles = Bundles(str(tmp_path))
    bundles.keep("web-1", {"n": 1})
    bundles.keep("web-1", {"n": 2})
    assert os.listdir(bundles.directory) == ["web-1.json"] and (bundles.load("web-1") or [{}])[0]["n"] == 2


def test_a_place_that_cannot_be_written_is_named(tmp_path: pathlib.Path) -> None:
    """Whoever asked is told what failed; nothing else is."""
    (tmp_path / "diagnostics").write_text("a file is in the way")
    with pytest.raises(RecordError, match="diagnostics"):
        Bundles(str(tmp_path)).keep("web-1", {})


@pytest.mark.parametrize("garbage", [b"", b"{", b"[]", b'{"schema": 9}', b"[" * 100000])
def test_a_garbled_bundle_is_as_none(tmp_path: pathlib.Path, garbage: bytes) -> None:
    """It is only ever read for its cause; garbage has none."""
    bundles = Bundles(str(tmp_path))
    bundles.keep("web-1", {})
    pathlib.Path(bundles.path("web-1")).write_bytes(garbage)
    assert bundles.load("web-1") is None
