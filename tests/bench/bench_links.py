# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The links of 10,000 projects in one task of symlink_reconcile against those of 100: wall time of whole ansible-playbook runs.

Every project has two releases, two journals and its link. Verified once as they are, then repaired, all of them leading nowhere; each
repair is recorded and made under the project's lease. Beside it, what a loop over ansible.builtin.file takes for a link.

    python tests/bench/bench_links.py

Takes about a minute. Leases lie on a tmpfs where there is one, as on a managed host.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import statistics
import sys
import tempfile
from typing import Any, Dict, Iterator, List

from bench_urls import Took, collections, run
from table import Row, show

FEW, MANY = 100, 10_000
MUST_RATIO = 3.0
LOOP = 20
RUNS = 3
SHARED_MEMORY = "/dev/shm"


def journal(release: str, minute: int) -> str:
    """A deployment's journal as it is written, as large as one that went through all phases."""
    at = "2026-11-21T21:%02d:00.000Z" % minute
    phases = ["pulling_source", "building", "copying_files", "creating_symlinks", "updating_routes", "health_check"]
    entry = {
        "schema": 1,
        "id": release,
        "project": "web",
        "kind": "deploy",
        "release": release,
        "started_at": at,
        "phase_updated_at": at,
        "previous": "",
        "left": None,
        "by": "",
        "service": None,
        "traffic": "",
        "activated_at": at,
        "phase": "active",
        "owner": {"pid": 1, "start_time": 1, "boot_id": "0" * 36},
        "source": {"kind": "upload", "sha256": "0" * 64},
        "phases": [{"phase": phase, "began": at, "ended": at, "proof": {"sha256": "0" * 64}} for phase in phases],
        "manifest": {"files": 1, "bytes": 1, "sha256": "0" * 64},
        "standing": {"word": "good", "reason": "active", "at": at},
        "reverting": None,
        "failure": None,
        "resumed": 0,
        "notes": [],
        "request": {"root": "/var/www", "project": "web", "source": {"upload": {"path": "/srv/web.tar.gz"}}, "keep": 5},
    }
    return json.dumps(entry, indent=1) + "\n"


def lay_out(root: pathlib.Path, count: int) -> None:
    releases = [("20261121210330", journal("20261121210330", 1)), ("20261121220000", journal("20261121220000", 2))]
    for number in range(count):
        project = root / ("project-%05d" % number)
        (project / ".selfheal" / "deployments").mkdir(parents=True)
        for release, text in releases:
            (project / "deployments" / release).mkdir(parents=True)
            (project / ".selfheal" / "deployments" / (release + ".json")).write_text(text)
        (project / "current").symlink_to("deployments/20261121220000")


def break_all(root: pathlib.Path) -> None:
    for project in root.iterdir():
        (project / "current").unlink()
        (project / "current").symlink_to("deployments/gone")
    # What the bench itself has left unwritten would be written by the repair's own syncs.
    os.sync()


def measured(folder: str, run_dir: str, root: pathlib.Path, environment: Dict[str, str], repair: bool) -> Took:
    took: List[Took] = []
    options = {"root": str(root), "etc": folder + "/etc", "state_dir": folder + "/state", "run_dir": run_dir}
    for _run in range(RUNS):
        if repair:
            break_all(root)
        took.append(run(folder, "links.json", {"faultline.selfheal.symlink_reconcile": options}, environment))
    return Took(statistics.median(each.wall for each in took), statistics.median(each.cpu for each in took))


def rows() -> Iterator[Row]:
    shared = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(prefix="selfheal-bench-") as folder,
        tempfile.TemporaryDirectory("", "selfheal-bench-", shared) as run_dir,
    ):
        environment = dict(
            os.environ,
            ANSIBLE_COLLECTIONS_PATH=collections(folder),
            ANSIBLE_LOCALHOST_WARNING="false",
            ANSIBLE_PYTHON_INTERPRETER=sys.executable,
        )
        few, many = pathlib.Path(folder, "few"), pathlib.Path(folder, "many")
        lay_out(few, FEW)
        lay_out(many, MANY)
        for what, repair in (("verified", False), ("repaired", True)):
            anchor = measured(folder, run_dir, few, environment, repair)
            ours = measured(folder, run_dir, many, environment, repair)
            ratio = ours.wall / anchor.wall
            words = "%d links %s in one task" % (MANY, what)
            yield Row(words, str(ours), "%d of them %s" % (FEW, anchor), "%.1f" % ratio, "≤ %g ×" % MUST_RATIO, ratio <= MUST_RATIO)
        yield loop(folder, few, environment, anchor)
        shutil.rmtree(many)


def loop(folder: str, few: pathlib.Path, environment: Dict[str, str], ours: Took) -> Row:
    links = [str(project / "current") for project in sorted(few.iterdir())[:LOOP]]
    task: Dict[str, Any] = {
        "ansible.builtin.file": {"src": "deployments/20261121220000", "path": "{{ item }}", "state": "link"},
        "loop": links,
    }
    other = run(folder, "loop.json", task, environment)
    each, mine = other.wall / LOOP, ours.wall / FEW
    return Row(
        "a link, of %d repaired in one task" % FEW,
        "%.0f ms" % (mine * 1e3),
        "loop over file %.0f ms" % (each * 1e3),
        "%.0f" % (each / mine),
    )


if __name__ == "__main__":
    sys.exit(show(rows()))
