# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What it costs to start one of our modules, against ``ansible.builtin.ping``, and what it must not import.

    python tests/bench/bench_module.py [--quick]

The payloads are those that ansible-playbook makes and sends, kept and run alone, in turn: CPU time of the whole process. One more run
under ``-X importtime`` tells what was imported, from its start to its end.
"""

from __future__ import annotations

import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from typing import Any, Dict, Iterator, List, Set

from stage import ROOT
from table import Row, show

ROUNDS = 7
PREFIX = "faultline.selfheal."
ANCHOR = "ansible.builtin.ping"
HEAVY = ("requests", "docker", "urllib3", "ssl")


def modules() -> List[str]:
    """Those that run on a host: a module with an action plugin of its name does its work on the controller."""
    names = {path.stem for path in (ROOT / "plugins" / "modules").glob("[a-z]*.py")}
    return sorted(names - {path.stem for path in (ROOT / "plugins" / "action").glob("*.py")})


def options(folder: pathlib.Path) -> Dict[str, Any]:
    """What a module is asked that is to do its work. One without an entry starts, and refuses its empty options."""
    timeline = str(folder / "timeline")
    return {
        "health_probe": {"targets": [{"name": "true", "exec": {"argv": ["/bin/true"]}}]},
        "timeline_record": {"path": timeline, "type": "note", "data": {"text": "bench"}},
        "timeline_info": {"path": timeline},
    }


def collections(folder: pathlib.Path) -> str:
    """A path on which the collection is found: where it is installed, else one that leads to the checkout."""
    if ROOT.parts[-3:-1] == ("ansible_collections", "faultline"):
        return str(ROOT.parents[2])
    place = folder / "ansible_collections" / "faultline"
    place.mkdir(parents=True)
    (place / "selfheal").symlink_to(ROOT)
    return str(folder)


def payloads(folder: pathlib.Path, names: List[str]) -> Dict[str, List[str]]:
    """Module name to the command that runs its payload, as ansible-playbook has made it."""
    asked = options(folder)
    tasks = [{PREFIX + name: asked.get(name, {}), "ignore_errors": True} for name in names] + [{ANCHOR: {}}]
    playbook = folder / "payloads.json"
    playbook.write_text(json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}]))
    interpreter = os.environ.get("ANSIBLE_PYTHON_INTERPRETER") or sys.executable
    environment = dict(
        os.environ,
        ANSIBLE_COLLECTIONS_PATH=collections(folder),
        ANSIBLE_KEEP_REMOTE_FILES="true",
        ANSIBLE_LOCAL_TEMP=str(folder / "controller"),
        ANSIBLE_LOCALHOST_WARNING="false",
        ANSIBLE_PIPELINING="false",
        ANSIBLE_PYTHON_INTERPRETER=interpreter,
        ANSIBLE_REMOTE_TEMP=str(folder / "host"),
    )
    program = pathlib.Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run([str(program), "-i", "localhost,", str(playbook)], env=environment, capture_output=True, text=True, check=False)
    found = {path.stem.partition("_")[2]: [interpreter, str(path)] for path in (folder / "host").glob("*/AnsiballZ_*.py")}
    missing = set(names) | {ANCHOR.rpartition(".")[2]}
    missing -= set(found)
    if missing:
        raise SystemExit("no payload of %s:\n%s%s" % (", ".join(sorted(missing)), done.stdout, done.stderr))
    return found


def cpu(argv: List[str]) -> float:
    """CPU seconds of one run with its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def imported(argv: List[str]) -> Set[str]:
    """The heavy packages among what one run imports."""
    told = subprocess.run([argv[0], "-X", "importtime", *argv[1:]], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    lines = [line.rpartition("|")[2].strip() for line in told.stderr.splitlines() if line.startswith("import time:")]
    if "ansible.module_utils.basic" not in lines:
        raise SystemExit("%s has not started:\n%s%s" % (argv[1], told.stdout, told.stderr))
    return {name.partition(".")[0] for name in lines} & set(HEAVY)


def rows(quick: bool) -> Iterator[Row]:
    folder = pathlib.Path(tempfile.mkdtemp(prefix="selfheal-bench-"))
    try:
        names = modules()
        found = payloads(folder, names)
        anchor = ANCHOR.rpartition(".")[2]
        spent: Dict[str, List[float]] = {name: [] for name in [*names, anchor]}
        for _round in range(1 if quick else ROUNDS):
            for name in spent:
                spent[name].append(cpu(found[name]))
        theirs = statistics.median(spent[anchor])
        for name in names:
            ours = statistics.median(spent[name])
            heavy = imported(found[name])
            what = "one run of %s: CPU%s" % (name, "; imports %s" % ", ".join(sorted(heavy)) if heavy else "")
            told = "ping %.0f ms" % (theirs * 1000)
            yield Row(what, "%.0f ms" % (ours * 1000), told, "%.2f" % (ours / theirs), "no %s" % ", ".join(HEAVY), not heavy)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(show(rows("--quick" in sys.argv[1:])))
