# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One job of ansible-runner, as AWX runs it: what it says, how it is cancelled, and what works for it. For the lab's tests as well."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import uuid
from typing import Any, Dict, List, Mapping

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLLECTION = pathlib.Path(os.environ.get("SELFHEAL_COLLECTION_ROOT") or ROOT)
PATIENCE = 90.0
MARK = "SELFHEAL_TEST_JOB"


def prepare(private: pathlib.Path, inventory: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """A private data directory of ansible-runner, with this collection as its project."""
    (private / "env").mkdir(parents=True)
    (private / "inventory").mkdir()
    (private / "project").symlink_to(COLLECTION)
    above = private / "collections" / "ansible_collections" / "faultline"
    above.mkdir(parents=True)
    (above / "selfheal").symlink_to(COLLECTION)
    (private / "inventory" / "hosts.json").write_text(json.dumps(inventory))
    collections = {"ANSIBLE_COLLECTIONS_PATH": str(private / "collections")}
    (private / "env" / "envvars").write_text(json.dumps({**collections, **environment}))


class Job:
    """One run of a playbook, from `project/playbooks`, as AWX has it."""

    def __init__(self, private: pathlib.Path, playbook: str, variables: Dict[str, Any]) -> None:
        self.name = uuid.uuid4().hex
        self._end = private / ("end-" + self.name)
        self.said: List[Dict[str, Any]] = []
        (private / "env" / "extravars").write_text(json.dumps(variables))
        asked = {"private": str(private), "playbook": "playbooks/%s.yml" % playbook, "end": str(self._end)}
        driver = [sys.executable, str(pathlib.Path(__file__).with_name("runner_driver.py"))]
        environment = {**os.environ, MARK: self.name, "PATH": "%s:%s" % (pathlib.Path(sys.executable).parent, os.environ["PATH"])}
        self._driver = subprocess.Popen(driver, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        assert self._driver.stdin is not None
        self._driver.stdin.write(json.dumps(asked))
        self._driver.stdin.close()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._driver.stdout is not None
        for line in self._driver.stdout:
            self.said.append(json.loads(line))

    def events(self, kind: str, task: str = "") -> List[Dict[str, Any]]:
        return [one for one in list(self.said) if one.get("event") == kind and task in (one.get("task") or "")]

    def stop(self, how: str) -> None:
        """`cancel` it, or let its `timeout` be over."""
        fresh = self._end.with_suffix(".new")
        fresh.write_text(how)
        fresh.rename(self._end)

    def end(self, within: float = PATIENCE) -> Dict[str, Any]:
        """The last word of the driver: status, rc, stats."""
        try:
            self._driver.wait(within)
        except subprocess.TimeoutExpired as late:
            raise AssertionError("no end within %g s; the last it said: %s" % (within, self.said[-3:])) from late
        self._reader.join(within)
        return self.said[-1]

    def told(self) -> List[Any]:
        """What went wrong, for whoever reads why a test failed."""
        return [one["result"] for one in self.said if one.get("event", "").endswith(("_failed", "_unreachable"))]

    def processes(self) -> List[int]:
        """What works for this job beside its driver, by the mark in its environment: Ansible, its workers, modules and their children."""
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
            try:
                marked = ("%s=%s" % (MARK, self.name)).encode() in path.read_bytes()
                words = (path.parent / "cmdline").read_bytes()
            except OSError:
                continue  # it has ended meanwhile
            if marked and b"service.py" not in words and int(path.parent.name) != self._driver.pid:
                found.append(int(path.parent.name))
        return found

    def signal(self, number: int) -> None:
        """To everything at once, as when the job's container is removed."""
        for pid in self.processes():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue  # it was quicker

    def close(self) -> None:
        self._driver.kill()
        self._driver.wait(10)
        self._reader.join(10)
        assert self._driver.stdout is not None
        self._driver.stdout.close()
        self.signal(signal.SIGKILL)


__all__ = ["PATIENCE", "Job", "prepare"]
