# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host of the lab with a container engine inside, Docker or Podman, and an image of one static program to run on it."""

from __future__ import annotations

import itertools
import json
import os
import pathlib
import shutil
import subprocess
from typing import Any, Callable, Dict, List, Tuple

from bed import Bed
from fleet import Fleet

IMAGE = "lab/busybox:1"
LINKS = ("sh", "sleep", "httpd", "cat", "test", "ls", "touch", "rm", "dd", "echo", "tail", "mkdir")
SERVE = "mkdir -p /www && echo ok > /www/live && exec httpd -f -p 80 -h /www"
PODMAN = ("podman", "crun", "netavark", "aardvark-dns", "catatonit", "uidmap", "fuse-overlayfs", "iptables")
PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Heal
      faultline.selfheal.container_heal: {}
      register: healed
      ignore_errors: true
    - name: Keep what it said
      ansible.builtin.copy:
        content: "{{ healed | to_json }}"
        dest: /var/tmp/healed.json
        mode: "0600"
"""


def busybox_tar(folder: pathlib.Path) -> str:
    """A tar of a root with one static program. Raises FileNotFoundError."""
    program = shutil.which("busybox")
    if program is None:
        raise FileNotFoundError("there is no busybox on this machine (apt-get install busybox-static)")
    for name in ("bin", "tmp", "data"):
        (folder / "tree" / name).mkdir(parents=True)
    shutil.copy(program, folder / "tree" / "bin" / "busybox")
    for link in LINKS:
        os.symlink("busybox", folder / "tree" / "bin" / link)
    path = folder / "busybox.tar"
    subprocess.run(["tar", "-C", str(folder / "tree"), "-cf", str(path), "."], check=True)
    return str(path)


class DockBed(Bed):
    """A host with the watchdog and Docker Engine."""

    program = "docker"
    unit_name = "docker"

    def engine_up(self, tar: str) -> None:
        self.sh("systemctl start %s" % self.unit_name, within=60)
        self.copy(tar, "/var/tmp/busybox.tar")
        self.docker("import", "/var/tmp/busybox.tar", IMAGE)

    def docker(self, *argv: str, expect: Any = 0, within: float = 60.0) -> str:
        return self.run(self.program, *argv, expect=expect, within=within).stdout.strip()

    def container(self, name: str, *options: str, command: str = SERVE, probe: str = "http", **more: Any) -> Dict[str, Any]:
        """Run a container; its contract with short times."""
        self.docker("run", "-d", "--name", name, *options, *self.published(), IMAGE, "/bin/sh", "-c", command)
        return self.of(name, probe, **more)

    def published(self) -> Tuple[str, ...]:
        """Options with which it can be reached."""
        return ()

    def url(self, name: str) -> str:
        return "http://%s/live" % self.docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", name)

    def of(self, name: str, probe: str = "http", **more: Any) -> Dict[str, Any]:
        target: Dict[str, Any] = {"http": {"url": self.url(name)}} if probe == "http" else {"process": {}}
        contract = {**self.contract(name, 1), "resource": {"container": name}, **more}
        # Where the death itself is to be seen, the probe must not be the first to fail on a busy machine.
        given = {"timeout": 0.9, "failure_threshold": 4} if probe == "http" else {"timeout": 2}
        contract["probes"] = [{"role": "liveness", **target, "period": 1, **given}]
        return contract

    def told(self, name: str) -> Dict[str, Any]:
        found: Dict[str, Any] = json.loads(self.ask(self.program, "inspect", name))[0]
        return found

    def running(self, name: str) -> bool:
        return bool(self.told(name)["State"]["Running"])

    def kill_main(self, *names: str) -> None:
        """Kill their main processes behind the engine's back, all at once."""
        pids = [str(self.told(name)["State"]["Pid"]) for name in names]
        self.sh("kill -KILL %s" % " ".join(pids))

    def names(self) -> List[str]:
        return sorted(self.docker("ps", "-a", "--format", "{{.Names}}").split())


class PodBed(DockBed):
    """A host with the watchdog and Podman, spoken to by its socket. It deals a new address at every start."""

    program = "podman"
    unit_name = "podman.socket"
    ports = itertools.count(18000)

    def published(self) -> Tuple[str, ...]:
        return ("-p", "127.0.0.1:%d:80" % next(self.ports))

    def url(self, name: str) -> str:
        return "http://127.0.0.1:%s/live" % self.told(name)["HostConfig"]["PortBindings"]["80/tcp"][0]["HostPort"]


class Healing:
    """container_heal as a task over SSH. `play`: of a running one; `heal`: to its end, and what it said."""

    def __init__(self, made: Fleet, bed: DockBed) -> None:
        self.fleet = made
        self.bed = bed
        made.hosts["one1"] = bed
        bed.write("/root/.ssh/authorized_keys", (made.folder / "key.pub").read_text(), "0600")
        bed.sh("systemctl start ssh")

    def playbook(self, **options: Any) -> str:
        path = self.fleet.folder / "heal.yml"
        path.write_text(PLAY.replace("container_heal: {}", "container_heal: %s" % json.dumps(options)))
        return str(path)

    def heal(self, *flags: str, **options: Any) -> Dict[str, Any]:
        self.fleet.ok(self.playbook(**options), *flags)
        found: Dict[str, Any] = json.loads(self.bed.sh("cat /var/tmp/healed.json"))
        return found


def made_bed(new_bed: Callable[..., Bed], kind: str, tar: str, *packages: str) -> DockBed:
    """A fresh host with an engine. kind: debian12 or debian13 with their Docker Engine, or podman: Debian 12 with its Podman 4.3."""
    if kind == "podman":
        bed = new_bed("debian12", packages=(*PODMAN, *packages), volumes=("/var/lib/containers",))
        made: DockBed = PodBed(bed.name, "podman")
    else:
        bed = new_bed(kind, docker=True, packages=packages)
        made = DockBed(bed.name, kind)
    made.engine_up(tar)
    return made


__all__ = ["IMAGE", "SERVE", "DockBed", "Healing", "PodBed", "busybox_tar", "made_bed"]
