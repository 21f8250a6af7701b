# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Diagnostics of a failing service: gathered from a real host, and in time beside a healer that must not wait for them."""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
from typing import Any, Iterator

import pytest
from healing import Stage

from selfheal._actuators.base import Evidence, Timed
from selfheal._actuators.container import ContainerActuator
from selfheal._actuators.container_engine import ContainerEngine
from selfheal._core import contract
from selfheal._core.cause import Cause, Probable
from selfheal._core.errors import RecordError
from selfheal._engine import diagnostics, gathering, snapshot
from selfheal._engine.diagnostics import AT_ONCE, Diagnosis, Diagnostics
from selfheal._engine.gathering import Gathering, Report
from selfheal._engine.job import Job
from selfheal._engine.subject import Subject
from selfheal._engine.surroundings import Wiring
from selfheal._engine.world import GOOD, VirtualStep
from selfheal._probes.engine import LocalHost
from selfheal._records.diagnostics import Bundles

PROBE = {"role": "liveness", "tcp": {"host": "127.0.0.1", "port": 9}}


# -- beside a healer ---------------------------------------------------------------------------------------------------


class Slow(VirtualStep):
    def __init__(self, takes: float) -> None:
        self.takes = takes

    def plan(self, now: float, deadline: float) -> Any:
        return min(deadline, now + self.takes), GOOD


class Scripted(Diagnostics):
    """Diagnostics whose gathering takes a scripted time on the virtual clock."""

    takes = 0.3
    fault: Any = None
    looks = 0


@pytest.fixture
def shared(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Scripted:
    made = Scripted(Bundles(str(tmp_path)), "h1")

    def work(self: Diagnosis) -> Any:
        subject, host = self._subject, self._host
        made.looks += 1
        yield Timed(Slow(made.takes), max(0.0, self._until - host.monotonic()))
        if made.fault is not None:
            raise made.fault
        report = Report(
            incident=subject.incident, took_ms=7, probable_cause="disk_full", probable_detail="/var is full", alive=subject.alive
        )
        report.cause = Cause(Probable.DISK_FULL, "/var is full")
        return report

    monkeypatch.setattr(Diagnosis, "_work", work)
    return made


def told(stage: Stage) -> list[tuple[float, str]]:
    wanted = ("failure", "note", "start", "restart", "page", "blocked")
    return [(round(event["at"], 3), event["type"]) for event in stage.records.events if event["type"] in wanted]


def said(stage: Stage, type: str) -> list[Any]:
    return [event["data"] for event in stage.records.events if event["type"] == type]


def test_what_lives_is_looked_into_while_its_failure_proves_itself(shared: Scripted) -> None:
    """The bundle stands in the timeline before the first restart, and cost it no time; the restart names the cause."""
    stage = Stage().watch(wiring=Wiring(diagnostics=shared)).until(5).answers("bad").until(20)
    assert told(stage)[:2] == [(10.5, "failure"), (15, "restart")]
    restart = said(stage, "restart")[0]
    assert (restart["probable_cause"], restart["probable_detail"]) == ("disk_full", "/var is full")
    assert hashlib.sha256(pathlib.Path(restart["diagnostics"]).read_bytes()).hexdigest() == restart["sha256"]


def test_an_action_waits_at_most_two_seconds_for_them(shared: Scripted) -> None:
    """With no time to prove itself the restart comes when they are there, and after 2 s whatever hangs."""
    stage = Stage(failing_for=0).watch(wiring=Wiring(diagnostics=shared)).until(5).answers("bad").until(14)
    assert told(stage)[:2] == [(10.5, "failure"), (10.8, "restart")]
    shared.takes = 999
    shutil.rmtree(shared.bundles.directory)
    stage = Stage(failing_for=0).watch(wiring=Wiring(diagnostics=shared)).until(5).answers("bad").until(14)
    assert [at for at, type in told(stage) if type == "restart"] == [12.5]


def test_what_is_dead_is_started_at_once_and_looked_into_beside(shared: Scripted) -> None:
    """A start waits for nothing."""
    stage = Stage().watch(wiring=Wiring(diagnostics=shared)).until(5)
    stage.body.alive = False
    stage.body.ends(stage.world.host)
    stage.until(30)
    assert told(stage) == [(5, "failure"), (5, "start")]
    assert "diagnostics" not in said(stage, "start")[0] and said(stage, "recover")[0]["probable_cause"] == "disk_full"


def test_a_page_waits_at_most_two_seconds_for_the_cause(shared: Scripted) -> None:
    """A start that fails at once leaves a person nothing to read: told when the cause is known, and after 2 s whatever hangs."""
    for takes, page in ((0.5, 5.5), (999, 7)):
        shared.takes = takes
        shutil.rmtree(shared.bundles.directory, ignore_errors=True)
        stage = Stage(ladder=[{"rung": "restart", "attempts": 1, "timeout": 3}]).watch(wiring=Wiring(diagnostics=shared)).until(5)
        stage.actuator.fails = True
        stage.body.alive = False
        stage.body.ends(stage.world.host)
        stage.until(20)
        assert [at for at, type in told(stage) if type in ("start", "page")] == [5, page]
        assert said(stage, "page")[0].get("probable_cause") == ("disk_full" if takes == 0.5 else None)


@pytest.mark.parametrize("fault", [RuntimeError("out of ideas"), OSError(28, "No space left on device")])
def test_whatever_breaks_in_them_heals_all_the_same(shared: Scripted, fault: Exception) -> None:
    """The event says what broke, once, and the restart comes when it would have come."""
    shared.fault = fault
    stage = Stage().watch(wiring=Wiring(diagnostics=shared)).until(5).answers("bad").until(40)
    assert told(stage)[:2] == [(10.5, "failure"), (15, "restart")]
    restart = said(stage, "restart")[0]
    assert str(fault) in restart["diagnostics_problem"] and "diagnostics" not in restart


def test_a_full_disk_is_said_and_the_cause_is_told_all_the_same(shared: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """No bundle, but what it would have said stands in the timeline."""

    def full(*_args: Any) -> Any:
        raise RecordError("no room")

    monkeypatch.setattr(Bundles, "keep", full)
    stage = Stage().watch(wiring=Wiring(diagnostics=shared)).until(5).answers("bad").until(20)
    restart = said(stage, "restart")[0]
    assert "no room" in restart["diagnostics_problem"] and restart["probable_cause"] == "disk_full" and "sha256" not in restart


def test_an_incident_has_one_bundle_also_over_a_restart_of_the_watchdog(shared: Scripted) -> None:
    """One look before the first step; a second attempt, a page or another process looks no more. A new incident does."""
    stage = Stage(ladder=[{"rung": "restart", "attempts": 2}]).watch(wiring=Wiring(diagnostics=shared)).until(5).answers("bad").until(20)
    stage.watch(wiring=Wiring(diagnostics=shared)).until(60)
    assert shared.looks == 1
    assert len({each["sha256"] for each in said(stage, "restart") + said(stage, "page")}) == 1
    assert said(stage, "page")[0]["probable_cause"] == "disk_full"
    stage.answers("ok").until(80).answers("bad").until(120)
    assert shared.looks == 2
    assert said(stage, "recover")[0]["probable_detail"] == "/var is full"


def test_killed_between_bundle_and_memory_it_is_taken_up(shared: Scripted) -> None:
    """The bundle of a watchdog that died is the incident's; what it says is believed, not gathered again."""
    stage = Stage().watch(wiring=Wiring(diagnostics=shared)).until(5).answers("bad").until(11)
    incident = stage.healer.memory.incident
    assert incident is not None
    shared.bundles.keep(incident.id, {"incident": incident.id, "probable_cause": "port_taken", "probable_detail": "by nginx"})
    stage.watch(wiring=Wiring(diagnostics=shared)).until(20)
    restart = said(stage, "restart")[0]
    assert restart["probable_cause"] == "port_taken" and restart["diagnostics"] == shared.bundles.path(incident.id)


def test_when_everything_fails_a_few_are_looked_into_at_a_time(tmp_path: pathlib.Path) -> None:
    """Turns are given out in order, and given back also by who lets go while it waits."""
    shared = Diagnostics(Bundles(str(tmp_path)), "h1")
    begun: list[int] = []

    class Waiting:
        def __init__(self, number: int) -> None:
            self.number = number

        def start(self) -> None:
            begun.append(self.number)

    waiting = [Waiting(n) for n in range(AT_ONCE + 3)]
    assert [shared.turn_for(each) for each in waiting] == [True] * AT_ONCE + [False] * 3  # type: ignore[arg-type]
    shared.leave(waiting[AT_ONCE])  # type: ignore[arg-type]
    shared.over()
    assert begun == [AT_ONCE + 1]
    shared.over()
    shared.over()
    assert begun == [AT_ONCE + 1, AT_ONCE + 2]


def test_a_mode_that_does_nothing_still_tells_why(shared: Scripted) -> None:
    """In observe nothing is disrupted; the page that calls a person names the probable cause."""
    stage = Stage(mode="observe").watch(wiring=Wiring(diagnostics=shared)).until(5).answers("bad").until(20)
    assert said(stage, "page")[0]["probable_cause"] == "disk_full"


# -- from a real host --------------------------------------------------------------------------------------------------


@pytest.fixture
def host() -> Iterator[LocalHost]:
    made = LocalHost()
    yield made
    made.close()


def gathered(host: LocalHost, subject: Subject, within: float = 10.0) -> Report:
    found: list[Any] = []

    class Owner:
        wake = 0.0

    def broken(error: Exception) -> Any:
        raise error

    job: Job[Any] = Job(host, Gathering(subject, host, host.monotonic() + within).work(), Owner(), found.append, broken)
    job.begin()
    end = host.monotonic() + within + 5
    while not found and host.monotonic() < end:
        for handle in host.poll(host.monotonic() + 1.0):
            job.ended(handle)
    report: Report = found[0]
    return report


def subject(**changes: Any) -> Subject:
    service = contract.parse_services(
        [{"name": "web", "resource": {"process": {"argv": ["/bin/x"]}}, "probes": [changes.pop("probe", PROBE)]}]
    )[0]
    given = {"failure_time": time.time(), "alive": False, "pid": 0, "ended": "gone", "evidence": Evidence()}
    return Subject(service=service, incident="web-1", **{**given, **changes})


def test_a_living_process_is_described(host: LocalHost) -> None:
    """Its state, limits, open files, who listens, top processes, disks: without its environment, in little time."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        began = time.monotonic()
        report = gathered(
            host, subject(alive=True, pid=os.getpid(), probe={"role": "liveness", "tcp": {"host": "127.0.0.1", "port": port}})
        )
        took = time.monotonic() - began
    sections = report["sections"]
    assert sections["process"]["open_files"] > 3 and any(line.startswith("Max open files") for line in sections["process"]["limits"])
    assert {"address": "127.0.0.1", "port": port, "pid": os.getpid(), "name": "pytest"}.items() <= next(
        {**each, "name": "pytest"} for each in sections["listening"] if each["port"] == port
    ).items()
    assert any(each["mount"] == "/" and each["free_bytes"] > 0 for each in sections["disks"])
    assert len(sections["processes"]["by_memory"]) == 10 and sections["host"]["memory"]["MemTotal"]
    assert report["probable_cause"] in ("unknown", "disk_full", "oom_killed") and took < 8
    assert "environ" not in str(sections)


def test_who_took_the_port_is_named(host: LocalHost) -> None:
    """A dead service whose port somebody else has had since before the failure: port_taken, with the culprit."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        report = gathered(host, subject(pid=4194304, probe={"role": "liveness", "http": {"url": "http://127.0.0.1:%d/" % port}}))
    assert report["probable_cause"] == "port_taken" and "(pid %d)" % os.getpid() in report["probable_detail"]


def test_the_instance_that_came_back_is_no_culprit(host: LocalHost) -> None:
    """Who listens since after the failure is the service itself, started beside."""
    code = "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); sys.stdin.read()"
    failed = time.time() - 1.0
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdin is not None
        port = int(child.stdout.readline())
        report = gathered(host, subject(failure_time=failed, probe={"role": "liveness", "tcp": {"host": "127.0.0.1", "port": port}}))
        child.stdin.close()
    assert report["probable_cause"] != "port_taken"


def test_its_log_is_read_and_a_program_that_is_missing_is_named(host: LocalHost, tmp_path: pathlib.Path) -> None:
    """The last lines of the file it writes; what cannot be had stands under problems, and costs the rest nothing."""
    log = tmp_path / "web.log"
    log.write_text("".join("line %d\n" % n for n in range(500)) + "bind: Address already in use\n")
    commands = (("inspect", ("/nowhere/docker", "inspect", "web")),)
    report = gathered(host, subject(evidence=Evidence({"exit_status": 1}, log=str(log), commands=commands)))
    assert report["sections"]["log"][-1] == "bind: Address already in use" and len(report["sections"]["log"]) == 200
    assert report["probable_cause"] == "port_taken"
    assert "/nowhere/docker" in report["problems"]["inspect"]


def test_a_program_that_hangs_takes_no_more_than_its_time(host: LocalHost) -> None:
    """C21 the whole ends by its deadline; what came too late is left out and named."""
    began = time.monotonic()
    report = gathered(host, subject(evidence=Evidence(commands=(("hangs", ("/bin/sleep", "60")),) * 3)), within=1.0)
    assert time.monotonic() - began < 3.0
    assert "did not end in time" in report["problems"]["hangs"] or "no time" in report["problems"]["hangs"]
    assert report["sections"]["host"] and "disks" in report["problems"]


def test_what_is_mounted_read_only_is_full_for_nobody() -> None:
    """A read-only file system without a free block is no cause of anything."""
    fixed = gathering._mounted_read_only()
    with open("/proc/self/mounts", encoding="utf-8") as file:
        shown = {line.split()[1]: "ro" in line.split()[3].split(",") for line in file if "\\" not in line.split()[1]}
    assert {place for place in fixed if " " not in place} == {place for place, read_only in shown.items() if read_only}


def test_work_is_done_in_slices() -> None:
    """C13 looking through many processes pauses every few milliseconds, so that no probe waits for it."""
    clock = iter(n * 0.003 for n in range(100000))
    pacer = snapshot.Pacer(lambda: next(clock))
    assert [pacer.over() for _look in range(3)] == [False, True, True]
    pacer.again()
    assert not pacer.over()
    assert diagnostics.LIVE == 2.0


SS = """LISTEN 0      511          0.0.0.0:80        0.0.0.0:*    users:(("nginx",pid=812,fd=6),("nginx",pid=811,fd=6))
LISTEN 0      4096   127.0.0.53%lo:53        0.0.0.0:*    users:(("systemd-resolve",pid=301,fd=14))
LISTEN 0      128             [::]:22           [::]:*    users:(("sshd",pid=700,fd=4))
LISTEN 0      128        127.0.0.1:9877      0.0.0.0:*
nonsense
"""


def test_who_listens_is_read_as_ss_tells_it() -> None:
    """Ports and their first owner; a line without one, or that is none, tells nothing."""
    assert snapshot.owners(SS) == {80: 812, 53: 301, 22: 700}
    listener = snapshot.Listener("0.0.0.0", 80)
    assert snapshot.owned(listener, os.getpid()).pid == os.getpid() and snapshot.owned(listener, 4194304) == listener


def test_a_container_tells_how_it_ended() -> None:
    """Killed for want of memory, exit status, restarts: from what the engine said last; its log is asked of the engine it lives on."""
    actuator = ContainerActuator("web", ContainerEngine("unix:///run/docker.sock"))
    assert actuator.evidence().told["exit_status"] is None
    state = {"Status": "exited", "OOMKilled": True, "ExitCode": 137, "Pid": 0, "Health": {"Status": "unhealthy"}}
    actuator._told = {"Id": "c0ffee", "RestartCount": 4, "State": state, "Config": {"Env": ["PASSWORD=hunter2"]}}
    evidence = actuator.evidence()
    assert evidence.told["Result"] == "oom-kill" and evidence.told["exit_status"] == 137 and "hunter2" not in str(evidence)
    assert evidence.commands[0][1][:4] == ("docker", "--host", "unix:///run/docker.sock", "logs")


def test_a_container_killed_for_memory_is_said_to_be(host: LocalHost) -> None:
    """What the resource itself said leads to the cause."""
    report = gathered(host, subject(evidence=Evidence({"Result": "oom-kill", "exit_status": 137})))
    assert report["probable_cause"] == "oom_killed"
