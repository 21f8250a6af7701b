# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demonstration as a newcomer runs it: the installed tarball, a real service, real faults, real signals."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable, Dict, Iterator, List, Optional

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLLECTION = pathlib.Path(os.environ.get("SELFHEAL_COLLECTION_ROOT") or ROOT)
PLAYBOOK = shutil.which("ansible-playbook", path=os.path.dirname(sys.executable) + ":" + os.environ["PATH"])


ONLY_FAULTS = ("-e", "drill_deployments=false")


class Demo:
    """One stage in a directory whose name has a space, and runs of the drill on it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.stage = folder / "the stage"
        self.log = folder / "output"
        collections = folder / "collections"
        if COLLECTION.parts[-3:] == ("ansible_collections", "faultline", "selfheal"):
            collections = COLLECTION.parents[2]
        else:
            (collections / "ansible_collections" / "faultline").mkdir(parents=True)
            (collections / "ansible_collections" / "faultline" / "selfheal").symlink_to(COLLECTION)
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        self.environment.update(
            ANSIBLE_COLLECTIONS_PATH=str(collections), ANSIBLE_HOME=str(folder / "ansible"), LC_ALL="C.UTF-8",
            ANSIBLE_PYTHON_INTERPRETER=getattr(sys, "_base_executable", sys.executable),
            ANSIBLE_STDOUT_CALLBACK="faultline.selfheal.drill", SELFHEAL_DEMO_DIRECTORY=str(self.stage),
        )  # fmt: skip

    def start(self, *more: str) -> "subprocess.Popen[bytes]":
        argv = [str(PLAYBOOK), "-i", str(ROOT / "inventories" / "demo"), "faultline.selfheal.drill", *more]
        with open(self.log, "wb") as output:
            return subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self.environment, start_new_session=True
            )

    def run(self, *more: str) -> int:
        return self.start(*more).wait(240)

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def processes(self) -> List[str]:
        """Everything that runs with the stage's directory in its arguments or environment: watchdog, service, guard, keepers, Ansible."""
        found = []
        mark = str(self.stage).encode()
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                about = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
            except OSError:
                continue  # it ended meanwhile, or is another user's
            if any(mark in words for words in about):
                found.append("%s %r" % (entry.name, about[0][:200]))
        return found

    def nothing_left(self, until: Any) -> None:
        until(lambda: not self.processes(), 20, "every process of the drill has ended; left: %s" % self.processes())


@pytest.fixture
def until() -> Callable[[Callable[[], Any], float, str], Any]:
    def wait(true: Callable[[], Any], seconds: float, what: str) -> Any:
        """Wait for something that really happens elsewhere, at most so long."""
        end = time.monotonic() + seconds
        while True:
            found = true()
            if found:
                return found
            if time.monotonic() > end:
                raise AssertionError("not within %g s: %s" % (seconds, what))
            time.sleep(0.05)

    return wait


@pytest.fixture
def demo() -> Iterator[Demo]:
    if PLAYBOOK is None:
        pytest.skip("needs ansible-playbook beside this Python, as `make test` has it")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="selfheal-demo-"))
    made = Demo(folder)
    yield made
    if made.stage.is_dir():
        stage = made.stage / "bin" / "stage.py"
        if stage.exists():
            subprocess.run([sys.executable, "-I", str(stage), "stop", str(made.stage)], check=False, timeout=60)
    shutil.rmtree(folder)


def rows(output: str) -> Dict[str, List[str]]:
    """The table's lines by fault, each as a list of its words."""
    lines = re.findall(r"^  localhost +web +(kill|hang) +(.*)$", output, re.MULTILINE)
    return {fault: rest.split() for fault, rest in lines}


def words(output: str) -> List[str]:
    return re.findall(r"^ +\+\d+ ms +(\w+)", output, re.MULTILINE)


def test_every_step_is_shown_and_a_second_run_works(demo: Demo, until: Any) -> None:
    """Kill and hang are followed from failed to proven, both are healed by a restart, the timeline is verified; so they are again."""
    for _run in range(2):
        assert 0 == demo.run(*ONLY_FAULTS), demo.output
        shown = words(demo.output)
        assert [["failed", "detected", "start", "serving", "proven"], ["failed", "detected", "restart", "serving", "proven"]] == [
            [word for word in part if word in ("failed", "detected", "start", "restart", "serving", "proven")]
            for part in (shown[: shown.index("proven") + 1], shown[shown.index("proven") + 1 :])
        ], demo.output
        found = rows(demo.output)
        assert {"kill": "good", "hang": "good"} == {fault: cells[-1] for fault, cells in found.items()}
        assert re.search(r"timeline +verified, \d+ events\n +head +\d+:[0-9a-f]{64}\n +path +%s" % re.escape(str(demo.stage)), demo.output)
        assert "\x1b" not in demo.output
        demo.nothing_left(until)


def test_releases_are_deployed_and_every_way_of_failing_is_shown(demo: Demo, until: Any) -> None:
    """C46: never ready, failing later, killed while building, a link broken by hand: each ends with a release that serves."""
    patient = '{"drill_faults": ["kill"], "drill_limits": {"detected_ms": 5000, "restart_ms": 5000}}'
    assert 0 == demo.run("-e", patient), demo.output
    told = demo.output[demo.output.index("releases of shop") :]
    assert re.findall(r"^  (deployed|swapped back|rolled back|resumed|reconciled|timeline) +\S", told, re.MULTILINE) == [
        "deployed", "swapped back", "rolled back", "resumed", "reconciled", "timeline",
    ]  # fmt: skip
    assert "restart, then rollback, and v1 serves" in told
    journals = sorted((demo.stage / "www" / "shop" / ".selfheal" / "deployments").glob("v*.json"))
    found = {path.stem: json.loads(path.read_text()) for path in journals}
    assert {name: entry["phase"] for name, entry in found.items()} == {"v1": "active", "v2": "failed", "v3": "active", "v4": "active"}
    assert found["v2"]["standing"]["word"] == found["v3"]["standing"]["word"] == "bad"
    assert os.readlink(demo.stage / "www" / "shop" / "current") == "deployments/v4"
    demo.nothing_left(until)


def test_a_run_killed_while_it_deploys_leaves_no_process(demo: Demo, until: Any) -> None:
    """The deployment in the background would go on and start its service; it is ended with everything else."""
    playbook = demo.start("-e", '{"drill_faults": ["kill"], "drill_limits": {"detected_ms": 5000, "restart_ms": 5000}}')
    journal = demo.stage / "www" / "shop" / ".selfheal" / "deployments" / "v4.json"
    until(lambda: journal.exists() or playbook.poll() is not None, 200, "the deployment in the background began")
    assert playbook.poll() is None, demo.output
    playbook.send_signal(signal.SIGKILL)
    assert playbook.wait(20) != 0
    demo.nothing_left(until)


def test_a_bad_verdict_is_a_bad_exit(demo: Demo, until: Any) -> None:
    """A recovery that is slower than its limit fails the run, says by how much, and still leaves nothing behind."""
    assert 0 != demo.run(*ONLY_FAULTS, "-e", '{"drill_faults": ["kill"], "drill_limits": {"detected_ms": -1}}')
    assert "bad" == rows(demo.output)["kill"][-1]
    assert re.search(r"bad: kill of web: detected after \d+ ms, allowed are -1", demo.output), demo.output
    demo.nothing_left(until)


def test_a_port_that_is_taken_is_replaced_and_that_is_said(demo: Demo, until: Any) -> None:
    """Another program on the wished port costs a line of output, not the demonstration."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        port = other.getsockname()[1]
        assert 0 == demo.run(*ONLY_FAULTS, "-e", '{"drill_faults": ["kill"], "demo_stage_service_port": %d}' % port), demo.output
    assert "port %d is taken by another program" % port in demo.output
    assert "good" == rows(demo.output)["kill"][-1]
    demo.nothing_left(until)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("fault", ["kill", "hang"])
def test_an_interrupted_drill_leaves_no_process(demo: Demo, until: Any, number: signal.Signals, fault: str) -> None:
    """C68: whatever ends the run in the middle of a fault, watchdog, service, the process beside the fault and Ansible's own end too."""
    playbook = demo.start(*ONLY_FAULTS, "-e", '{"drill_faults": ["%s"]}' % fault)
    until(lambda: "failed" in words(demo.output) or playbook.poll() is not None, 60, "the fault was injected")
    assert playbook.poll() is None, demo.output
    assert len(demo.processes()) >= 3
    playbook.send_signal(number)
    code: Optional[int] = playbook.wait(20)
    assert code != 0
    demo.nothing_left(until)
