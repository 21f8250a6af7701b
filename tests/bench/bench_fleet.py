# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One sweep over 20 real hosts by SSH: a task of health_probe against the same play with ping, in turn.

    python tests/bench/bench_fleet.py [--quick]

The hosts share this machine's processors with the controller, so that what a module costs on its host is in the wall time too; the CPU time
of the controller alone is told beside it. Some two minutes.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import statistics
import sys
import tempfile
from typing import Any, Dict, Iterator, List, Sequence

from bench_urls import Took, collections, median, run
from hosts import BenchHost, Unavailable, address, bench_hosts, let_in
from table import Row, show

HOSTS = 20
ROUNDS = 7
MOST_RATIO = 1.2
DISTRIBUTION = "debian12"
SWEEP = {"faultline.selfheal.health_probe": {"targets": [{"name": "ssh", "tcp": {"host": "127.0.0.1", "port": 22}}]}}
ANCHOR: Dict[str, Any] = {"ansible.builtin.ping": {}}


def inventory(hosts: Sequence[BenchHost], folder: pathlib.Path) -> pathlib.Path:
    """These hosts under the names that Ansible shall know them by."""
    key = let_in(hosts, folder)
    common = {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(key),
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
    }
    named = {"host%02d" % index: {"ansible_host": address(host)} for index, host in enumerate(hosts)}
    path = folder / "inventory.json"
    path.write_text(json.dumps({"fleet": {"hosts": named, "vars": common}}))
    return path


def sweeps(folder: pathlib.Path, fleet: pathlib.Path, rounds: int) -> Dict[str, List[Took]]:
    """Ours and theirs in turn, after one of each that nobody counts: connections are then open for both."""
    environment = dict(
        os.environ,
        ANSIBLE_COLLECTIONS_PATH=collections(str(folder)),
        ANSIBLE_FORKS=str(HOSTS),
        ANSIBLE_SSH_CONTROL_PATH_DIR=str(folder / "cp"),
    )
    environment.pop("ANSIBLE_PYTHON_INTERPRETER", None)
    tasks = {"sweep": SWEEP, "ping": ANCHOR}
    found: Dict[str, List[Took]] = {name: [] for name in tasks}
    for turn in range(rounds + 1):
        for name in list(tasks)[:: 1 if turn % 2 else -1]:
            took = run(str(folder), name + ".json", tasks[name], environment, "fleet", str(fleet))
            if turn:
                found[name].append(took)
    return found


def rows(quick: bool) -> Iterator[Row]:
    what = "one sweep task over %d hosts by SSH" % HOSTS
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="selfheal-bench-")))
        try:
            hosts = stack.enter_context(bench_hosts([DISTRIBUTION] * HOSTS))
        except Unavailable as reason:
            yield Row(what, "not measured: %s" % reason)
            return
        found = sweeps(folder, inventory(hosts, folder), 2 if quick else ROUNDS)
    ours, theirs = median(found["sweep"]), median(found["ping"])
    ratio = statistics.median(one.wall / other.wall for one, other in zip(found["sweep"], found["ping"]))
    yield Row(what, str(ours), "ping %s" % (theirs,), "%.2f" % ratio, "≤ %g ×" % MOST_RATIO, ratio <= MOST_RATIO)


if __name__ == "__main__":
    sys.exit(show(rows("--quick" in sys.argv[1:])))
