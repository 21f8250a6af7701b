# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployments that are refused, that wait for others, and that leave alone what is not theirs."""

from __future__ import annotations

import json
import os
import sys

import pytest
from deploy_helpers import LocalHost

from selfheal._actuators.release import ReleaseRefused
from selfheal._core.errors import LeaseHeld, RecordError
from selfheal._engine.deploy_site import Forbidden
from selfheal._engine.targets import Refused

ILL = [{"exec": {"argv": ["/bin/false"]}}]


def test_a_root_that_anyone_may_write_to_is_refused(stage):
    """Who can write there can exchange what is deployed."""
    os.chmod(stage.root, 0o777)
    with pytest.raises(ReleaseRefused, match="chmod o-w"):
        stage.deploy("v1")
    assert not stage.project.exists()


def test_a_project_that_is_a_link_is_refused(stage):
    """What a link points to is somebody else's."""
    os.symlink("/tmp", stage.project)
    with pytest.raises(ReleaseRefused, match="is a symbolic link"):
        stage.deploy("v1")


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_something_else_in_the_place_of_current_is_left_alone(stage, kind):
    """An obstruction is named and not removed."""
    stage.project.mkdir(mode=0o755)
    (stage.project / "current").mkdir() if kind == "directory" else (stage.project / "current").write_text("x")
    with pytest.raises(ReleaseRefused, match="A %s stands at" % kind):
        stage.deploy("v1")


def test_check_mode_predicts_and_touches_nothing(stage):
    """The same checks, the source pinned, every change named, and no file made."""
    route = stage.base / "route"
    source = stage.version("v1")
    told = stage.deploy("v1", source, check=True, shared=["log/"], routes=[{"path": str(route), "content": "x"}])
    assert told.outcome == "planned" and told.after == "deployments/v1" and told.planned["source"]["files"] == 2
    assert told.planned["routes"] == [{"path": str(route), "changed": True, "new": True}]
    assert not stage.project.exists() and not (stage.base / "state").exists() and not (stage.base / "run").exists()
    with pytest.raises(Refused, match="No such file"):
        stage.deploy("v1", stage.base / "missing", check=True)


def test_a_hold_keeps_hands_off_until_it_is_lifted_by_name(stage):
    """The red button stops deployments too; lifting it is recorded."""
    site = stage.site()
    site.holds.set(None, "ann", "audit")
    with pytest.raises(Forbidden, match="held by ann: audit"):
        stage.deploy("v1")
    assert stage.deployer(override=("hold",)).start(stage.request("v1", stage.version("v2"))).outcome == "changed"
    assert stage.events()[0]["type"] == "override"


def test_who_comes_second_is_refused_by_the_name_of_the_holder(stage):
    """C51: one deployment of a project at a time; the message names the other, and nothing was begun."""
    stage.project.mkdir(mode=0o755)
    held = stage.site().leases.acquire(["project:%s" % stage.project], "watchdog", "healing web", 60)
    with pytest.raises(LeaseHeld, match="held by watchdog .* for healing web"):
        stage.deploy("v1")
    held.release()
    assert stage.deploy("v1", stage.base / "uploads" / "v1").outcome == "changed"


def test_the_clock_set_back_does_not_change_the_order(stage, monkeypatch):
    """Order is by activation: a later one is later, whatever the wall clock says."""
    stage.deploy("v1")
    real = stage.host.wall
    monkeypatch.setattr(stage.host, "wall", lambda: real() - 86400)
    told = stage.deploy("v2")
    assert told.entry.activated_at > stage.journal("v1")["activated_at"]
    monkeypatch.undo()
    assert stage.rollback().entry.release == "v1"


def test_a_garbled_journal_is_set_aside_and_reported(stage):
    """One bad file keeps no deployment away, and is not lost."""
    stage.deploy("v1")
    stage.own("deployments", "v0.json").write_text("{")
    told = stage.deploy("v2")
    assert told.outcome == "changed" and any("cannot be understood" in each for each in told.warnings)
    assert [name for name in os.listdir(stage.own("deployments")) if name.startswith("v0.json.bad-")]
    assert [each["data"]["reason"] for each in stage.events() if each["type"] == "state_reset"] == ["garbled"]


def test_two_at_once_with_patience_are_two_in_a_row(stage):
    """C51: who comes second waits as long as it was told to, and then deploys on top of the first."""
    children = []
    for name in ("v1", "v2"):
        source = stage.version(name)
        pid = os.fork()
        if pid == 0:
            with LocalHost() as own:
                stage.host = own
                told = stage.deploy(name, source, wait=60.0, build=[{"argv": ["sleep", "0.3"]}])
            os._exit(0 if told.outcome == "changed" else 1)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
    entries = stage.entries()
    first, second = sorted(entries.values(), key=lambda entry: entry.activated_at)
    assert second.left == first.id and stage.current == "deployments/" + second.id


def test_a_rollback_undoes_what_was_cut_off_first(stage):
    """Whoever wants to go back from a release that was never proven is back when that is undone."""
    from dataclasses import replace

    from selfheal._core.deployment import Phase
    from selfheal._records.journal import Journal

    stage.deploy("v1")
    stage.deploy("v2")
    journal = Journal(str(stage.own("deployments")))
    dead = {"pid": 1, "start_time": 1, "boot_id": "another boot"}
    journal.save(replace(journal.load("v2"), phase=Phase.HEALTH_CHECK, activated_at=None, standing=None, owner=dead))
    told = stage.rollback()
    assert told.outcome == "changed" and stage.serves() == "v1" and stage.journal("v2")["failure"]["reason"] == "superseded"


def test_what_runs_the_release_is_restarted_there_and_back(stage):
    """A service by its contract: started with the first release, restarted with each, and restarted back when one is not well."""
    argv = [sys.executable, "-I", "-c", "import time; time.sleep(600)"]
    process = {"argv": argv, "cwd": str(stage.project / "current"), "stop_timeout": 1}
    probes = [{"role": "liveness", "tcp": {"host": "127.0.0.1", "port": 9}}]
    contract = {"name": "web", "resource": {"process": process}, "probes": probes}
    (stage.base / "etc" / "contracts.json").write_text(json.dumps({"services": [contract]}))

    def runs():
        (record,) = (stage.base / "run" / "processes").glob("*.json")
        pid = json.loads(record.read_text())["pid"]
        return pid, os.path.basename(os.readlink("/proc/%d/cwd" % pid))

    pids = []
    try:
        stage.deploy("v1", restart={"service": "web"})
        pids.append(runs())
        stage.deploy("v2", restart={"service": "web"})
        pids.append(runs())
        told = stage.deploy("v3", restart={"service": "web"}, health=ILL, health_within=0.1)
        pids.append(runs())
    finally:
        for pid, _release in pids[-1:]:
            os.kill(pid, 9)
    assert told.outcome == "failed" and stage.serves() == "v2"
    assert [release for _pid, release in pids] == ["v1", "v2", "v2"] and len({pid for pid, _release in pids}) == 3
    assert {each.get("service") for each in stage.events()} == {"web"}


def test_a_restart_that_fails_is_put_back(stage):
    """A service that cannot be started with the new release: swapped back before anything is asked."""
    stage.deploy("v1")
    contract = {
        "name": "web",
        "resource": {"process": {"argv": [str(stage.project / "current" / "run")], "stop_timeout": 1}},
        "probes": [{"role": "liveness", "tcp": {"host": "127.0.0.1", "port": 9}}],
    }
    (stage.base / "etc" / "contracts.json").write_text(json.dumps({"services": [contract]}))
    told = stage.deploy("v2", restart={"service": "web"})
    assert (told.outcome, told.reason) == ("failed", "restart_failed") and stage.serves() == "v1"
    assert any("restarting on the release before" in each for each in told.warnings)
    with pytest.raises(Forbidden, match="there is no contract shop"):
        stage.deploy("v3", restart={"service": "shop"})


def test_a_request_that_no_journal_could_hold_is_refused(stage):
    """Nothing is begun that could not be taken up again."""
    routes = [{"path": str(stage.base / ("r%d" % n)), "content": "x" * 1000000} for n in range(9)]
    with pytest.raises(RecordError, match="at most"):
        stage.deploy("v1", routes=routes)
    assert stage.current is None and os.listdir(stage.own("deployments")) == []


@pytest.mark.parametrize("name", ["deployments", "shared", ".selfheal", ".selfheal/deployments", ".selfheal/build"])
def test_a_link_in_the_place_of_a_directory_is_refused(stage, name):
    """Who could put a link there would have us write and remove elsewhere."""
    outside = stage.base / "outside"
    outside.mkdir(mode=0o700)
    place = stage.project / name
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    os.symlink(outside, place)
    with pytest.raises((ReleaseRefused, RecordError), match="is a symbolic link"):
        stage.deploy("v1")
    assert os.listdir(outside) == [] and stage.current is None


def test_traffic_that_does_not_come_back_is_asked_for_again_and_told(stage):
    """The release is good all the same; a person is told where traffic is, and the second try counts."""
    tries = stage.base / "tries"
    count = "echo x >> %s; test $(wc -l < %s) -ge %%d" % (tries, tries)
    for name, enough, warned in (("v1", 2, False), ("v2", 99, True)):
        tries.write_text("")
        fallback = {"command": {"argv_open": ["/bin/true"], "argv_close": ["/bin/sh", "-c", count % enough]}}
        told = stage.deploy(name, fallback=fallback)
        assert told.outcome == "changed" and any("traffic stays at the backup" in each for each in told.warnings) == warned
