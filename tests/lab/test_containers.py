# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers on a real Docker Engine that is killed, hangs, is stopped and is restarted, with the watchdog beside it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any, Callable, Dict

import pytest
from bed import Bed, until

IMAGE = "lab/busybox:1"
LINKS = ("sh", "sleep", "httpd", "cat", "test", "ls", "touch", "rm", "dd", "echo", "tail")
SERVE = "mkdir -p /www && echo ok > /www/live && exec httpd -f -p 80 -h /www"


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tar of a root with one static program."""
    program = shutil.which("busybox")
    if program is None:
        pytest.skip("there is no busybox on this machine (apt-get install busybox-static)")
    root = tmp_path_factory.mktemp("busybox")
    (root / "tree" / "bin").mkdir(parents=True)
    (root / "tree" / "tmp").mkdir()
    shutil.copy(program, root / "tree" / "bin" / "busybox")
    for link in (*LINKS, "mkdir"):
        os.symlink("busybox", root / "tree" / "bin" / link)
    path = root / "busybox.tar"
    subprocess.run(["tar", "-C", str(root / "tree"), "-cf", str(path), "."], check=True)
    return str(path)


class DockBed(Bed):
    """A host with the watchdog and an engine."""

    program = "docker"

    def engine_up(self, tar: str) -> None:
        self.sh("systemctl start docker", within=60)
        self.copy(tar, "/var/tmp/busybox.tar")
        self.docker("import", "/var/tmp/busybox.tar", IMAGE)

    def docker(self, *argv: str, expect: Any = 0, within: float = 60.0) -> str:
        return self.run(self.program, *argv, expect=expect, within=within).stdout.strip()

    def container(self, name: str, *options: str, command: str = SERVE, probe: str = "http", **more: Any) -> Dict[str, Any]:
        """Run a container; its contract with short times."""
        self.docker("run", "-d", "--name", name, *options, IMAGE, "/bin/sh", "-c", command)
        return self.of(name, probe, **more)

    def of(self, name: str, probe: str = "http", **more: Any) -> Dict[str, Any]:
        address = self.docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", name)
        target: Dict[str, Any] = {"http": {"url": "http://%s/live" % address}} if probe == "http" else {"process": {}}
        contract = {**self.contract(name, 1), "resource": {"container": name}, **more}
        contract["probes"] = [{"role": "liveness", **target, "period": 1, "timeout": 0.5 if probe == "http" else 2}]
        return contract

    def told(self, name: str) -> Dict[str, Any]:
        found: Dict[str, Any] = json.loads(self.docker("inspect", name))[0]
        return found

    def running(self, name: str) -> bool:
        return bool(self.told(name)["State"]["Running"])


@pytest.fixture
def docked(new_bed: Callable[..., Bed], distribution: str, busybox: str) -> DockBed:
    """A fresh host of each Debian with Docker Engine inside."""
    bed = new_bed(distribution, docker=True)
    made = DockBed(bed.name, bed.distribution)
    made.engine_up(busybox)
    return made


def kill_main(bed: DockBed, name: str) -> float:
    """Kill its main process behind the engine's back; the wall time of it."""
    pid = bed.told(name)["State"]["Pid"]
    return float(bed.sh("kill -KILL %d; date +%%s.%%N" % pid))


def test_killed_and_nothing_else_restarts_it(docked: DockBed, measured: Callable[[str], None]) -> None:
    """kill -9 of the main process, policy no: seen at once, started once, proven, timed."""
    docked.watch(docked.container("web"))
    before = docked.told("web")
    kill_main(docked, "web")
    recovered = docked.event("recover")
    failure, started = docked.events("failure")[0], docked.events("start")
    after = docked.told("web")
    assert "gone" == failure["data"]["reason"]
    assert 1 == len(started) and not docked.events("restart")
    assert recovered["incident"] == failure["incident"]
    assert after["Id"] == before["Id"] and after["State"]["StartedAt"] > before["State"]["StartedAt"]
    measured("%s: died → serving %d ms" % (docked.distribution, recovered["data"]["recovery_duration_ms"]))
    docked.selfheal("timeline", "verify")


def test_its_own_health_check_calls_it_unhealthy(docked: DockBed, measured: Callable[[str], None]) -> None:
    """C06 Docker never acts on unhealthy: restarted once, and its recovery is proven by its own health check."""
    check = ("--health-cmd", "test ! -e /tmp/bad", "--health-interval", "1s", "--health-retries", "2")
    web = docked.container("web", *check, "--stop-timeout", "1", command="rm -f /tmp/bad; " + SERVE, probe="process")
    docked.watch(web)
    docked.docker("exec", "web", "touch", "/tmp/bad")
    recovered = docked.event("recover", within=40)
    failure, restarts = docked.events("failure")[0], docked.events("restart")
    assert "liveness_failed" == failure["data"]["reason"] and "unhealthy" in failure["data"]["detail"]
    assert 1 == len(restarts) and not docked.events("page")
    assert "healthy" == docked.told("web")["State"]["Health"]["Status"]
    measured("%s: unhealthy → serving %d ms" % (docked.distribution, recovered["data"]["recovery_duration_ms"]))


def test_a_slow_starter_is_not_restarted_again(docked: DockBed) -> None:
    """C02 while its own health check is still starting no second restart comes, however short the attempt's window."""
    check = ("--health-cmd", "test -e /tmp/up", "--health-interval", "1s", "--health-retries", "12")
    command = "rm -f /tmp/up; sleep 6; touch /tmp/up; exec sleep 1000"
    web = docked.container("web", *check, "--stop-timeout", "1", command=command, probe="process")
    web["ladder"] = [{"rung": "restart", "attempts": 3, "timeout": 2}]
    docked.watch(web)
    kill_main(docked, "web")
    docked.event("recover", within=40)
    assert 1 == len(docked.events("start", "restart"))


def test_hangs(docked: DockBed) -> None:
    """SIGSTOP: running to the engine, silent to its probe; restarted once, within its own stop timeout, and the old process is gone."""
    docked.watch(docked.container("web", "--stop-timeout", "1"))
    pid = docked.told("web")["State"]["Pid"]
    docked.sh("kill -STOP %d" % pid)
    docked.event("recover", within=30)
    assert ["liveness_failed"] == [event["data"]["reason"] for event in docked.events("restart")]
    assert docked.told("web")["State"]["Pid"] != pid and not docked.lines("/proc/%d/comm" % pid)


def test_runs_out_of_memory(docked: DockBed) -> None:
    """The kernel kills it for want of memory: the incident says so, and it is started again."""
    command = "rm -f /tmp/oom.done; while [ ! -e /tmp/oom ]; do sleep 0.1; done; rm /tmp/oom; exec tail /dev/zero"
    docked.watch(docked.container("web", "-m", "16m", command=command, probe="process"))
    docked.docker("exec", "web", "touch", "/tmp/oom")
    docked.event("recover", within=40)
    assert "want of memory" in docked.events("failure")[0]["data"]["detail"]
    assert docked.running("web")


def test_crash_loop(docked: DockBed) -> None:
    """C05 C07 the policy's own restarts come first; once its pauses have grown, every attempt is one restart; then a person is told."""
    web = docked.container("web", "--restart", "always", command="[ -e /tmp/crash ] && exit 3; exec sleep 1000", probe="process")
    web["ladder"] = [{"rung": "restart", "attempts": 2, "timeout": 5}]
    docked.watch(web)
    docked.docker("exec", "web", "touch", "/tmp/crash")
    kill_main(docked, "web")
    page = docked.event("page", within=150)
    assert page["data"]["reason"] in ("ladder_exhausted", "flapping")
    attempts = [event["data"]["attempt"] for event in docked.events("start", "restart")]
    assert attempts in ([1], [1, 2])
    assert 1 == len(docked.events("failure")), docked.story()
    assert docked.told("web")["RestartCount"] >= 1


@pytest.mark.parametrize("verb", ["stop", "kill", "pause"])
def test_what_an_operator_stops_stays_so(docked: DockBed, verb: str) -> None:
    """C01 docker stop, kill and pause are people's words: the state is stopped, nothing is started, and its return is noticed."""
    docked.watch(docked.container("web", "--stop-timeout", "1"), docked.container("kept", "--stop-timeout", "1", "--restart", "always"))
    for name in ("web", "kept"):
        docked.docker(verb, name)
    for name in ("web", "kept"):
        docked.in_state(name, "stopped")
    # It stays so over a restart of the watchdog, which has heard none of the events.
    docked.sh("systemctl restart selfheal-watchdog")
    for name in ("web", "kept"):
        docked.in_state(name, "stopped")
    assert not docked.events("start", "restart", "recreate", "page")
    docked.docker("unpause" if verb == "pause" else "start", "web", "kept")
    docked.healthy("web")
    assert not docked.events("start", "restart", "page")


def test_desired_always_is_stronger_than_an_operator(docked: DockBed) -> None:
    """desired: always starts again what was stopped, and lets go on what was paused."""
    docked.watch(docked.container("web", "--stop-timeout", "1", desired="always"))
    docked.docker("stop", "web")
    docked.event("recover", within=30)
    docked.docker("pause", "web")
    docked.event("recover", count=2, within=30)
    assert docked.running("web") and not docked.told("web")["State"]["Paused"]


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
    kill_main(docked, "web0")
    docked.event("recover", count=2, service=None, within=30)
    assert 1 == len(docked.events("start"))


def test_no_room_under_the_engine(docked: DockBed) -> None:
    """C66 with a full disk an engine cannot start what died: told with its own words; once there is room it serves again."""
    docked.sh("systemctl stop docker.socket docker; mount -t tmpfs -o size=48m tmpfs /srv; mkdir /srv/data", within=60)
    docked.write("/etc/docker/daemon.json", json.dumps({"data-root": "/srv/data"}))
    docked.sh("systemctl start docker", within=60)
    docked.docker("import", "/var/tmp/busybox.tar", IMAGE)
    docked.watch(docked.container("web"))
    docked.sh("dd if=/dev/zero of=/srv/filler bs=64k 2>/dev/null; true")
    kill_main(docked, "web")
    docked.event("start", within=20)
    docked.sh("sleep 2; rm /srv/filler")
    docked.event("recover", within=60)
    assert docked.running("web")
