# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A runbook that was asked for what cannot be meant says so in a sentence, before it has reached any host."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import pytest

NOWHERE = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_ssh_timeout": 2}
WEB = {"root": "/srv/www", "project": "web", "source": {"git": {"repository": "/srv/git/web.git"}}}
WHY, WHERE = "why in selfheal_reason; selfheal_for is a text such as 2h", "Say where in selfheal_hosts"
NAMES = "selfheal_names is a list of one or more names of services"
HELD = {"selfheal_names": ["web"], "selfheal_reason": "x"}


def play(place: pathlib.Path, collection: pathlib.Path, runbook: str, host: dict[str, Any], extra: dict[str, Any]) -> tuple[int, str]:
    """How a runbook ends on the host `web1`, and what it says, in one line."""
    tree = place / "ansible_collections" / "faultline"
    tree.mkdir(parents=True)
    (tree / "selfheal").symlink_to(collection)
    hosts = {"web1": {"ansible_become": False, **host}}
    (place / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
    said = {"selfheal_controller_dir": str(place / "controller"), "selfheal_hosts": "web1", **extra}
    argv = [
        sys.executable,
        "-m",
        "ansible",
        "playbook",
        "faultline.selfheal." + runbook,
        "-i",
        str(place / "hosts.yml"),
        "-e",
        json.dumps(said),
    ]
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(place),
        "ANSIBLE_HOME": str(place / "home"),
        "ANSIBLE_NOCOLOR": "1",
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=300, env=environment, cwd=place, stdin=subprocess.DEVNULL, check=False
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize(
    "runbook, extra, told",
    [
        ("deploy", {}, "selfheal_deployment needs root (an absolute path), project, and a source"),
        ("deploy", {"selfheal_deployment": {**WEB, "root": "srv", "project": 7}}, "selfheal_deployment needs root"),
        ("rollback", {}, "of what in selfheal_deployment, such as"),
        ("hold", {**HELD, "selfheal_for": 3600}, WHY),
        ("hold", {**HELD, "selfheal_reason": ["x"]}, WHY),
        ("hold", {**HELD, "selfheal_names": "web"}, WHERE),
        ("unhold", {"selfheal_names": "web"}, WHERE),
        ("heal", {"selfheal_names": "web"}, NAMES),
        ("heal", {}, NAMES),
        ("heal", {"selfheal_names": ["web"], "selfheal_hosts": "web9"}, "web9 selects none of the inventory's 1 hosts"),
        ("heal", {"selfheal_names": ["web"], "selfheal_max_hosts": 0}, "1 hosts are selected, and heal takes at most 0 at once"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: pathlib.Path, collection: pathlib.Path, runbook: str, extra: Any, told: str) -> None:
    """A word where a list belongs is not taken for a list of its letters; what is missing is asked for by its name."""
    code, text = play(tmp_path, collection, runbook, NOWHERE, extra)
    assert code != 0 and told in text, text[-3000:]
    assert "UNREACHABLE" not in text, "it tried to reach the host"


def test_a_step_that_cannot_begin_says_why(tmp_path: pathlib.Path, collection: pathlib.Path) -> None:
    """reconcile on a host without deployments of its own: the sentence of the step that failed, not one about the sentence."""
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    root = tmp_path / "nowhere"
    extra = {"selfheal_root": str(root), "selfheal_become": False, "selfheal_etc": str(tmp_path / "etc")}
    dirs = {"selfheal_state_dir": str(tmp_path / "state"), "selfheal_run_dir": str(tmp_path / "run")}
    code, text = play(tmp_path, collection, "reconcile", here, {**extra, **dirs})
    assert code == 2 and "web1: " in text and "has no attribute" not in text, text[-3000:]
    assert str(root) in text.rpartition("TASK [All of it is as it should be]")[2]
