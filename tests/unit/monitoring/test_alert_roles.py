# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles monitoring and alert_receiver, and the rulebook between them: what they take, and what must never be otherwise."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
ROLES = ["monitoring", "alert_receiver"]
UNIT = ROOT / "roles/alert_receiver/templates/selfheal-alert-receiver.service.j2"


def load(role: str, name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "roles" / role / name).read_text(encoding="utf-8")))


def options(role: str) -> dict[str, Any]:
    return dict(load(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"])


@pytest.mark.parametrize("role", ROLES)
def test_the_role_specifies_exactly_what_has_a_default(role: str) -> None:
    """Nothing is taken that is not typed, nothing typed lacks a default, and literal defaults are the same at both places."""
    defaults = load(role, "defaults/main.yml")
    assert sorted(options(role)) == sorted(defaults)
    literal = {name: value for name, value in defaults.items() if not (isinstance(value, str) and "{{" in value)}
    assert literal == {name: option["default"] for name, option in options(role).items() if "default" in option}


@pytest.mark.parametrize("role", ROLES)
def test_the_table_in_the_readme_is_the_specification(role: str) -> None:
    """A reader of the README sees every variable with its type, in the specification's order."""
    text = (ROOT / "roles" / role / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(%s_\w+)` \| (\w+) \|" % role, text, re.MULTILINE)
    assert rows == [(name, option["type"]) for name, option in options(role).items()]


def test_both_roles_read_the_same_token() -> None:
    """One secret in the inventory opens the way from Alertmanager to the receiver."""
    assert load("monitoring", "defaults/main.yml")["monitoring_receiver_token"] == "{{ selfheal_alert_token | default('') }}"
    assert load("alert_receiver", "defaults/main.yml")["alert_receiver_token"] == "{{ selfheal_alert_token | default('') }}"


def seconds(text: str) -> int:
    return int(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]


def literal(role: str, name: str) -> str:
    value = str(load(role, "defaults/main.yml")["%s_%s" % (role, name)])
    found = re.search(r"default\('?([^')]*)'?\)", value)
    assert found is not None, value
    return found.group(1)


def test_the_times_of_both_fit_together() -> None:
    """C45 An alert that goes on is handed on again when Alertmanager repeats it, and not before; what waits is not sent twice by haste."""
    repeat = seconds(literal("monitoring", "repeat_interval"))
    assert float(literal("alert_receiver", "throttle")) < float(literal("alert_receiver", "repeat_after")) < repeat
    assert seconds(literal("monitoring", "group_interval")) >= 10
    assert repeat < float(literal("alert_receiver", "max_age"))


def test_a_heal_is_never_cut_in_half_by_its_unit() -> None:
    """C11 C44 Only the rulebook is ended, and what its runs need outlives it; a crash loop ends."""
    text = UNIT.read_text(encoding="utf-8")
    wanted = ["KillMode=process", "KillSignal=SIGKILL", "SendSIGKILL=no", "RuntimeDirectoryPreserve=yes"]
    for line in [*wanted, "StartLimitBurst=5", "Restart=always"]:
        assert line in text.splitlines(), line


def test_the_unit_has_no_rights() -> None:
    """What listens to a network's alerts is an ordinary user who may write to one directory."""
    text = UNIT.read_text(encoding="utf-8")
    for line in ("CapabilityBoundingSet=", "NoNewPrivileges=yes", "ProtectSystem=strict", "ReadWritePaths={{ alert_receiver_home }}"):
        assert line in text.splitlines(), line
    assert "token" not in text


def test_the_receiver_listens_on_loopback_alone() -> None:
    """The token is sent in the clear: no variable takes it off loopback."""
    assert load("alert_receiver", "vars/main.yml")["alert_receiver_listen"] == "127.0.0.1"
    assert "alert_receiver_listen" not in options("alert_receiver")


def test_the_rulebook_has_no_way_around_its_guard() -> None:
    """C42 C43 Guard before limit, no shared mapping, a condition on the limit, a lock for each host, a throttle by group."""
    (ruleset,) = yaml.safe_load((ROOT / "extensions/eda/rulebooks/alertmanager.yml").read_text(encoding="utf-8"))
    filters = ruleset["sources"][0]["filters"]
    assert [next(iter(each)) for each in filters] == [
        "eda.builtin.event_splitter",
        "faultline.selfheal.guard",
        "eda.builtin.insert_hosts_to_meta",
    ]
    assert filters[0]["eda.builtin.event_splitter"] == {"splitter_key": "payload.alerts"}
    (rule,) = ruleset["rules"]
    assert "event.meta.hosts is defined" in rule["condition"] and ruleset["execution_strategy"] == "parallel"
    assert rule["throttle"]["group_by_attributes"] == ["event.labels.host", "event.labels.service"]
    action = rule["action"]["run_playbook"]
    assert (action["name"], action["lock"]) == ("faultline.selfheal.heal", "{{ event.labels.host }}")
    # Names that the guard has checked, and nothing else of the alert.
    assert set(action["extra_vars"].values()) == {"{{ event.labels.host }}", "{{ event.heal.names }}", "{{ event.heal.alert }}"}
