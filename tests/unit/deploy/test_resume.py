# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking up what was cut off: what is taken up, what is left alone, what is failed loudly, and by how many at once."""

from __future__ import annotations

import json
import os
import shutil
import signal

import pytest
from deploy_helpers import Deployer, LocalHost

from selfheal._core.errors import LeaseHeld
from selfheal._engine.deploy_report import warnings_of


def cut_off(stage, identity, project=None, build=None, **options):
    """A deployment killed while it builds."""
    started = stage.base / ("started-" + identity)
    source = stage.base / "uploads" / identity
    if not source.exists():
        stage.version(identity)
    commands = [{"argv": ["sh", "-c", "touch %s; test -e %s || exec sleep 60" % (started, stage.base / "go")]}]
    pid = os.fork()
    if pid == 0:
        with LocalHost() as host:
            stage.host = host
            request = {**stage.request(identity, source, build=commands, **options), "project": project or "web"}
            Deployer(stage.site(), str(stage.root), project or "web").start(request)
        os._exit(0)
    while not started.exists():
        assert os.waitpid(pid, os.WNOHANG) == (0, 0), "it ended before its build began"
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    (stage.base / "go").write_text("")


def test_a_deployment_killed_in_its_build_is_taken_up(stage):
    """C46: found, gone on with from its phase, proven and active."""
    stage.deploy("v1")
    cut_off(stage, "v2")
    assert stage.serves() == "v1" and stage.journal("v2")["phase"] == "building"
    (told,) = stage.resume()
    assert told.outcome == "changed" and stage.serves() == "v2" and told.entry.resumed == 1
    assert [each["data"]["phase"] for each in stage.events() if each["type"] == "deployment_resume"] == ["building"]
    assert stage.resume() == []


def test_one_whose_process_lives_is_left_alone(stage):
    """Alive is told by pid, start time and boot: who is at work is not disturbed."""
    stage.deploy("v1")
    cut_off(stage, "v2")
    path = stage.own("deployments", "v2.json")
    data = json.loads(path.read_text())
    from selfheal._records.files import Owner

    dead = data["owner"]
    data["owner"] = Owner.current().as_data()
    path.write_text(json.dumps(data))
    (told,) = stage.resume()
    assert (told.outcome, told.reason) == ("unchanged", "owner_alive")
    data["owner"] = {**Owner.current().as_data(), "start_time": dead["start_time"] + 1}
    path.write_text(json.dumps(data))
    assert stage.resume()[0].outcome == "changed"


def test_a_young_one_is_left_alone(stage):
    """stuck_after counts from the last sign of life."""
    cut_off(stage, "v1")
    (told,) = stage.resume(stuck_after=300)
    assert (told.outcome, told.reason) == ("unchanged", "too_young") and stage.current is None


def test_a_source_that_is_gone_fails_it_loudly(stage):
    """Nothing is guessed: it fails with the reason, resume_attempted, and everything put back."""
    stage.deploy("v1")
    cut_off(stage, "v2")
    shutil.rmtree(stage.base / "uploads" / "v2")
    (told,) = stage.resume()
    journal = stage.journal("v2")
    assert (told.outcome, told.reason) == ("failed", "source_missing") and stage.serves() == "v1"
    assert journal["failure"]["resume_attempted"] is True and os.listdir(stage.own("build")) == []


def test_a_source_that_is_another_now_fails_it_loudly(stage):
    """What is deployed is what was pinned."""
    cut_off(stage, "v1")
    (stage.base / "uploads" / "v1" / "version").write_text("other")
    (told,) = stage.resume()
    assert (told.outcome, told.reason) == ("failed", "source_changed") and stage.current is None


def test_release_files_that_were_changed_meanwhile_fail_it(stage):
    """A release that is not what its manifest says never becomes active."""
    stage.deploy("v1")
    source = stage.version("v2")
    pid = os.fork()
    if pid == 0:
        with LocalHost() as host:
            stage.host = host
            stage.deploy("v2", source, health=[{"exec": {"argv": ["/bin/false"]}}], health_within=60)
        os._exit(0)
    while not (stage.own("deployments", "v2.json").exists() and stage.journal("v2")["phase"] == "health_check"):
        assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert stage.serves() == "v2"
    (stage.project / "deployments" / "v2" / "version").write_text("v3")
    (told,) = stage.resume()
    assert (told.outcome, told.reason) == ("failed", "tampered") and stage.serves() == "v1"


def test_the_next_deployment_undoes_what_was_cut_off(stage):
    """C51: a cancelled run blocks nothing; it is put back and failed, and what is gone back to is what was proven."""
    stage.deploy("v1")
    cut_off(stage, "v2")
    told = stage.deploy("v3")
    assert told.outcome == "changed" and told.entry.left == "v1"
    assert stage.journal("v2")["failure"]["reason"] == "superseded" and os.listdir(stage.own("build")) == []


def test_fifty_projects_and_ten_of_them_stuck_in_one_call(stage):
    """Each by itself: what fails in one keeps none of the others away."""
    from selfheal._engine.deploy_report import refused
    from selfheal._engine.deployer import projects_of

    source = stage.version("v1")
    for number in range(50):
        name = "p%02d" % number
        request = {**stage.request("v1", source), "project": name}
        assert Deployer(stage.site(), str(stage.root), name).start(request).outcome == "changed"
    for number in range(10):
        stage.version("w%d" % number)
        cut_off(stage, "w%d" % number, "p%02d" % number)
        (stage.base / "go").unlink()
    (stage.base / "go").write_text("")
    shutil.rmtree(stage.base / "uploads" / "w3")
    found = {}
    for name in projects_of(str(stage.root)):
        for told in Deployer(stage.site(), str(stage.root), name).resume(0.0):
            found[name] = told.outcome
    assert found == {"p%02d" % number: "failed" if number == 3 else "changed" for number in range(10)}
    assert refused(LeaseHeld("x is held by y")).outcome == "blocked"


def test_two_who_resume_at_once_do_it_once(stage):
    """Two controllers: one takes it up, the other finds the leases taken or the work done."""
    stage.deploy("v1")
    cut_off(stage, "v2")
    reading, writing = os.pipe()
    children = []
    for _each in range(2):
        pid = os.fork()
        if pid == 0:
            with LocalHost() as host:
                stage.host = host
                try:
                    words = [told.outcome for told in stage.resume()]
                except LeaseHeld:
                    words = ["held"]
                os.write(writing, (" ".join(words) + "\n").encode())
            os._exit(0)
        children.append(pid)
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
    os.close(writing)
    with os.fdopen(reading) as answers:
        words = answers.read().split()
    assert words.count("changed") == 1 and set(words) <= {"changed", "held", "unchanged"}
    assert stage.serves() == "v2" and stage.journal("v2")["resumed"] == 1


def test_check_mode_of_resume_touches_nothing(stage):
    """What is stuck is named."""
    cut_off(stage, "v1")
    before = stage.own("deployments", "v1.json").read_bytes()
    (told,) = stage.resume(check=True)
    assert told.outcome == "planned" and stage.own("deployments", "v1.json").read_bytes() == before


@pytest.mark.parametrize("problem", ["owner", "phase"])
def test_a_journal_that_says_nonsense_is_set_aside(stage, problem):
    """C46: nonsense is reported, never acted on."""
    stage.deploy("v1")
    cut_off(stage, "v2")
    path = stage.own("deployments", "v2.json")
    data = json.loads(path.read_text())
    data[problem] = 7
    path.write_text(json.dumps(data))
    deployer = stage.deployer()
    assert deployer.resume(0.0) == [] and "set aside" in deployer.warnings[0] and stage.serves() == "v1"
    assert warnings_of([], deployer.site) == deployer.warnings, "told although no deployment came of it"


def minimal(stage, identity, phase="building", **more):
    """A journal with nothing in it but how far it came."""
    stage.own("deployments", identity + ".json").write_text(
        json.dumps({"id": identity, "phase": phase, "phase_updated_at": "2026-01-01T00:00:00.000Z", **more})
    )


def test_a_journal_that_does_not_say_what_was_asked_for_is_failed_loudly(stage):
    """C46: nobody can take it up, and left alone it would stand in the way for ever; what serves goes on serving."""
    stage.deploy("v1")
    minimal(stage, "v2")
    (told,) = stage.resume()
    assert (told.outcome, told.reason, stage.serves()) == ("failed", "source_missing", "v1")
    kept = stage.journal("v2")
    assert (kept["phase"], kept["failure"]["phase"], kept["failure"]["resume_attempted"]) == ("failed", "building", True)
    assert [each["data"]["deployment"] for each in stage.events() if each["type"] == "deployment_fail"] == ["v2"]
    assert stage.resume() == []


def test_a_journal_that_says_little_stops_no_deployment(stage):
    """C46: the next deployment fails it and goes on."""
    stage.deploy("v1")
    minimal(stage, "v2", phase="creating_symlinks", previous="deployments/v1")
    stage.deploy("v3")
    assert (stage.serves(), stage.journal("v2")["phase"]) == ("v3", "failed")
