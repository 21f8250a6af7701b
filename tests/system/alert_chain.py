# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prometheus, Alertmanager and ansible-rulebook as processes on loopback, set up with what the collection ships."""

from __future__ import annotations

import json
import os
import pathlib
import secrets
import shutil
import signal
import subprocess
import uuid
from typing import Any, Dict, List, Optional, Sequence
from urllib.error import HTTPError, URLError
from urllib.parse import quote

import yaml
from alerting import COLLECTION, alertmanager, ask, java, program, rendered, rulebook_environment
from conftest import alive, free_port, until

READY = 90.0
"""Seconds for a program to be ready on a machine that has much else to do."""


class Rulebook:
    """ansible-rulebook with the shipped rulebook. `collections`: where the collection lies; `settings`: of the guard."""

    def __init__(self, folder: pathlib.Path, inventory: pathlib.Path, settings: Dict[str, Any], collections: pathlib.Path) -> None:
        self.folder = folder
        self.inventory = inventory
        self.collections = collections
        self.port = free_port()
        self.token = secrets.token_hex(16)
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True)
        # As the role alert_receiver installs it.
        (folder / "bin").mkdir()
        outliving = (COLLECTION / "roles" / "alert_receiver" / "files" / "ansible-playbook.py").read_text()
        (folder / "bin" / "ansible-playbook").write_text("#!/usr/bin/python3\n" + outliving)
        (folder / "bin" / "ansible-playbook").chmod(0o755)
        self.memory = folder / "handed.json"
        self.timeline = folder / "timeline"
        self.guard(settings)
        self.variables = {"selfheal_alert_listen": "127.0.0.1", "selfheal_alert_port": self.port, "selfheal_alert_token": self.token}
        (folder / "vars.yml").write_text(json.dumps(self.variables))
        self.token_file = folder / "token"
        self.token_file.write_text(self.token)
        self.process: Optional["subprocess.Popen[bytes]"] = None

    def guard(self, settings: Dict[str, Any]) -> None:
        """Give the guard its settings; it reads them anew by itself."""
        data = {"memory": str(self.memory), "timeline": str(self.timeline), "recorded_as": "controller", **settings}
        part = self.folder / "guard.part"
        part.write_text(json.dumps(data))
        part.replace(self.folder / "guard.json")

    def persist(self) -> Sequence[str]:
        """Have it keep its state in a file, as the role does; options to start it with."""
        (self.folder / "vars.yml").write_text(json.dumps({**self.variables, "drools_db_file_path": str(self.folder / "rules")}))
        return ("--id", "1", "--persistence-id", str(uuid.uuid5(uuid.NAMESPACE_DNS, "controller")))

    @property
    def url(self) -> str:
        return "http://127.0.0.1:%d/alerts" % self.port

    def start(self, *options: str) -> None:
        where = rulebook_environment()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        environment.update(java())
        environment.update(
            {
                "PATH": "%s:%s:%s" % (self.folder / "bin", where / "bin", environment["PATH"]),
                "TMPDIR": str(self.temporary),
                "HOME": str(self.folder),
                "LC_ALL": "C.UTF-8",
                "SELFHEAL_GUARD": str(self.folder / "guard.json"),
                "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
                "ANSIBLE_LOCALHOST_WARNING": "false",
            }
        )
        argv = [str(where / "bin" / "ansible-rulebook"), "-r", "faultline.selfheal.alertmanager", "-i", str(self.inventory)]
        argv += ["--vars", str(self.folder / "vars.yml"), "-m", "4", *options]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, cwd=self.folder)
        until(self.listens, READY, "ansible-rulebook listens; it says %s" % self.log()[-2000:])

    def listens(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.log()[-4000:]
        return self.post(None, token="none") == 401

    def post(self, payload: Any, token: Optional[str] = None) -> int:
        """The HTTP status of the answer; 0 while nobody listens."""
        try:
            ask(self.url, payload if payload is not None else {}, token or self.token, within=60)
        except HTTPError as error:
            return error.code
        except (URLError, ConnectionError):
            return 0
        return 200

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def runs(self) -> List[int]:
        """Processes of heals that go on, also of a rulebook that is gone."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    argv = (entry / "cmdline").read_bytes()
                except OSError:  # it has ended meanwhile
                    argv = b""
                if os.fsencode(self.temporary) in argv and alive(int(entry.name)):
                    found.append(int(entry.name))
        return found

    def handed(self) -> Dict[str, float]:
        """What the guard remembers to have handed on, with its times."""
        return dict(json.loads(self.memory.read_text())["handed"]) if self.memory.exists() else {}

    def dropped(self) -> List[Dict[str, Any]]:
        """What stands in the timeline about alerts that were dropped."""
        lines = [line for part in sorted(self.timeline.glob("0*.jsonl")) for line in part.read_text().splitlines()]
        return [event["data"] for event in map(json.loads, lines) if event["type"] == "alert_dropped"]

    def kill(self, heals: bool = False) -> None:
        """The rulebook, without a word; with `heals` all that it has begun, too."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.process is not None:
            self.process.wait(10)
        while heals and self.runs():
            for pid in self.runs():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue


class Chain:
    """Prometheus and Alertmanager with the rules, jobs and routes of the role monitoring, before a rulebook."""

    def __init__(self, folder: pathlib.Path, rulebook: Rulebook, watched: Dict[str, int], **variables: Any) -> None:
        folder.mkdir()
        self.folder = folder
        self.web, self.alerts = free_port(), free_port()
        shipped = folder / "monitoring"
        rendered(
            folder,
            monitoring_watched=[{"targets": ["127.0.0.1:%d" % port], "labels": {"host": name}} for name, port in watched.items()],
            monitoring_targets_path=str(shipped / "targets.yml"),
            monitoring_receiver_url=rulebook.url,
            monitoring_receiver_token_path=str(rulebook.token_file),
            **variables,
        )
        jobs = yaml.safe_load((shipped / "scrape.yml").read_text())
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(shipped / "rules.yml")],
            "scrape_configs": jobs,
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": ["127.0.0.1:%d" % self.alerts]}]}]},
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))
        self.processes: List["subprocess.Popen[bytes]"] = []

    def start(self) -> None:
        self._run(
            alertmanager(self.folder),
            "--config.file=%s" % (self.folder / "monitoring" / "alertmanager.yml"),
            "--storage.path=%s" % (self.folder / "alerts"),
            "--cluster.listen-address=",
            "--web.listen-address=127.0.0.1:%d" % self.alerts,
        )
        self._run(
            program("prometheus"),
            "--config.file=%s" % (self.folder / "prometheus.yml"),
            "--storage.tsdb.path=%s" % (self.folder / "series"),
            "--rules.alert.resend-delay=2s",
            "--web.listen-address=127.0.0.1:%d" % self.web,
            "--log.level=warn",
        )
        for port in (self.alerts, self.web):
            until(lambda port=port: self._ready(port), READY, "it is ready: %s" % (self.folder / "log").read_text())

    def _run(self, *argv: str) -> None:
        with open(self.folder / "log", "ab") as log:
            self.processes.append(subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL))

    def _ready(self, port: int) -> bool:
        assert all(process.poll() is None for process in self.processes), (self.folder / "log").read_text()
        try:
            return bool(ask("http://127.0.0.1:%d/-/ready" % port))
        except (URLError, ConnectionError):
            return False

    def query(self, expression: str) -> List[Dict[str, Any]]:
        """What Prometheus answers now."""
        found = ask("http://127.0.0.1:%d/api/v1/query?query=%s" % (self.web, quote(expression)))
        return list(found["data"]["result"])

    def firing(self, **labels: str) -> List[Dict[str, Any]]:
        """Alerts that Alertmanager has and that bear these labels."""
        found = ask("http://127.0.0.1:%d/api/v2/alerts" % self.alerts)
        return [each for each in found if labels.items() <= each["labels"].items()]

    def fire(self, alerts: List[Dict[str, Any]]) -> None:
        """Give Alertmanager alerts as Prometheus would."""
        ask("http://127.0.0.1:%d/api/v2/alerts" % self.alerts, alerts)

    def close(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def collections(folder: pathlib.Path, heal: Optional[str] = None) -> pathlib.Path:
    """Where Ansible finds the collection under test; with `heal` as its playbook of that name."""
    place = folder / "ansible_collections" / "faultline" / "selfheal"
    if heal is None:
        if COLLECTION.parts[-3:] == place.parts[-3:]:
            return COLLECTION.parents[2]
        place.parent.mkdir(parents=True)
        place.symlink_to(COLLECTION)
        return folder
    place.mkdir(parents=True)
    for name in ("extensions", "plugins", "meta", "galaxy.yml", "MANIFEST.json", "FILES.json"):
        source = COLLECTION / name
        if source.is_dir():
            shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("__pycache__", "molecule"))
        elif source.exists():
            shutil.copy2(source, place / name)
    (place / "playbooks").mkdir()
    (place / "playbooks" / "heal.yml").write_text(heal)
    return folder


__all__ = ["Chain", "READY", "Rulebook", "collections"]
