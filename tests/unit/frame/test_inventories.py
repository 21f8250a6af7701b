# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example inventory is one that works: people copy it."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars.manager import VariableManager

from ansible_collections.faultline.selfheal.plugins.filter.merge_contracts import merge_contracts
from selfheal._core.contract import parse_services

EXAMPLE = pathlib.Path(__file__).resolve().parents[3] / "inventories" / "production.example"


def variables(name: str) -> dict[str, Any]:
    """What Ansible knows of a host of the example."""
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=[str(EXAMPLE)])
    manager = VariableManager(loader=loader, inventory=inventory)
    found = manager.get_vars(host=inventory.get_host(name), include_hostvars=False)
    templar = Templar(loader=loader, variables=found)
    return {key: templar.template(value) for key, value in found.items() if key.startswith("selfheal_")}


@pytest.mark.parametrize(
    "host, services",
    [
        ("web1.example", ["ssh", "web"]),
        ("web2.example", ["ssh", "web"]),
        ("db1.example", ["ssh", "postgresql"]),
        ("lb1.example", ["ssh"]),
        ("ops1.example", ["ssh"]),
    ],
)
def test_the_contracts_of_every_host_are_right(host: str, services: list[str]) -> None:
    """Merged from all, the group and the host, the one parser of contracts takes them."""
    known = variables(host)
    parts = {key: value for key, value in known.items() if key.startswith("selfheal_services_")}
    parsed = parse_services(merge_contracts(known.get("selfheal_services", []), parts), host)
    assert [each.name for each in parsed] == services


def test_a_host_says_only_what_is_different() -> None:
    """web2 is slower than its group says, and is the other's peer."""
    found = {}
    for host in ("web1.example", "web2.example"):
        known = variables(host)
        parts = {key: value for key, value in known.items() if key.startswith("selfheal_services_")}
        found[host] = parse_services(merge_contracts([], parts), host)[1]
    first, second = found["web1.example"], found["web2.example"]
    assert (first.failing_for, second.failing_for) == (5, 15)
    assert [probe.timeout for probe in second.probes if probe.role == "liveness"] == [8]
    assert list(first.guard.peers) == ["http://web2.example:9877/services/web/ready"]


def test_every_job_is_a_playbook_of_the_collection() -> None:
    """A slip of the pen in a schedule would be found at six in the morning."""
    jobs = variables("ops1.example")["selfheal_schedule"]
    for job in jobs:
        name = job["playbook"].rpartition(".")[2]
        assert (EXAMPLE.parents[1] / "playbooks" / (name + ".yml")).is_file(), job
    assert len(jobs) == 3
