# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runbooks under ansible-runner, the engine of AWX: what a job that was cancelled leaves behind, and that the next one goes on from there.

ansible-runner kills ansible-playbook. The module that works for it goes on where the host is another one, or dies with the container of the
job; both are tried (`left`, `killed`).
"""

from __future__ import annotations

import json
import os
import pathlib
import signal
import sys
from typing import Any, Dict, Iterator, List, Set

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from runner_job import PATIENCE, Job, prepare

pytest.importorskip("ansible_runner", reason="ansible-runner is in tests/requirements-test.txt")


class Runner:
    """A private data directory of ansible-runner for the pretended host of `bed`."""

    def __init__(self, bed: Any) -> None:
        self.bed, self.folder = bed, bed.folder / "runner"
        self.jobs: List[Job] = []
        host = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": bed.python}
        prepare(self.folder, {"all": {"hosts": {"bed1": host}}}, {})

    def start(self, playbook: str, **variables: Any) -> Job:
        kept = {"selfheal_etc": str(self.bed.etc), "selfheal_controller_dir": str(self.folder / "controller")}
        job = Job(self.folder, playbook, {**kept, **variables})
        self.jobs.append(job)
        return job

    def ok(self, playbook: str, **variables: Any) -> Job:
        job = self.start(playbook, **variables)
        assert ("successful", 0) == tuple(job.end()[key] for key in ("status", "rc")), (job.told(), self.bed.events())
        return job

    def heal(self) -> Dict[str, Any]:
        """Heal to the end; what became of the service."""
        told = [one["result"] for one in self.ok("heal", selfheal_names=["web"]).events("runner_on_ok") if "incidents" in one["result"]]
        return dict(told[0]["incidents"][0])

    def leases(self) -> List[pathlib.Path]:
        return list((self.bed.folder / "run" / "leases").glob("*.json"))

    def close(self) -> None:
        for job in self.jobs:
            job.close()


@pytest.fixture
def runner(bed: Any) -> Iterator[Runner]:
    made = Runner(bed)
    yield made
    made.close()


def _contract(bed: Any, **more: Any) -> Any:
    """One that is given time to start, however busy this machine is."""
    contract = bed.service(failing_for=0.2, **more)
    contract["probes"][0].update(period=4, timeout=3)
    startup = {"role": "startup", "http": contract["probes"][0]["http"], "period": 0.1, "timeout": 0.5, "failure_threshold": 100}
    contract["resource"]["process"]["stop_timeout"] = 6
    contract.setdefault("ladder", [{"rung": "restart", "attempts": 2, "timeout": 5}])
    return {**contract, "probes": [*contract["probes"], startup]}


def _over(bed: Any, job: Job, killed: bool) -> None:
    """Cancelled; and either all that worked for it is killed, or it is waited for as long as it goes on by itself."""
    if killed:
        job.signal(signal.SIGSTOP)  # nothing gets any further while the job is cancelled
    job.stop("cancel")
    assert ("canceled", 254) == tuple(job.end()[key] for key in ("status", "rc")), job.said
    if killed:
        job.signal(signal.SIGKILL)
    bed.until(lambda: not job.processes(), PATIENCE, "what worked for the cancelled job ends within its own deadlines")


@pytest.mark.parametrize(
    ("moment", "killed"),
    [("playbook", False), ("failure", True), ("restart", False), ("restart", True)],
    ids=["at-the-start", "proven-and-killed", "in-the-restart", "in-the-restart-and-killed"],
)
def test_after_a_cancelled_heal_the_next_one_brings_the_service_back(runner: Runner, moment: str, killed: bool) -> None:
    """C51, no lease of a dead owner blocks; the service is restarted once, in one incident, whoever of the two did it."""
    bed = runner.bed
    bed.contracts(_contract(bed))
    assert "recovered" == runner.heal()["outcome"]
    os.kill(bed.pid(), signal.SIGSTOP)
    job = runner.start("heal", selfheal_names=["web"])
    if moment == "playbook":
        bed.until(lambda: job.events("playbook_on_start"), PATIENCE, "the playbook has started")
    else:
        bed.until(lambda: bed.events(moment), PATIENCE, "the timeline has a %s" % moment)
    _over(bed, job, killed)
    assert killed or not runner.leases(), "a lease is left only by who was killed with it"
    healed = runner.heal() if not bed.events("recover") else None
    assert healed is None or "recovered" == healed["outcome"], healed
    assert (2, [], 1, 1) == (bed.starts(), runner.leases(), len(bed.events("failure")), len(bed.events("recover"))), bed.events()


def test_a_job_that_runs_out_of_time_leaves_a_module_that_ends_by_itself(runner: Runner) -> None:
    """AWX's timeout kills ansible-playbook only; the module ends within `wait` and its attempt's window, and gives the lease back."""
    bed = runner.bed
    bed.contracts(_contract(bed, ladder=[{"rung": "restart", "attempts": 1, "timeout": 3}, {"rung": "page"}]))
    assert "recovered" == runner.heal()["outcome"]
    (bed.folder / "web" / "bad").touch()
    job = runner.start("heal", selfheal_names=["web"], selfheal_wait=6)
    bed.event("restart", within=PATIENCE)
    job.stop("timeout")
    assert ("timeout", 254) == tuple(job.end()[key] for key in ("status", "rc"))
    bed.until(lambda: not job.processes(), PATIENCE, "the module ends by itself")
    assert [] == runner.leases()
    (bed.folder / "web" / "bad").unlink()
    assert runner.heal()["outcome"] in ("recovered", "untouched")
    assert 1 == len(bed.events("recover")) and 2 == bed.starts(), bed.events()


def _release(bed: Any, name: str) -> Dict[str, Any]:
    """What deploys a directory with one file; its build waits until somebody writes into the fifo `gate`."""
    source = bed.folder / name
    if not source.exists():
        source.mkdir()
        (source / "version").write_text(name)
    gate = bed.folder / "gate"
    return {
        "root": str(bed.folder / "www"),
        "project": "web",
        "source": {"upload": {"path": str(source)}},
        "build": [{"argv": ["/bin/sh", "-c", "cat %s >> built" % gate], "timeout": 60}],
    }


def _deploy(runner: Runner, name: str) -> Dict[str, Any]:
    return {
        "selfheal_deployment": _release(runner.bed, name),
        "selfheal_release": name,
        "selfheal_root": str(runner.bed.folder / "www"),
        "selfheal_state_dir": str(runner.bed.folder / "state"),
        "selfheal_run_dir": str(runner.bed.folder / "run"),
    }


def _gate(bed: Any, closed: bool) -> None:
    gate = bed.folder / "gate"
    if gate.exists():
        gate.unlink()
    if closed:
        os.mkfifo(gate)
    else:
        gate.write_text("built")


def _serving(bed: Any) -> str:
    return (bed.folder / "www" / "web" / "current" / "version").read_text()


def _phase(bed: Any, name: str) -> str:
    path = bed.folder / "www" / "web" / ".selfheal" / "deployments" / (name + ".json")
    return str(json.loads(path.read_text())["phase"]) if path.exists() else ""


@pytest.fixture
def first(runner: Runner) -> Iterator[Runner]:
    """A host that serves the release r1."""
    (runner.bed.folder / "www").mkdir()
    _gate(runner.bed, closed=False)
    runner.ok("deploy", **_deploy(runner, "r1"))
    assert "r1" == _serving(runner.bed)
    yield runner
    for pid in _building(runner.bed):
        os.kill(pid, signal.SIGKILL)


def test_a_cancelled_deploy_goes_on_by_itself_where_its_host_does(first: Runner) -> None:
    """Only the playbook is gone: the build ends, the release serves, and the next one is deployed as if nothing had been."""
    bed = first.bed
    _gate(bed, closed=True)
    job = first.start("deploy", **_deploy(first, "r2"))
    bed.until(lambda: _phase(bed, "r2") == "building", PATIENCE, "r2 is built")
    job.stop("cancel")
    assert "canceled" == job.end()["status"]
    assert "r1" == _serving(bed)
    (bed.folder / "gate").write_text("built")
    bed.until(lambda: not job.processes(), PATIENCE, "the deployment ends by itself")
    assert ("active", "r2", []) == (_phase(bed, "r2"), _serving(bed), first.leases())
    _gate(bed, closed=False)
    first.ok("deploy", **_deploy(first, "r3"))
    assert ("r3", []) == (_serving(bed), first.leases())


def test_after_a_deploy_that_was_cancelled_and_killed_the_next_one_serves(first: Runner) -> None:
    """The lease of the dead is taken over, what it had half made is put away, and there is no instant without a release."""
    bed = first.bed
    _gate(bed, closed=True)
    job = first.start("deploy", **_deploy(first, "r2"))
    bed.until(lambda: _phase(bed, "r2") == "building", PATIENCE, "r2 is built")
    _over(bed, job, killed=True)
    assert "r1" == _serving(bed) and first.leases(), "it died with its leases"
    _gate(bed, closed=False)
    first.ok("deploy", **_deploy(first, "r3"))
    assert ("r3", "failed", []) == (_serving(bed), _phase(bed, "r2"), first.leases())


@pytest.mark.parametrize("playbook", ["reconcile", "resume"])
def test_what_takes_up_was_cancelled_and_killed_and_is_done_by_the_next(first: Runner, playbook: str) -> None:
    """Cut off twice, in a deployment and in taking it up: the third brings it to its end, and a fourth finds nothing to do."""
    bed = first.bed
    _gate(bed, closed=True)
    job = first.start("deploy", **_deploy(first, "r2"))
    bed.until(lambda: _phase(bed, "r2") == "building", PATIENCE, "r2 is built")
    _over(bed, job, killed=True)
    before = _building(bed)
    resumed = first.start(playbook, **_deploy(first, "r2"), selfheal_stuck_after=0)
    bed.until(lambda: _building(bed) - before, PATIENCE, "the build was begun again")
    _over(bed, resumed, killed=True)
    assert "r1" == _serving(bed)
    _gate(bed, closed=False)
    first.ok(playbook, **_deploy(first, "r2"), selfheal_stuck_after=0)
    assert ("r2", "active", []) == (_serving(bed), _phase(bed, "r2"), first.leases())
    again = first.ok(playbook, **_deploy(first, "r2"), selfheal_stuck_after=0)
    assert {} == again.said[-1]["stats"]["changed"]


def _building(bed: Any) -> Set[int]:
    """Builds that wait at the gate; they have an environment of their own."""
    found = set()
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(bed.folder / "gate").encode() in path.read_bytes():
                found.add(int(path.parent.name))
        except OSError:
            continue  # it has ended meanwhile
    return found


def test_a_cancelled_rollback_is_one_or_the_other(first: Runner) -> None:
    """Killed as soon as it begins: the host serves the one release or the other, whole, and the next rollback goes through."""
    bed = first.bed
    for name in ("r2", "r3"):
        first.ok("deploy", **_deploy(first, name))
    job = first.start("rollback", selfheal_hosts="bed1", **_deploy(first, "r2"))
    bed.until(lambda: job.events("playbook_on_task_start", "Go back"), PATIENCE, "the rollback is asked for")
    _over(bed, job, killed=True)
    assert _serving(bed) in ("r2", "r3")
    first.ok("rollback", selfheal_hosts="bed1", **_deploy(first, "r2"))
    assert ("r2", []) == (_serving(bed), first.leases())
