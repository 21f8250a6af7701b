# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``selfheal deployment``: what it prints, and its exit status."""

from __future__ import annotations

import json
import os
import signal

import pytest
from deploy_helpers import LocalHost

from selfheal.daemon import cli


@pytest.fixture
def run(stage, capsys):
    """Run the verb on the stage's project; returns exit status and JSON answer."""
    config = {"schema": 1, "host": "testhost", "state_dir": stage.config.state_dir, "run_dir": stage.config.run_dir}
    (stage.base / "etc" / "watchdog.json").write_text(json.dumps(config))

    def deployment(*argv, project="web"):
        named = ["--project", project] if project else []
        status = cli.main(["--etc", str(stage.base / "etc"), "deployment", *argv, "--root", str(stage.root), *named, "--json"])
        out = capsys.readouterr()
        return status, json.loads(out.out) if out.out else out.err

    return deployment


def order(stage, name, **options):
    path = stage.base / (name + ".json")
    source = {"upload": {"path": str(stage.version(name))}}
    path.write_text(json.dumps({"id": name, "source": source, **options}))
    return str(path)


def test_begin_list_show_and_go_back(stage, run):
    """What the modules do, on the host."""
    for name in ("v1", "v2"):
        status, told = run("start", "--request", order(stage, name))
        assert status == 0 and told["results"][0]["outcome"] == "changed" and told["summary"]["changed"] == 1
    status, told = run("rollback", "--dry-run")
    assert (status, told["results"][0]["outcome"]) == (0, "planned") and stage.serves() == "v2"
    status, told = run("rollback", "v1")
    assert status == 0 and stage.serves() == "v1"
    status, told = run("list", project=None)
    shown = {each["id"]: (each["kind"], each["current"], each["standing"]) for each in told["deployments"]}
    assert shown["v1"][:2] == ("deploy", True) and shown["v2"][2]["word"] == "suspect"
    status, told = run("show", "v2")
    assert (status, told["phase"]) == (0, "active")
    status, told = run("redeploy")
    assert status == 0 and stage.current == "deployments/v1.r1"


def test_failed_is_1_refused_is_1_and_held_is_3(stage, run):
    """The exit status tells apart what failed and what somebody else holds."""
    ill = {"health": [{"exec": {"argv": ["/bin/false"]}}], "health_within": 0.1}
    assert run("start", "--request", order(stage, "v1", **ill))[0] == 1
    assert run("rollback")[0] == 1
    with stage.site().leases.acquire(["project:%s" % stage.project], "ann", "work", 60):
        status, told = run("start", "--request", order(stage, "v2"))
    assert status == 3 and "held by ann" in told["results"][0]["detail"]


def test_wrong_input_is_2(stage, run):
    """Names that are no names, and requests that are none, are refused before anything is looked at."""
    assert run("start")[0] == 2
    assert run("list", project="../x")[0] == 2
    assert run("rollback", "a/b")[0] == 2
    path = stage.base / "bad.json"
    path.write_text("[]")
    assert run("start", "--request", str(path))[0] == 2
    assert run("show", "v9")[0] == 2
    assert run("rollback", project=None)[0] == 2


def test_resume_of_all_projects(stage, run):
    """A timer runs it: nothing stuck is exit status 0, and so is what was taken up."""
    status, told = run("resume", project=None)
    assert (status, told["results"], set(told["summary"].values())) == (0, [], {0})
    source, mark = stage.version("v1"), stage.base / "mark"
    pid = os.fork()
    if pid == 0:
        with LocalHost() as host:
            stage.host = host
            stage.deploy("v1", source, build=[{"argv": ["sh", "-c", "test -e %s || { touch %s; exec sleep 60; }" % (mark, mark)]}])
        os._exit(0)
    while not mark.exists():
        assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert run("resume", project=None)[1]["results"][0]["reason"] == "too_young"
    status, told = run("resume", "--stuck-after", "0", project=None)
    assert status == 0 and told["results"][0]["outcome"] == "changed" and stage.serves() == "v1"
