# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runbooks as jobs of AWX's engine, over SSH, on real hosts, cancelled wherever it may hit them: the next run brings them to their end.

ansible-runner kills ansible-playbook, so the task under way goes on on its host, or has not begun there. Deployments and healing:
`tests/system/test_runner.py`.
"""

from __future__ import annotations

import json
import pathlib
import sys
from typing import Any, Callable, Dict, Iterator, List

import lab
import pytest
from bed import until
from fleet import Fleet
from test_playbooks import events, serving, wait_for, watched, web_pid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))
from runner_job import PATIENCE, Job, prepare

LEFT = "ls -d /etc/selfheal /var/lib/selfheal /run/selfheal /usr/local/lib/selfheal /usr/local/bin/selfheal 2>/dev/null || true"


class Jobs:
    """Jobs on the hosts of a fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.made: List[Job] = []
        self.private = fleet.folder / "runner"
        inventory = json.loads(pathlib.Path(fleet.inventory()).read_text())
        prepare(self.private, inventory, {"ANSIBLE_SSH_CONTROL_PATH_DIR": fleet.sockets})

    def start(self, playbook: str, **variables: Any) -> Job:
        job = Job(self.private, playbook, {"selfheal_controller_dir": str(self.private / "controller"), **variables})
        self.made.append(job)
        return job

    def ok(self, playbook: str, **variables: Any) -> Dict[str, Any]:
        """To its end, which must be a good one; what Ansible counted."""
        job = self.start(playbook, **variables)
        said = job.end(4 * PATIENCE)
        assert ("successful", 0) == (said["status"], said["rc"]), job.told()
        assert job.events("playbook_on_stats")
        return dict(said["stats"])

    def cancelled(self, playbook: str, when: Callable[[Job], Any], **variables: Any) -> bool:
        """Begun, and cancelled as soon as that is so; False if it was quicker."""
        job = self.start(playbook, **variables)
        until(lambda: when(job) or job.events("playbook_on_stats"), PATIENCE, lambda: "%s: %s" % (playbook, job.told()))
        job.stop("cancel")
        said = job.end()
        assert said["status"] in ("canceled", "successful"), (said, job.told())
        return bool(said["status"] == "canceled")

    def close(self) -> None:
        for job in self.made:
            job.close()


@pytest.fixture
def jobs() -> Iterator[Callable[[Fleet], Jobs]]:
    made: List[Jobs] = []

    def make(fleet: Fleet) -> Jobs:
        made.append(Jobs(fleet))
        return made[-1]

    yield make
    for each in made:
        each.close()


def _done(tasks: int) -> Callable[[Job], bool]:
    return lambda job: len(job.events("runner_on_ok")) >= tasks


def _on(host: lab.Host, argv: str) -> str:
    return host.sh(argv).strip()


@pytest.mark.long(200)
def test_install_and_uninstall(fleet: Callable[..., Fleet], jobs: Callable[[Fleet], Jobs]) -> None:
    """Cut off at three places each: the service never notices, the next run goes on, and in the end all of it is there, or nothing."""
    made = serving(fleet, "debian13")
    host = made.hosts["one1"]
    before, web = _on(host, LEFT), web_pid(host)
    here = jobs(made)
    cut = [here.cancelled("install", _done(tasks)) for tasks in (8, 16, 26)]
    assert any(cut) and web == web_pid(host)
    here.ok("install")
    assert {} == here.ok("install")["changed"], "a second run changes nothing"
    assert "active" == host.show("selfheal-watchdog", "ActiveState")["ActiveState"] and web == web_pid(host)
    host.sh("kill -KILL %s" % web)
    wait_for(host, "recover")
    web = web_pid(host)
    gone = {"selfheal_hosts": "all", "watchdog_purge": True}
    cut = [here.cancelled("uninstall", _done(tasks), **gone) for tasks in (6, 11, 16)]
    assert any(cut) and web == web_pid(host)
    here.ok("uninstall", **gone)
    assert before == _on(host, LEFT) and web == web_pid(host)
    assert "not-found" == host.show("selfheal-watchdog", "LoadState")["LoadState"]


@pytest.mark.long(100)
def test_hands_off_a_drill_and_looking(
    fleet: Callable[..., Fleet], jobs: Callable[[Fleet], Jobs], pyz: str, tmp_path: pathlib.Path
) -> None:
    """A hold is there or not, never half; what a cancelled drill has broken is healed by the watchdog; probe and report only look."""
    made = watched(fleet, pyz)
    host = made.hosts["one1"]
    here = jobs(made)
    held = {"selfheal_hosts": "one1", "selfheal_names": ["web"], "selfheal_reason": "migration"}
    here.cancelled("hold", lambda job: job.events("playbook_on_task_start", "Hold"), **held)
    here.ok("hold", **held)
    assert "held" in _on(host, "selfheal status")
    here.cancelled("unhold", lambda job: job.events("playbook_on_task_start", "Lift"), selfheal_hosts="one1", selfheal_names=["web"])
    here.ok("unhold", selfheal_hosts="one1", selfheal_names=["web"])
    assert "held" not in _on(host, "selfheal status")
    limits = {"detected_ms": 10_000, "restart_ms": 30_000, "hang_extra_ms": 60_000}
    drill = {"drill_hosts": "one1", "drill_limits": limits}
    here.cancelled("drill", lambda _job: events(host, "fault_inject"), **drill)
    wait_for(host, "recover")
    here.ok("drill", **drill)
    kept = {"selfheal_mirror": str(tmp_path / "fleet"), "selfheal_report": str(tmp_path / "report")}
    for playbook in ("probe", "report"):
        here.cancelled(playbook, _done(1), **kept)
        here.ok(playbook, **kept)
    assert 2 == json.loads((tmp_path / "report" / "report.json").read_text())["total"]["chains"]["intact"]
