# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Going back: where to, what is refused, and what is held of what was left."""

from __future__ import annotations

import os

import pytest

from selfheal._engine.targets import Refused

ILL = [{"exec": {"argv": ["/bin/false"]}}]


def refused(stage, reason, to=None):
    before = stage.current
    with pytest.raises(Refused) as error:
        stage.rollback(to)
    assert str(error.value.reason) == reason and stage.current == before
    return str(error.value)


def test_every_rollback_goes_further_back(stage):
    """C50: a second rollback never returns to what was just left; in the end it says that there is nothing more."""
    for name in ("b", "c", "a"):
        stage.deploy(name)
    assert [stage.rollback().entry.release, stage.rollback().entry.release] == ["c", "b"]
    assert stage.serves() == "b"
    assert "is doubted" in refused(stage, "no_good_release")
    assert stage.rollback("a").entry.release == "a" and stage.serves() == "a"


def test_what_was_left_is_suspect_and_stays(stage):
    """C49: going back deletes no evidence."""
    stage.deploy("v1")
    stage.deploy("v2")
    told = stage.rollback()
    assert stage.releases() == ["v1", "v2"] and stage.journal("v2")["standing"]["word"] == "suspect"
    journal = stage.journal(told.entry.id)
    assert journal["kind"] == "rollback" and journal["left"] == "v2" and journal["phase"] == "active"
    assert [each["phase"] for each in journal["phases"]] == ["queued", "creating_symlinks", "updating_routes", "health_check"]
    assert journal["phases"][1]["proof"]["took_ms"] < 1000


def test_the_newest_good_release_is_where_it_goes(stage):
    """C47: a release that failed in between is no place to go back to."""
    stage.deploy("v1")
    stage.deploy("v2", health=ILL, health_within=0.1)
    stage.deploy("v3")
    assert stage.rollback().entry.release == "v1"


def test_a_changed_release_is_refused(stage):
    """The manifest decides, down to one byte; files that the service has added are no change."""
    stage.deploy("v1")
    stage.deploy("v2")
    (stage.project / "deployments" / "v1" / "cache.pyc").write_text("x")
    assert stage.rollback(check=True).outcome == "planned"
    (stage.project / "deployments" / "v1" / "version").write_text("V1")
    assert "version is not what was deployed" in refused(stage, "tampered")


def test_an_incomplete_or_missing_release_is_refused(stage):
    """C47: never back to an empty directory."""
    stage.deploy("v1")
    stage.deploy("v2")
    os.unlink(stage.project / "deployments" / "v1" / "version")
    assert "version is missing" in refused(stage, "tampered", "v1")
    os.rename(stage.project / "deployments" / "v1", stage.base / "away")
    refused(stage, "no_good_release")
    refused(stage, "files_missing", "v1")
    refused(stage, "files_missing", "v9")


def test_a_bad_release_is_refused_by_name_too(stage):
    """One that was judged bad is never made current again."""
    stage.deploy("v1")
    stage.deploy("v2", health=ILL, health_within=0.1)
    assert "failed in health_check" in refused(stage, "bad_release", "v2")


def test_no_rollback_below_the_schema_floor(stage):
    """What migrated the data has said which releases may still read them."""
    stage.deploy("v1", schema=1)
    stage.deploy("v2", schema=2)
    stage.deploy("v3", schema=3, schema_floor=2)
    assert stage.rollback().entry.release == "v2"
    assert "needs at least 2" in refused(stage, "schema_floor", "v1")


def test_an_unhealthy_target_is_left_again(stage):
    """A rollback is judged like any deployment: what served before serves again, and the target is no worse for it."""
    mark = stage.base / "mark"
    mark.write_text("")
    stage.deploy("v1", health=[{"exec": {"argv": ["/usr/bin/test", "-e", str(mark)]}}], health_within=0.1)
    stage.deploy("v2")
    mark.unlink()
    told = stage.rollback()
    assert told.outcome == "failed" and stage.serves() == "v2" and stage.journal("v1")["standing"]["word"] == "good"


def test_routes_go_back_with_their_release(stage):
    """What the release's journal says is what is written."""
    route = stage.base / "route"
    for name in ("v1", "v2"):
        stage.deploy(name, routes=[{"path": str(route), "content": name}])
    stage.rollback()
    assert route.read_text() == "v1"


def test_a_second_rollback_to_the_same_changes_nothing(stage):
    """Named twice, done once; check mode changes nothing at all."""
    stage.deploy("v1")
    stage.deploy("v2")
    assert stage.rollback("v1", check=True).outcome == "planned" and stage.serves() == "v2"
    assert stage.rollback("v1").outcome == "changed"
    assert stage.rollback("v1").outcome == "unchanged"


def test_a_project_that_never_was_is_refused(stage):
    """Nothing is made where nothing is."""
    refused(stage, "files_missing")
    assert not stage.project.exists()
