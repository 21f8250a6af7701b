# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployments on real files: what serves, what stays, what is refused, and what is told."""

from __future__ import annotations

import json
import os
import tarfile

import pytest

from selfheal._engine.targets import Refused

OK = [{"exec": {"argv": ["/bin/true"]}}]


ILL = [{"exec": {"argv": ["/bin/false"]}}]


def test_a_release_becomes_active_with_every_phase_journalled(stage):
    """Begin, end and proof of each phase stand in the journal; the link is relative."""
    told = stage.deploy("v1", health=OK, shared=["log/"])
    journal = stage.journal("v1")
    assert told.outcome == "changed" and stage.current == "deployments/v1" and stage.serves() == "v1"
    names = "queued pulling_source building copying_files creating_symlinks updating_routes health_check".split()
    assert [each["phase"] for each in journal["phases"]] == names
    assert all(each["began"] and each["ended"] for each in journal["phases"])
    proof = {each["phase"]: each["proof"] for each in journal["phases"]}
    assert proof["pulling_source"]["tree"] and proof["copying_files"]["sha256"] == journal["manifest"]["sha256"]
    assert proof["health_check"]["probes"][0]["status"] == "healthy"
    assert os.readlink(stage.project / "current" / "log") == "../../shared/log"
    assert (stage.project / "current" / "log").is_dir()
    events = [(each["type"], each["data"]["phase"]) for each in stage.events()]
    assert events == [("deployment_phase", name) for name in names + ["active"]]


def test_the_journal_is_for_its_owner_alone_and_shows_no_secret(stage):
    """An environment and a route's text are needed to go on, and stand nowhere but in a file that only its owner reads."""
    secret = "s3cr3t-value"
    told = stage.deploy(
        "v1", build=[{"argv": ["true"], "environment": {"TOKEN": secret}}], routes=[{"path": str(stage.base / "route"), "content": secret}]
    )
    from selfheal._records.journal import shown

    assert os.stat(stage.own("deployments", "v1.json")).st_mode & 0o777 == 0o600
    assert os.stat(stage.own()).st_mode & 0o777 == 0o700
    assert secret not in json.dumps(shown(told.entry)) and secret not in json.dumps(stage.events())


def test_an_archive_is_pinned_by_its_checksum_and_kept(stage):
    """A deployment goes on, and can be built again, when the upload is gone."""
    source = stage.version("v1")
    archive = stage.base / "v1.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source, arcname=".")
    told = stage.deploy("v1", archive)
    digest = told.entry.source["sha256"]
    assert os.listdir(stage.own("sources")) == [digest]
    archive.unlink()
    again = stage.deployer().redeploy()
    assert again.outcome == "changed" and stage.current == "deployments/v1.r1" and stage.serves() == "v1"


def test_the_same_again_is_unchanged_and_another_is_refused(stage):
    """A second run changes nothing; a used id with another source says what became of it."""
    stage.deploy("v1")
    same = stage.base / "uploads" / "v1"
    assert stage.deploy("v1", same).outcome == "unchanged"
    assert stage.deploy("v1", same, check=True).outcome == "unchanged"
    with pytest.raises(Refused, match="v1 was used before: it is active"):
        stage.deploy("v1", stage.version("v2"))


def test_a_failed_health_check_leaves_the_old_one_serving(stage):
    """C49, C52: swapped back, the release bad and in quarantine, and the last answer of the probe in the message."""
    stage.deploy("v1")
    told = stage.deploy("v2", health=ILL, health_within=0.1)
    assert told.outcome == "failed" and told.reason == "unhealthy" and "exit status 1" in told.detail
    assert stage.current == "deployments/v1" and stage.serves() == "v1" and stage.releases() == ["v1"]
    journal = stage.journal("v2")
    assert journal["phase"] == "failed" and journal["standing"]["word"] == "bad" and journal["failure"]["phase"] == "health_check"
    assert (stage.own("quarantine", "v2", "version")).read_text() == "v2"
    assert os.listdir(stage.own("build")) == []
    assert stage.events()[-1]["type"] == "deployment_fail"


def test_the_first_deployment_that_fails_leaves_no_link(stage):
    """C47: no release before means none after, not an empty or half one."""
    told = stage.deploy("v1", health=ILL, health_within=0.1)
    assert told.outcome == "failed" and stage.current is None and stage.releases() == []


def test_a_current_that_no_journal_knows_is_gone_back_to(stage):
    """A tree that another tool made is taken over as it is: what was current is current again after a failure."""
    (stage.project / "releases" / "old").mkdir(parents=True)
    os.symlink("releases/old", stage.project / "current")
    stage.deploy("v1", health=ILL, health_within=0.1)
    assert stage.current == "releases/old"
    stage.deploy("v2")
    assert stage.current == "deployments/v2"


def test_a_probe_that_cannot_run_proves_nothing_and_condemns_nothing(stage):
    """Unknown is not failed: the release is not active, and not bad either."""
    told = stage.deploy("v1", health=[{"exec": {"argv": ["/nowhere/probe"]}}], health_within=0.1)
    assert told.outcome == "failed" and told.reason == "unproven" and told.entry.standing is None


def test_a_build_that_fails_says_what_it_wrote(stage):
    """C52: what a failed build wrote is in the message and in a file."""
    stage.deploy("v1")
    told = stage.deploy("v2", build=[{"argv": ["sh", "-c", "echo the reason; exit 3"]}])
    assert told.reason == "build_failed" and "the reason" in told.detail and stage.serves() == "v1"
    assert "the reason" in stage.own("output", "v2.log").read_text()
    assert os.listdir(stage.own("build")) == [] and stage.releases() == ["v1"]


def test_builds_run_in_the_release_with_their_environment(stage):
    """A relative program is one of the release; its id is known to it."""
    source = stage.version("v1")
    (source / "configure").write_text("#!/bin/sh\necho $NAME $SELFHEAL_RELEASE > made\n")
    (source / "configure").chmod(0o755)
    stage.deploy("v1", source, build=[{"argv": ["./configure"], "environment": {"NAME": "x"}}])
    assert (stage.project / "current" / "made").read_text() == "x v1\n"


@pytest.mark.parametrize("build, reason", [((), "source_missing"), (({"argv": ["/bin/true"]},), "build_failed")])
def test_a_release_without_any_file_is_refused(stage, build, reason):
    """An upload that went wrong is an empty archive: nothing is no release, and what served goes on."""
    stage.deploy("v1")
    (stage.base / "empty" / "public").mkdir(parents=True)
    told = stage.deploy("v2", stage.base / "empty", build=list(build))
    assert (told.outcome, told.reason) == ("failed", reason) and "no file" in told.detail
    assert stage.serves() == "v1"


def test_a_build_that_hangs_is_killed_at_its_timeout(stage):
    """A build never holds a deployment longer than it was given."""
    told = stage.deploy("v1", build=[{"argv": ["sleep", "60"], "timeout": 0.2}])
    assert told.reason == "build_failed" and stage.current is None


def test_what_is_shared_outlives_releases(stage):
    """Files and directories of shared/ stand in every release, in place of its own."""
    (stage.project / "shared" / "config").mkdir(parents=True)
    (stage.project / "shared" / "config" / ".env").write_text("kept")
    for name in ("v1", "v2"):
        source = stage.version(name)
        (source / "log").mkdir()
        (source / "log" / "own").write_text("own")
        stage.deploy(name, source, shared=["log/", "config/.env"])
        (stage.project / "current" / "log" / name).write_text("x")
    assert (stage.project / "current" / "config" / ".env").read_text() == "kept"
    assert sorted(os.listdir(stage.project / "current" / "log")) == ["v1", "v2"]


def test_a_shared_file_that_is_missing_is_asked_for(stage):
    """Nobody guesses whether it is a file or a directory."""
    told = stage.deploy("v1", shared=[".env"])
    assert told.outcome == "failed" and "shared/.env is missing" in told.detail and stage.releases() == []


def test_nothing_is_shared_through_a_link_of_the_release(stage):
    """A release whose config is a link elsewhere cannot make us write there."""
    source = stage.version("v1")
    os.symlink("public", source / "config")
    (stage.project / "shared" / "config").mkdir(parents=True)
    (stage.project / "shared" / "config" / "x").write_text("x")
    told = stage.deploy("v1", source, shared=["config/x"])
    assert told.outcome == "failed" and "is no directory in the release" in told.detail


def test_routes_are_validated_before_and_put_back_after(stage):
    """A file that its validator refuses is never in place; one of a release that is not well is taken back, and reloaded."""
    route, reloads = stage.base / "route", stage.base / "reloads"
    route.write_text("old")
    route.chmod(0o640)
    reload = ["/bin/sh", "-c", "cat %s >> %s" % (route, reloads)]
    with pytest.raises(AssertionError):
        assert stage.deploy("v1", routes=[{"path": str(route), "content": "new", "validate": ["/bin/false", "%s"]}]).outcome == "changed"
    assert route.read_text() == "old" and not reloads.exists()
    told = stage.deploy("v2", routes=[{"path": str(route), "content": "new", "reload": reload}], health=ILL, health_within=0.1)
    assert told.reason == "unhealthy" and route.read_text() == "old" and reloads.read_text() == "newold"
    assert stage.deploy("v3", routes=[{"path": str(route), "content": "new"}]).outcome == "changed"
    assert route.read_text() == "new" and os.stat(route).st_mode & 0o777 == 0o640


def test_a_route_that_was_not_there_is_removed_again(stage):
    """Put back means: as it was before, also where nothing was."""
    route = stage.base / "route"
    told = stage.deploy("v1", routes=[{"path": str(route), "content": "x", "validate": ["/bin/false"]}])
    assert told.reason == "route_failed" and not route.exists()


def test_traffic_is_away_from_before_the_swap_until_it_is_well(stage):
    """With a fallback nobody is sent to a release that is not proven."""
    seen = stage.base / "seen"
    note = "echo %%s $(readlink %s || echo none) >> %s" % (stage.project / "current", seen)
    stage.deploy("v1")
    fallback = {"command": {"argv_open": ["/bin/sh", "-c", note % "away"], "argv_close": ["/bin/sh", "-c", note % "back"]}}
    stage.deploy("v2", fallback=fallback, health=OK)
    stage.deploy("v3", fallback=fallback, health=ILL, health_within=0.1)
    expected = ["away deployments/v1", "back deployments/v2", "away deployments/v2", "back deployments/v2"]
    assert seen.read_text().splitlines() == expected


def test_keep_removes_the_oldest_and_never_the_one_that_is_used(stage):
    """C47, C48: releases go oldest first; one that a process works in stays and is named; a folder that is not ours stays."""
    stage.deploy("v0")
    (stage.project / "deployments" / "odd folder").mkdir()
    worker = os.fork()
    if worker == 0:
        os.chdir(stage.project / "deployments" / "v0")
        os.execv("/bin/sleep", ["sleep", "60"])
    try:
        while os.readlink("/proc/%d/exe" % worker) == os.readlink("/proc/self/exe"):
            continue
        warned = [warning for n in range(1, 5) for warning in stage.deploy("v%d" % n, keep=2).warnings]
    finally:
        os.kill(worker, 9)
        os.waitpid(worker, 0)
    assert stage.releases() == ["odd folder", "v0", "v3", "v4"]
    assert any("v0 stays: process %d works in it" % worker in each for each in warned)
    stage.deploy("v5", keep=2)
    assert stage.releases() == ["odd folder", "v4", "v5"]


def test_cleaning_follows_no_link_and_leaves_the_project_alone(stage):
    """C48: a release with links out of the tree is removed, and what they point to is not."""
    outside = stage.base / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    stage.deploy("v1")
    os.symlink(outside, stage.project / "deployments" / "v1" / "link")
    for name in ("v2", "v3"):
        stage.deploy(name, keep=1)
    assert stage.releases() == ["v3"] and (outside / "precious").exists()
