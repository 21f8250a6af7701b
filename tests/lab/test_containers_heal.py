# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""container_heal as a task, on a host with an engine of its own: drift, names that are taken, and a run that is killed in the middle."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import Any, Dict

import pytest
from bed import until
from dock import IMAGE, SERVE, DockBed, Healing

STUBBORN = "trap : TERM; while :; do sleep 0.2; done"


def wanted(**more: Any) -> Dict[str, Any]:
    return {"containers": [{"name": "web", **more}], "stable_for": 1, "wait": 60}


@pytest.mark.over("debian13", "podman")
def test_drift(docked: DockBed, healing: Healing) -> None:
    """An image, a label and a variable that differ: foretold, made anew once, well beside what it kept of its own; then nothing more."""
    docked.container("web", "-v", "/data", "-e", "MINE=1", "--label", "kept=yes", "--stop-timeout", "1")
    docked.docker("exec", "web", "touch", "/data/kept")
    docked.sh("%s import -c 'ENV MADE=anew' /var/tmp/busybox.tar lab/busybox:2" % docked.program)
    want = wanted(image="lab/busybox:2", labels={"colour": "blue"}, env={"COLOUR": "blue"}, restart_policy="always")
    before = docked.told("web")["Id"]
    made = healing.heal(**want)
    again = healing.heal(**want)
    told = docked.told("web")
    assert (["recreate"], "changed") == (made["results"][0]["actions"], made["results"][0]["outcome"]), made
    assert not again["changed"] and [] == again["results"][0]["actions"], again
    assert told["Id"] != before and {"kept": "yes", "colour": "blue"}.items() <= told["Config"]["Labels"].items()
    assert {"MINE=1", "COLOUR=blue"} <= set(told["Config"]["Env"]) and "always" == told["HostConfig"]["RestartPolicy"]["Name"]
    assert ["web"] == docked.names()
    docked.docker("exec", "web", "test", "-e", "/data/kept")


@pytest.mark.over("debian12", "podman")
def test_a_name_that_is_taken(docked: DockBed, healing: Healing) -> None:
    """Somebody else's container stands where the new one would be made: it is described, and neither is touched."""
    docked.container("web", "--stop-timeout", "1")
    docked.docker("create", "--name", "web.selfheal-new", IMAGE, "/bin/sh")
    before = [docked.told(name)["Id"] for name in docked.names()]
    said = healing.heal(**wanted(labels={"colour": "blue"}))
    assert said["failed"] and "name_conflict" == said["results"][0]["reason"] and "not ours" in said["results"][0]["detail"]
    assert before == [docked.told(name)["Id"] for name in docked.names()] and docked.running("web")


def killed_in_the_middle(docked: DockBed, healing: Healing, **want: Any) -> None:
    """A run is killed while the old one is being stopped; the engine goes on with that."""
    docked.container("web", "--stop-timeout", "8", command=STUBBORN, probe="process")
    argv = ["ansible-playbook", healing.playbook(**want), "-i", healing.fleet.inventory()]
    running = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        until(lambda: "web.selfheal-new" in docked.names(), 40, docked.story)
        docked.sh("pkill -KILL -x python3")  # the task is the only one there
    finally:
        running.send_signal(signal.SIGKILL)
        running.communicate(timeout=30)


@pytest.mark.over("debian12", "podman")
def test_killed_in_the_middle(docked: DockBed, healing: Healing) -> None:
    """A run that is killed while the old one is being stopped: the next one ends with one container, the wanted one, and it runs."""
    want = wanted(labels={"colour": "blue"})
    killed_in_the_middle(docked, healing, **want)
    said = healing.heal(**want)
    assert "changed" == said["results"][0]["outcome"], (said, docked.names())
    assert ["web"] == docked.names() and docked.running("web")
    assert "blue" == docked.told("web")["Config"]["Labels"]["colour"]
    assert not healing.heal(**want)["changed"]


@pytest.mark.over("debian12", "debian13", "podman")
def test_killed_in_the_middle_and_no_longer_wanted(docked: DockBed, healing: Healing) -> None:
    """C51 the next run wants the old one as it is: what the dead one has had stopped runs again, and was stopped by nobody else."""
    killed_in_the_middle(docked, healing, **wanted(labels={"colour": "blue"}))
    said = healing.heal(**wanted())
    assert ("changed", ["start"]) == (said["results"][0]["outcome"], said["results"][0]["actions"]), (said, docked.names())
    assert ["web"] == docked.names() and docked.running("web") and "colour" not in (docked.told("web")["Config"]["Labels"] or {})
    time.sleep(9)  # longer than the stop timeout: nothing ends it any more
    assert docked.running("web") and not healing.heal(**wanted())["changed"]


@pytest.mark.over("podman")
def test_what_is_healed_over_the_socket_of_podman(docked: DockBed, healing: Healing) -> None:
    """Crashed, unhealthy, stopped by somebody by name, looping and well, in one task by one list."""
    check = ("--health-cmd", "test ! -e /tmp/bad", "--health-interval", "1s", "--health-retries", "1")
    docked.container("well")
    docked.container("ill", *check, "--stop-timeout", "1", command="rm -f /tmp/bad; " + SERVE)
    docked.container("dead", command="rm -f /tmp/end; while [ ! -e /tmp/end ]; do sleep 0.1; done; exit 3")
    docked.container("byhand", "--restart", "always", "--stop-timeout", "1")
    docked.docker("exec", "ill", "touch", "/tmp/bad")
    docked.docker("exec", "dead", "touch", "/tmp/end")
    docked.docker("stop", "byhand")
    until(lambda: "unhealthy" == docked.told("ill")["State"]["Health"]["Status"], 20, docked.story)
    until(lambda: not docked.running("dead"), 20, docked.story)
    said = healing.heal(containers=[{"name": name} for name in ("well", "ill", "dead", "byhand")], stable_for=1, wait=60)
    found = {each["name"]: (each["outcome"], each["actions"]) for each in said["results"]}
    expected = {"well": ("unchanged", []), "ill": ("changed", ["restart"]), "dead": ("changed", ["start"]), "byhand": ("blocked", [])}
    assert expected == found, said
