# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plain hosts of the lab, and an inventory with which ansible-playbook reaches them over SSH."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
from typing import Any, Dict, List, NamedTuple, Sequence

import lab
from engine import PATIENCE, run

COLLECTION = "faultline.selfheal"


class Played(NamedTuple):
    """How a playbook ended. `recap`: what Ansible counted for each host (ok, changed, unreachable, failures, skipped, rescued, ignored)."""

    code: int
    text: str
    recap: Dict[str, Dict[str, int]]


class Fleet:
    """`hosts`: by their names in the inventory (one1, one2 ...), in order. `variables`: of all hosts, for the inventory."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.hosts: Dict[str, lab.Host] = {}
        self.variables: Dict[str, Any] = {}
        self.of: Dict[str, Dict[str, Any]] = {}
        """Variables of single hosts."""
        self.groups: Dict[str, List[str]] = {}
        """Names of hosts in groups of their own."""
        # The path of a socket has at most 108 characters.
        self.sockets = tempfile.mkdtemp(prefix="selfheal-ssh-")

    def start(self, distributions: Sequence[str]) -> None:
        """Start a host of each of these, in this order, and let Ansible in. debian12+haproxy: with a package more."""
        self.folder.mkdir(parents=True)
        key = self.folder / "key"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
        for number, distribution in enumerate(distributions, 1):
            name, _plus, package = distribution.partition("+")
            host = lab.start_host(name, packages=(package,) if package else ())
            self.hosts["one%d" % number] = host
            host.write("/root/.ssh/authorized_keys", key.with_suffix(".pub").read_text(), "0600")

    def inventory(self) -> str:
        hosts: Dict[str, Any] = {}
        for name, host in self.hosts.items():
            hosts[name] = {"ansible_host": host.address(), **self.of.get(name, {})}
        common = {
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.folder / "key"),
            "ansible_ssh_common_args": "-o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no",
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_pipelining": True,
        }
        groups = {group: {"hosts": dict.fromkeys(names, {})} for group, names in self.groups.items()}
        path = self.folder / "inventory.json"
        # Every file of YAML may be one of JSON.
        path.write_text(json.dumps({"all": {"hosts": hosts, "vars": {**common, **self.variables}, "children": groups}}))
        renamed = path.with_suffix(".yml")
        path.replace(renamed)
        return str(renamed)

    def play(self, playbook: str, *options: str, within: float = 300.0, **extra: Any) -> Played:
        """Run one of the collection's playbooks, or a file, to its end; `extra` are its variables (-e)."""
        name = playbook if "/" in playbook else "%s.%s" % (COLLECTION, playbook)
        argv = ["ansible-playbook", name, "-i", self.inventory(), *options]
        if extra:
            argv += ["-e", json.dumps(extra)]
        environment = {
            **os.environ,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": self.sockets,
        }
        environment.pop("ANSIBLE_PYTHON_INTERPRETER", None)
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=within * PATIENCE, env=environment, stdin=subprocess.DEVNULL, check=False
        )
        text = done.stdout + done.stderr
        return Played(done.returncode, text, _recap(text))

    def ok(self, playbook: str, *options: str, within: float = 300.0, **extra: Any) -> Played:
        """`play`, and it must end well."""
        played = self.play(playbook, *options, within=within, **extra)
        assert played.code == 0, played.text[-6000:]
        return played

    def remove(self) -> None:
        for host in self.hosts.values():
            host.remove()
        shutil.rmtree(self.sockets, ignore_errors=True)


def _recap(text: str) -> Dict[str, Dict[str, int]]:
    """The numbers under PLAY RECAP."""
    found: Dict[str, Dict[str, int]] = {}
    lines: List[str] = text.rpartition("PLAY RECAP")[2].splitlines()
    for line in lines:
        name, colon, rest = line.partition(" : ")
        if colon:
            found[name.strip()] = {
                key: int(value) for key, _equals, value in (word.partition("=") for word in rest.split()) if value.isdigit()
            }
    return found


__all__ = ["Fleet", "Played"]
