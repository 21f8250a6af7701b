# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hundred URLs in one task of health_probe against a loop over ansible.builtin.uri: wall time of whole ansible-playbook runs.

Ours run before the loop and after it, so that both meet the same neighbours, in turn with a task that does nothing (``ping``): what that
takes is Ansible's own, and no module comes below it. The CPU time of all that took part is told beside each.

    python tests/bench/bench_urls.py

Takes about a minute, nearly all of it in the loop. Needs ansible-core beside this interpreter, and nginx if it is there.
"""

from __future__ import annotations

import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence

from bench_probes import ROOT, target
from table import Row, show

URLS = 100
MUST_RATIO = 40.0
OUR_RUNS = 3
"""Before the loop, and as many after it."""


def playbook(task: Dict[str, Any], hosts: str) -> str:
    play: Dict[str, Any] = {"hosts": hosts, "gather_facts": False, "tasks": [task]}
    if hosts == "localhost":
        play["connection"] = "local"
    return json.dumps([play])


def collections(folder: str) -> str:
    """A path on which the collection is found: where it is installed, else one that leads to the checkout."""
    if ROOT.parts[-3:-1] == ("ansible_collections", "faultline"):
        return str(ROOT.parents[2])
    place = pathlib.Path(folder, "ansible_collections", "faultline")
    place.mkdir(parents=True)
    (place / "selfheal").symlink_to(ROOT)
    return folder


class Took(NamedTuple):
    """Seconds by the clock, and on processors."""

    wall: float
    cpu: float

    def __str__(self) -> str:
        return "%.2f s (CPU %.2f s)" % self


def median(runs: Sequence[Took]) -> Took:
    return Took(*(statistics.median(column) for column in zip(*runs)))


def run(
    folder: str, name: str, task: Dict[str, Any], environment: Dict[str, str], hosts: str = "localhost", inventory: str = "localhost,"
) -> Took:
    """A whole ansible-playbook run with this one task."""
    path = pathlib.Path(folder, name)
    path.write_text(playbook(task, hosts))
    program = pathlib.Path(sys.executable).with_name("ansible-playbook")
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run([str(program), "-i", inventory, str(path)], env=environment, capture_output=True, text=True, check=False)
    took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit("%s failed:\n%s%s" % (name, done.stdout, done.stderr))
    return Took(took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="selfheal-bench-") as folder, target(folder) as (_name, port):
        environment = dict(
            os.environ,
            ANSIBLE_COLLECTIONS_PATH=collections(folder),
            ANSIBLE_LOCALHOST_WARNING="false",
            ANSIBLE_PYTHON_INTERPRETER=sys.executable,
        )
        urls = ["http://127.0.0.1:%d/%d" % (port, index) for index in range(URLS)]
        ours = {"faultline.selfheal.health_probe": {"targets": [{"name": url, "http": {"url": url}} for url in urls]}}
        theirs = {"ansible.builtin.uri": {"url": "{{ item }}"}, "loop": urls}
        empty = {"ansible.builtin.ping": {}}
        runs: List[Took] = []
        floor: List[Took] = []

        def in_turn() -> None:
            for _run in range(OUR_RUNS):
                runs.append(run(folder, "ours.json", ours, environment))
                floor.append(run(folder, "empty.json", empty, environment))

        in_turn()
        other = run(folder, "theirs.json", theirs, environment)
        in_turn()
    mine, least = median(runs), median(floor)
    ratio = other.wall / mine.wall
    told = "loop over uri %s; ping alone %s" % (other, least)
    ratios = "%.0f; ping alone %.0f" % (ratio, other.wall / least.wall)
    yield Row("%d URLs in one task" % URLS, str(mine), told, ratios, "≥ %g ×" % MUST_RATIO, ratio >= MUST_RATIO)


if __name__ == "__main__":
    sys.exit(show(rows()))
