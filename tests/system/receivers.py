# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Those who are called: receivers on loopback, and Debian's Alertmanager."""

from __future__ import annotations

import http.server
import json
import os
import pathlib
import shutil
import socket
import subprocess
import threading
from typing import Any, Dict, List, Optional
from urllib.request import urlopen

import pytest

TEMPLATES = "/usr/share/prometheus/alertmanager"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Receiver:
    """Takes POSTs. hanging: takes them and does not answer; status: what it answers else."""

    def __init__(self, port: int = 0) -> None:
        self.got: List[Any] = []
        self.headers: List[Dict[str, str]] = []
        self.hanging = False
        self.status = 200
        self.over = threading.Event()
        outer = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.headers.append({key.lower(): value for key, value in self.headers.items()})
                outer.got.append(body)
                if outer.hanging:
                    outer.over.wait(60)
                    return
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, *words: Any) -> None:
                return

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = "http://127.0.0.1:%d" % self.port
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def of(self, status: str) -> List[Any]:
        return [message for message in self.got if message["status"] == status]

    def close(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


def alertmanager_program(folder: pathlib.Path) -> str:
    """The program itself, installed or from Debian's package. Skips with a reason where it cannot be had."""
    installed = shutil.which("prometheus-alertmanager")
    if installed is not None:
        return installed
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            pytest.skip("needs prometheus-alertmanager: it is not installed, and without %s its package cannot be unpacked" % tool)
    folder.chmod(0o755)
    fetched = subprocess.run(["apt-get", "download", "prometheus-alertmanager"], cwd=folder, capture_output=True, text=True, check=False)
    packages = list(folder.glob("*.deb"))
    if fetched.returncode or not packages:
        pytest.skip("needs prometheus-alertmanager: apt-get download: %s" % fetched.stderr.strip()[-200:])
    subprocess.run(["dpkg", "-x", str(packages[0]), str(folder)], check=True, capture_output=True)
    program = folder / "usr/bin/prometheus-alertmanager"
    if not os.path.exists(TEMPLATES + "/default.tmpl"):
        # Debian's build opens its templates at one fixed place. Unpacked elsewhere it is shown another of the same length.
        place = "/tmp/%s" % ("selfheal-%d-" % os.getpid()).ljust(len(TEMPLATES) - len("/tmp/"), "t")
        os.symlink(folder / TEMPLATES[1:], place)
        program.write_bytes(program.read_bytes().replace(TEMPLATES.encode(), place.encode()))
    return str(program)


class Alertmanager:
    """A real one on loopback, which hands on to `receiver` at once."""

    def __init__(self, program: str, folder: pathlib.Path, port: int, receiver: Receiver) -> None:
        self.url = "http://127.0.0.1:%d" % port
        config = folder / "alertmanager.yml"
        config.write_text(
            json.dumps(
                {
                    "route": {
                        "receiver": "us",
                        "group_by": ["alertname", "host", "service"],
                        "group_wait": "0s",
                        "group_interval": "1s",
                        "repeat_interval": "1h",
                    },
                    "receivers": [{"name": "us", "webhook_configs": [{"url": receiver.url, "send_resolved": True}]}],
                }
            )
        )
        with open(folder / "alertmanager.log", "w") as log:
            self.process = subprocess.Popen(
                [
                    program,
                    "--config.file=%s" % config,
                    "--storage.path=%s" % (folder / "alerts"),
                    "--cluster.listen-address=",
                    "--web.listen-address=127.0.0.1:%d" % port,
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        self.log = folder / "alertmanager.log"

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return self._get("/-/ready") is not None

    def alerts(self) -> List[Any]:
        """What fires now."""
        found: List[Any] = json.loads(self._get("/api/v2/alerts") or "[]")
        return found

    def _get(self, path: str) -> Optional[str]:
        try:
            with urlopen(self.url + path, timeout=5) as answer:
                text: str = answer.read().decode()
                return text
        except OSError:
            return None

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)


__all__ = ["Alertmanager", "Receiver", "alertmanager_program", "free_port"]
