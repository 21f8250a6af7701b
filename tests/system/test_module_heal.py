# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module service_heal beside a running watchdog, and killed in the middle: one healer at a time, and the next goes on."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLLECTION = pathlib.Path(os.environ.get("SELFHEAL_COLLECTION_ROOT") or ROOT)

# Runs the module as Ansible does: arguments on standard input, the result on standard output.
RUN = """
import runpy, sys, types
def package(name, folder):
    module = types.ModuleType(name)
    module.__path__ = [folder]
    sys.modules[name] = module
root = sys.argv.pop(1)
for name in ("ansible_collections", "ansible_collections.faultline", "ansible_collections.faultline.selfheal"):
    package(name, root)
from ansible.module_utils import basic
if hasattr(basic, "_ANSIBLE_PROFILE"):
    basic._ANSIBLE_PROFILE = "legacy"
runpy.run_module("ansible_collections.faultline.selfheal.plugins.modules.service_heal", run_name="__main__", alter_sys=False)
"""


def _module(bed: Any, **options: Any) -> subprocess.Popen[str]:
    arguments = {"etc": str(bed.etc), "names": ["web"], "wait": 60, **options}
    module = subprocess.Popen(
        [sys.executable, "-c", RUN, str(COLLECTION)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert module.stdin is not None
    module.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
    module.stdin.close()
    module.stdin = None  # communicate() is not to write there again
    return module


def _result(module: subprocess.Popen[str], within: float = 60) -> Any:
    try:
        text = module.communicate(timeout=within)[0]
    finally:
        module.kill()
    return json.loads(text[text.index("{") :])


def _contract(bed: Any, **more: Any) -> Any:
    """One that is given time to start, however busy this machine is."""
    contract = bed.service(**more)
    startup = {"role": "startup", "http": contract["probes"][0]["http"], "period": 0.1, "timeout": 0.5, "failure_threshold": 100}
    return {**contract, "probes": [*contract["probes"], startup]}


def _leases(bed: Any) -> Any:
    return list((bed.folder / "run" / "leases").glob("*.json"))


def test_both_see_one_fault_and_one_of_them_heals_it(bed: Any) -> None:
    """The module is called while the watchdog is at work on a hung service: one restart, one incident, one recovery."""
    bed.contracts(_contract(bed, failing_for=2, recovered_after=1))
    bed.watch()
    bed.healthy()
    os.kill(bed.pid(), signal.SIGSTOP)
    bed.event("failure")
    told = _result(_module(bed))
    assert "recovered" == told["incidents"][0]["outcome"], told
    assert 2 == bed.starts()
    assert (1, 1, 1) == tuple(len(bed.events(kind)) for kind in ("failure", "restart", "recover")), bed.events()
    recover = bed.event("recover")
    assert recover["incident"] == told["incidents"][0]["id"]
    assert recover["data"]["recovery_duration_ms"] == told["incidents"][0]["recovery_duration_ms"]
    assert ["failure", "restart", "recover"] == [step["type"] for step in told["incidents"][0]["steps"] if step["type"] != "blocked"]
    assert [] == _leases(bed)
    bed.healthy()
    assert "healthy" == bed.json("status", "web")["services"][0]["state"]


def test_the_watchdog_stands_back_while_the_module_acts(bed: Any) -> None:
    """In mode observe the watchdog looks on; the module heals, and the watchdog takes over what it did: no second incident."""
    bed.contracts(_contract(bed, mode="observe", recovered_after=2))
    assert "recovered" == _result(_module(bed))["incidents"][0]["outcome"]
    bed.watch()
    bed.healthy()
    os.kill(bed.pid(), signal.SIGSTOP)
    bed.event("failure")
    told = _result(_module(bed))
    assert ("recovered", True) == (told["incidents"][0]["outcome"], told["changed"]), told
    bed.event("recover")
    assert (1, 1, 1) == tuple(len(bed.events(kind)) for kind in ("failure", "restart", "recover")), bed.events()
    bed.until(lambda: bed.json("status", "web")["services"][0]["state"] == "healthy", 10, "the watchdog sees it well")
    assert 2 == bed.starts() and [] == _leases(bed)


def test_a_module_killed_in_its_restart_leaves_it_to_the_next(bed: Any) -> None:
    """Killed with the lease in its hands in the middle of a restart: the next run takes over and brings the service back, once."""
    contract = _contract(bed, failing_for=0.2)
    contract["resource"]["process"]["stop_timeout"] = 3
    contract["ladder"] = [{"rung": "restart", "attempts": 2, "timeout": 5}]
    bed.contracts(contract)
    assert "recovered" == _result(_module(bed))["incidents"][0]["outcome"]
    os.kill(bed.pid(), signal.SIGSTOP)
    first = _module(bed)
    bed.event("restart")
    first.kill()
    first.communicate(timeout=10)
    assert 1 == len(_leases(bed)), "it died with the lease in its hands"
    told = _result(_module(bed))
    assert "recovered" == told["incidents"][0]["outcome"], told
    assert bed.events("lease_takeover") and [] == _leases(bed)
    assert 2 == bed.starts()
    assert 1 == len(bed.events("failure")) and 1 == len(bed.events("recover"))


def test_the_service_outlives_the_module(bed: Any) -> None:
    """What the module started goes on when it has ended, holds none of its pipes, and is left alone by the next run."""
    bed.contracts(_contract(bed))
    module = _module(bed)
    assert "first_start" == _result(module, 20)["results"][0]["reason"]
    assert bed.alive(bed.pid())
    told = _result(_module(bed))
    assert (False, "unchanged") == (told["changed"], told["results"][0]["outcome"]) and 1 == bed.starts()
