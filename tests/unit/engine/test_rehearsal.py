# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rehearsal on a real host: everything is looked at, the first thing that would be done is told once, and nothing is done."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from typing import Any, Dict, List

import pytest

from selfheal._core.contract import parse_services
from selfheal._core.model import WatchdogConfig
from selfheal._engine.once import Ending, Once, Tape
from selfheal._engine.rehearsal import RehearsalSite
from selfheal._probes.engine import LocalHost

NOBODY = {"role": "liveness", "tcp": {"host": "127.0.0.1", "port": 1}, "period": 0.1, "timeout": 0.1}


def rehearse(folder: pathlib.Path, **changes: Any) -> Ending:
    contract: Dict[str, Any] = {
        "name": "web",
        "resource": {"process": {"argv": [sys.executable, "-c", "import time; time.sleep(60)"]}},
        "probes": [NOBODY],
        "confirm_period": 0.1,
        "failing_for": 0.1,
    }
    services = parse_services([{**contract, **changes}])
    config = WatchdogConfig("web1", state_dir=str(folder / "var"), run_dir=str(folder / "run"))
    tapes: List[Tape] = []
    with LocalHost() as host:

        def wrap(records: Any) -> Tape:
            tapes.append(Tape(records, host))
            return tapes[0]

        site = RehearsalSite(str(folder), config, host, "module", wrap)
        try:
            return Once(site, tapes[0], services, frozenset(), rehearsal=True).run(30)[0]
        finally:
            site.timeline.close()


def test_a_first_start_is_planned_once(tmp_path: pathlib.Path) -> None:
    """What was never started would be started: one step, said in words, and nothing is there afterwards."""
    ending = rehearse(tmp_path)
    assert ("planned", "first_start", "start", False) == (ending.outcome, ending.reason, ending.action, ending.changed)
    assert ["start"] == [step.type for step in ending.steps]
    assert "web is unknown: in a real run start follows" == ending.detail
    assert [] == list(tmp_path.rglob("*"))


@pytest.fixture
def running(tmp_path: pathlib.Path) -> Any:
    """A process that serves nothing, and its pidfile."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    pidfile = tmp_path / "pid"
    pidfile.write_text("%d\n" % process.pid)
    yield {"argv": ["/bin/false"], "pidfile": str(pidfile)}
    process.kill()
    process.wait()


def test_what_would_follow_from_the_first_action_is_not_made_up(tmp_path: pathlib.Path, running: Dict[str, Any]) -> None:
    """A fault and the first rung: no second attempt, no page, and whoever reads it is not told of a person who was told."""
    ending = rehearse(tmp_path, resource={"process": running})
    assert ("planned", "liveness_failed", "restart") == (ending.outcome, ending.reason, ending.action)
    assert ["failure", "restart"] == [step.type for step in ending.steps]
    assert "web is unhealthy: in a real run restart follows" == ending.detail
