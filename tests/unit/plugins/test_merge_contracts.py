# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Contracts from several variables: who has the last word about what."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.faultline.selfheal.plugins.filter.merge_contracts import FilterModule, merge_contracts

WEB: dict[str, Any] = {
    "name": "web",
    "resource": {"unit": "web.service"},
    "probes": [
        {"role": "liveness", "http": {"url": "http://127.0.0.1/live", "status": [200]}, "period": 5},
        {"role": "readiness", "http": {"url": "http://127.0.0.1/ready"}},
    ],
    "guard": {"actions": 5, "per": 600},
    "ladder": [{"rung": "restart", "attempts": 3}],
}
SSH = {"name": "ssh", "resource": {"unit": "ssh.service"}}


@pytest.mark.parametrize(
    "change, key, expected",
    [
        ({"failing_for": 30}, "failing_for", 30),
        ({"guard": {"actions": 1}}, "guard", {"actions": 1, "per": 600}),
        ({"ladder": [{"rung": "page"}]}, "ladder", [{"rung": "page"}]),
        ({"resource": {"unit": "other.service"}}, "resource", {"unit": "other.service"}),
        ({"resource": {"container": "web"}}, "resource", {"container": "web"}),
        ({"probes": [{"role": "readiness", "absent": True}]}, "probes", WEB["probes"][:1]),
        ({"probes": None}, "probes", None),
        (
            {"probes": [{"role": "readiness", "tcp": {"host": "127.0.0.1", "port": 1}}]},
            "probes",
            [WEB["probes"][0], {"role": "readiness", "tcp": {"host": "127.0.0.1", "port": 1}}],
        ),
        (
            {"probes": [{"role": "liveness", "http": {"status": [204]}}, {"name": "deep", "role": "liveness", "unit": {}}]},
            "probes",
            [
                {"role": "liveness", "http": {"url": "http://127.0.0.1/live", "status": [204]}, "period": 5},
                WEB["probes"][1],
                {"name": "deep", "role": "liveness", "unit": {}},
            ],
        ),
    ],
)
def test_a_host_says_only_what_is_different_there(change: dict[str, Any], key: str, expected: Any) -> None:
    """Mappings are merged, probes by name, another kind replaces the one before, other lists are replaced; the rest stays."""
    before = copy.deepcopy(WEB)
    [merged] = merge_contracts([WEB], [[{"name": "web", **change}]])
    assert merged[key] == expected
    assert {name: value for name, value in merged.items() if name != key} == {name: WEB[name] for name in WEB if name != key}
    assert before == WEB, "what was given is not changed"


def test_the_order_of_variables() -> None:
    """The inventory's own list first, then parts in the order of their names, and the host's last, wherever its name would stand."""
    parts = {
        "selfheal_services_host": [{"name": "web", "mode": "host"}],
        "selfheal_services_z": [{"name": "web", "mode": "z"}],
        "selfheal_services_a": [{"name": "web", "mode": "a", "period": "a"}, SSH],
    }
    [web, ssh] = FilterModule().filters()["merge_contracts"]([{"name": "web", "mode": "base", "kept": 1}], parts)
    assert (web, ssh) == ({"name": "web", "mode": "host", "period": "a", "kept": 1}, SSH)


def test_without_parts_nothing_is_looked_at() -> None:
    """What is wrong with contracts that nobody changes is said by the one parser of contracts, with all its faults."""
    assert merge_contracts([{"resource": {}}, 7], {}) == [{"resource": {}}, 7]
    assert merge_contracts("web") == "web"


def test_a_service_can_be_taken_away() -> None:
    """A host without what its group has says so."""
    assert merge_contracts([WEB, SSH], {"selfheal_services_host": [{"name": "web", "absent": True}]}) == [SSH]
    assert merge_contracts([WEB], [[{"name": "none", "absent": True}]]) == [WEB]


def test_what_is_not_there_can_be_taken_away() -> None:
    """A host is without it, whether or not its group has it, or the service, at all."""
    gone = {"dependencies": [{"name": "payments", "absent": True}], "probes": [{"role": "readiness", "absent": True}]}
    assert merge_contracts([SSH], [[{"name": "ssh", **gone}]]) == [{**SSH, "dependencies": [], "probes": []}]
    assert merge_contracts([], [[{**SSH, **gone}]]) == [{**SSH, "dependencies": [], "probes": []}]
    assert merge_contracts([], {}) == merge_contracts([], [[]]) == []


@pytest.mark.parametrize(
    "services, parts, problem",
    [
        ("web", [[]], "selfheal_services: expected a list; found str"),
        ([], {"selfheal_services_web": {"name": "web"}}, "selfheal_services_web: expected a list; found dict"),
        ([], 7, "found int"),
        ([], [["web"]], r"parts\[0\]\[0\]: expected a mapping; found str"),
        ([{"resource": {}}], [[]], r"selfheal_services\[0\]: it has no name"),
        ([WEB, WEB], [[]], r"selfheal_services\[1\]: web stands in this list before"),
        ([WEB], [[{"name": "web", "probes": [{"http": {}}]}]], r"parts\[0\]\[0\]\.probes\[0\]: it has no name"),
    ],
)
def test_what_cannot_be_merged_is_named(services: Any, parts: Any, problem: str) -> None:
    """With the variable and the place in it."""
    with pytest.raises(AnsibleFilterError, match=problem):
        merge_contracts(services, parts)


entries = st.fixed_dictionaries({"name": st.sampled_from("abcd"), "mode": st.integers()})
named = st.lists(entries, unique_by=lambda entry: str(entry["name"]))


@given(named, st.lists(named))
def test_laws_of_merging(base: list[Any], parts: list[Any]) -> None:
    """Nothing merged changes nothing; merging twice is merging once; who comes last is right; nobody is lost or doubled."""
    assert merge_contracts(base) == base
    merged = merge_contracts(base, parts)
    assert merge_contracts(merged, parts[-1:]) == merged
    last = {entry["name"]: entry for each in [base, *parts] for entry in each}
    assert {entry["name"]: entry for entry in merged} == last and len(merged) == len(last)
