# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a diff of contracts shows, and what it hides."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.faultline.selfheal.plugins.plugin_utils import _covered as covered

SECRET, OTHER = "s3cret-value", "an0ther-value"


def contract(**changes: Any) -> str:
    http = {"url": "http://127.0.0.1/", "headers": {"X-Key": SECRET}, **changes}
    return json.dumps({"services": [{"name": "web", "probes": [{"role": "liveness", "http": http}]}]})


@pytest.mark.parametrize(
    "changes",
    [
        {"headers": {"X-Key": OTHER}},
        {"headers": {"X-Key": SECRET, "Cookie": OTHER}},
        {"body": "user=a&code=%s" % OTHER},
        {"environment": {"DSN": OTHER}},
        {"json": {"password": OTHER}},
        {"url": "http://u:%s@127.0.0.1/" % OTHER},
        {"argv": ["/bin/x", "--password", OTHER]},
        {"webhook": {"url": "https://chat.example/hooks/%s" % OTHER}},
    ],
    ids=["header", "new-header", "body", "environment", "key", "url", "flag", "webhook"],
)
def test_a_secret_that_changed_is_said_to_and_not_shown(changes: dict[str, Any]) -> None:
    """The reader of a diff sees that a secret changed; neither the old nor the new one leaves the host."""
    before, after = covered.difference(contract(), contract(**changes))
    assert SECRET not in before + after and OTHER not in before + after
    assert before != after and covered.CHANGED in after and covered.CHANGED not in before


def test_what_is_no_secret_is_shown_and_what_did_not_change_makes_no_difference() -> None:
    """A diff is read by people who decide by it."""
    assert len(set(covered.difference(contract(), contract()))) == 1
    before, after = covered.difference(contract(), contract(url="http://127.0.0.1:81/"))
    assert '"http://127.0.0.1/"' in before and '"http://127.0.0.1:81/"' in after and covered.CHANGED not in after


def test_services_that_moved_are_compared_by_name() -> None:
    """Another order of the inventory is no change of secrets."""
    one = [{"name": "a", "x": {"token": SECRET}}, {"name": "b", "x": {"token": OTHER}}]
    _before, after = covered.difference(json.dumps({"services": one}), json.dumps({"services": one[::-1]}))
    assert covered.CHANGED not in after


@pytest.mark.parametrize(("before", "shown"), [("", ""), ("password=%s" % SECRET, '"[hidden]"\n')], ids=["none", "no-json"])
def test_a_file_that_cannot_be_understood_is_not_shown(before: str, shown: str) -> None:
    """Where nobody knows what is secret, all is."""
    assert covered.difference(before, contract())[0] == shown
