# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs of the alert path as they are: Prometheus and Alertmanager of Debian, ansible-rulebook of PyPI. Nothing of it is installed
on this machine but Java, and none of the packages' services is ever started."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from typing import Any, Dict, Optional
from urllib.request import Request, urlopen

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLLECTION = pathlib.Path(os.environ.get("SELFHEAL_COLLECTION_ROOT") or ROOT)
ROLE = COLLECTION / "roles" / "monitoring"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "faultline-selfheal"
PACKAGES = {"prometheus": "prometheus", "promtool": "prometheus", "prometheus-alertmanager": "prometheus-alertmanager"}
PACKAGES["amtool"] = "prometheus-alertmanager"
TEMPLATES = "/usr/share/prometheus/alertmanager"


def program(name: str) -> str:
    """Where it is: installed, in the cache, or fetched from the distribution's package, which is unpacked and not installed."""
    found = shutil.which(name)
    if found is not None:
        return found
    kept = CACHE / "packages" / PACKAGES[name]
    if not kept.exists():
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            pytest.skip("%s is not installed, and only root on Debian can fetch it" % name)
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = tempfile.mkdtemp(dir=kept.parent)
        os.chmod(part, 0o755)
        argv = ["apt-get", "download", PACKAGES[name]]
        done = subprocess.run(argv, cwd=part, capture_output=True, text=True, timeout=300, check=False)
        fetched = list(pathlib.Path(part).glob("*.deb"))
        assert fetched, "%s cannot be had: %s%s" % (name, done.stdout, done.stderr)
        subprocess.run(["dpkg", "-x", str(fetched[0]), part], check=True, timeout=120)
        fetched[0].unlink()
        if kept.exists():
            shutil.rmtree(part)
        else:
            os.rename(part, kept)
    return str(kept / "usr" / "bin" / name)


def alertmanager(folder: pathlib.Path) -> str:
    """The program. Debian's opens its templates at one fixed place; unpacked elsewhere it is shown another of the same length."""
    found = program("prometheus-alertmanager")
    if os.path.exists(TEMPLATES + "/default.tmpl"):
        return found
    place = "/tmp/%s" % ("selfheal-alerts-%d-" % os.getpid()).ljust(len(TEMPLATES) - len("/tmp/"), "t")
    if not os.path.lexists(place):
        os.symlink(CACHE / "packages" / "prometheus-alertmanager" / TEMPLATES[1:], place)
    changed = folder / "prometheus-alertmanager"
    changed.write_bytes(pathlib.Path(found).read_bytes().replace(TEMPLATES.encode(), place.encode()))
    changed.chmod(0o755)
    return str(changed)


def java() -> Dict[str, str]:
    """What tells a program where Java 17 or newer is."""
    if shutil.which("java") is None:
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            pytest.skip("ansible-rulebook needs Java, which only root on Debian can install here")
        for name in ("openjdk-17-jre-headless", "openjdk-21-jre-headless"):
            argv = ["apt-get", "install", "-q", "-y", "--no-install-recommends", name]
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False, env=environment)
            if done.returncode == 0:
                break
        else:
            pytest.skip("ansible-rulebook needs Java 17 or newer, and apt-get has none: %s" % done.stderr.strip()[-200:])
    found = shutil.which("java")
    assert found is not None
    return {"JAVA_HOME": str(pathlib.Path(os.path.realpath(found)).parents[1])}


def rulebook_environment() -> pathlib.Path:
    """The virtual environment with ansible-rulebook, made once for each content of its requirements and each Python."""
    python = getattr(sys, "_base_executable", None) or sys.executable
    wanted = sys.version + python
    for name in ("eda", "demo"):
        wanted += (ROOT / "tests" / ("requirements-%s.txt" % name)).read_text()
    where = CACHE / ("eda-" + hashlib.sha256(wanted.encode()).hexdigest()[:12])
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "eda.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (where / "complete").exists():
            shutil.rmtree(where, ignore_errors=True)
            subprocess.run([python, "-m", "venv", str(where)], check=True, timeout=120)
            requirements = str(ROOT / "tests" / "requirements-eda.txt")
            pip = [str(where / "bin" / "python"), "-m", "pip", "install", "-q", "--no-input", "-r", requirements]
            done = subprocess.run(pip, capture_output=True, text=True, timeout=400, check=False)
            assert done.returncode == 0, "ansible-rulebook cannot be had: %s" % done.stderr[-2000:]
            (where / "complete").write_text("")
    return where


def rendered(folder: pathlib.Path, **variables: Any) -> pathlib.Path:
    """Rules, targets and routes of the role monitoring, written by Ansible with these variables; returns their folder."""
    target = folder / "monitoring"
    target.mkdir()
    playbook = folder / "render.yml"
    files = {name: str(target / name) for name in ("rules.yml", "targets.yml", "outside.yml", "scrape.yml", "alertmanager.yml")}
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "tasks": [
            {"ansible.builtin.include_vars": str(ROLE / "defaults" / "main.yml")},
            {"ansible.builtin.include_vars": str(ROLE / "vars" / "main.yml")},
            {
                "ansible.builtin.template": {"src": str(ROLE / "templates") + "/{{ item.key }}.j2", "dest": "{{ item.value }}"},
                "loop": "{{ files | dict2items }}",
            },
        ],
    }
    playbook.write_text(json.dumps([play]))
    extra = {"files": files, "ansible_managed": "a test", "monitoring_hosts": [], **variables}
    argv = ["ansible-playbook", "-i", "localhost,", "-e", json.dumps(extra), str(playbook)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


def ask(url: str, data: Optional[Any] = None, token: Optional[str] = None, within: float = 10.0) -> Any:
    """What is answered, read as JSON where it is; None where nobody answers. Raises urllib.error.HTTPError for a refusal."""
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = "Bearer " + token
    request = Request(url, None if data is None else json.dumps(data).encode(), headers)
    with urlopen(request, timeout=within) as answer:
        text = answer.read().decode()
    return json.loads(text) if text.startswith(("{", "[")) else text


__all__ = ["COLLECTION", "ROLE", "ROOT", "alertmanager", "ask", "java", "program", "rendered", "rulebook_environment"]
