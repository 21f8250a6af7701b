# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The container engine itself goes down, hangs, restarts, and has no room left."""

from __future__ import annotations

import json

import pytest
from bed import until
from dock import IMAGE, SERVE, DockBed

STUBBORN = "trap : TERM; %s & while :; do wait; done" % SERVE


def test_the_engine_restarts(docked: DockBed) -> None:
    """The engine goes down and takes its containers along: at most one incident of its own, no page, and everything serves again."""
    # Addresses of containers are dealt anew when the engine comes back.
    plain = docked.container("plain", "-p", "127.0.0.1:8081:80")
    kept = docked.container("kept", "-p", "127.0.0.1:8082:80", "--restart", "always")
    for contract, port in ((plain, 8081), (kept, 8082)):
        contract["probes"][0]["http"]["url"] = "http://127.0.0.1:%d/live" % port
    docked.watch(plain, kept)
    docked.sh("systemctl restart docker", within=90)
    until(lambda: docked.running("plain") and docked.running("kept"), 40, docked.story)
    for event in docked.events("failure"):
        assert event.get("service") or event["incident"].startswith("engine-")
    assert len([event for event in docked.events("failure") if not event.get("service")]) <= 1
    assert not docked.events("page", "restart")
    assert [] == [event["service"] for event in docked.events("start") if event["service"] == "kept"]


def test_stopped_before_the_engine_restarts(docked: DockBed) -> None:
    """C01 what somebody stopped moments before stays so over a restart of the engine, which goes down with the same events for all."""
    docked.watch(
        docked.container("mine", "--stop-timeout", "1", probe="process"), docked.container("plain", "--stop-timeout", "1", probe="process")
    )
    docked.docker("stop", "mine")
    docked.in_state("mine", "stopped")
    docked.sh("systemctl restart docker", within=90)
    until(lambda: docked.running("plain"), 40, docked.story)
    docked.healthy("plain")
    assert "stopped" == docked.state("mine") and not docked.running("mine")
    assert not docked.events("start", "restart", service="mine")


def test_the_engine_is_killed(docked: DockBed) -> None:
    """C01 an engine that starts after a crash ends what still lives and notes a stop by hand: that serves again, and what a person stopped
    does not."""
    docked.watch(
        docked.container("mine", "--stop-timeout", "1", probe="process"), docked.container("plain", "--stop-timeout", "1", probe="process")
    )
    docked.docker("stop", "mine")
    docked.in_state("mine", "stopped")
    docked.sh("kill -KILL %d" % docked.pid("docker"))
    docked.event("start", service="plain", within=60)
    docked.healthy("plain")
    assert docked.running("plain") and "stopped" == docked.state("mine") and not docked.running("mine")
    assert not docked.events("start", "restart", service="mine") and 1 == len(docked.events("start", "restart", service="plain"))


@pytest.mark.parametrize("killed", [False, True], ids=["", "and-the-watchdog-is-killed"])
def test_the_engine_restarts_in_the_middle_of_an_action(docked: DockBed, killed: bool) -> None:
    """A restart of ours is cut off by the engine's own going down, and by our own: it serves again, and nobody is told."""
    web = docked.container("web", "-p", "127.0.0.1:8081:80", "--stop-timeout", "3", command=STUBBORN)
    web["probes"][0]["http"]["url"] = "http://127.0.0.1:8081/live"
    docked.watch(web)
    docked.sh("kill -STOP $(pgrep -x httpd)")
    docked.event("restart", within=30)
    if killed:
        docked.kill("selfheal-watchdog")
    docked.sh("systemctl restart docker", within=90)
    docked.event("recover", within=60)
    # It may have recovered before the engine, in going down, ended it once more.
    until(lambda: docked.running("web"), 60, docked.story)
    docked.healthy("web")
    assert len(docked.events("start", "restart")) <= 2 and not docked.events("page"), docked.story()


def test_the_engine_restarts_and_its_containers_live_on(docked: DockBed) -> None:
    """With live-restore nothing dies, so nothing is done."""
    docked.write("/etc/docker/daemon.json", json.dumps({"live-restore": True}))
    docked.sh("systemctl restart docker", within=90)
    docked.watch(docked.container("web"))
    pid = docked.told("web")["State"]["Pid"]
    docked.sh("systemctl restart docker", within=90)
    docked.healthy("web")
    docked.sh("systemctl stop docker.socket docker", within=60)
    until(lambda: [event for event in docked.events("failure") if not event.get("service")], 30, docked.story)
    docked.sh("systemctl start docker", within=60)
    docked.event("recover", within=30)
    docked.healthy("web")
    assert pid == docked.told("web")["State"]["Pid"]
    assert not docked.events("start", "restart", "page", service="web") and not docked.events("failure", service="web")


def test_the_engine_hangs(docked: DockBed) -> None:
    """C04 an engine that answers nothing is one incident of its own: its containers are unknown, and the watchdog goes on."""
    names = ["web%d" % number for number in range(4)]
    docked.watch(*(docked.container(name, probe="process") for name in names))
    pid = docked.pid("docker")
    docked.sh("kill -STOP %d" % pid)
    failure = docked.event("failure", within=40)
    assert failure["incident"].startswith("engine-") and "engine_down" == failure["data"]["reason"]
    until(
        lambda: docked.sh("curl -s -o /dev/null -w '%{http_code}' --max-time 2 http://127.0.0.1:9877/health/live") == "200", 5, docked.story
    )
    docked.sh("sleep 5")
    assert 1 == len(docked.events("failure")) and not docked.events("start", "restart", "page")
    docked.sh("kill -CONT %d" % pid)
    recovered = docked.event("recover", within=30)
    assert recovered["incident"] == failure["incident"]
    docked.kill_main("web0")
    docked.event("recover", count=2, service=None, within=30)
    assert 1 == len(docked.events("start"))


def test_no_room_under_the_engine(docked: DockBed) -> None:
    """C66 with a full disk an engine cannot start what died: one incident that ends with its own words and a person, no loop; with room
    again it serves."""
    docked.sh("systemctl stop docker.socket docker; mount -t tmpfs -o size=48m tmpfs /srv; mkdir /srv/data", within=60)
    docked.write("/etc/docker/daemon.json", json.dumps({"data-root": "/srv/data"}))
    docked.sh("systemctl start docker", within=60)
    docked.docker("import", "/var/tmp/busybox.tar", IMAGE)
    web = docked.container("web", ladder=[{"rung": "restart", "attempts": 2, "timeout": 5}], retry_every=5)
    docked.watch(web)
    docked.sh("dd if=/dev/zero of=/srv/filler bs=64k 2>/dev/null; true")
    docked.kill_main("web")
    page = docked.event("page", within=60)
    assert "ladder_exhausted" == page["data"]["reason"] and "no space left" in json.dumps(page["data"]), page
    assert 2 == len(docked.events("start", "restart")) and 1 == len(docked.events("failure"))
    docked.sh("rm /srv/filler")
    docked.event("recover", within=60)
    assert docked.running("web") and 1 == len(docked.events("page"))
