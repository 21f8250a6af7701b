# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract reference and the parser say the same."""

from __future__ import annotations

import json
import pathlib
import re

import pytest

from selfheal._core import contract, scenario, schema

REFERENCE = pathlib.Path(__file__).resolve().parents[3] / "docs" / "contract.md"
TEXT = REFERENCE.read_text(encoding="utf-8")
# Of a table: the key in the first cell, without what marks it as a list.
ROWS = set(re.findall(r"^\| `([a-z_]+)(?:\[\])?` \|", TEXT, re.MULTILINE))


def sections(language: str) -> list:
    """The examples of the reference in one language."""
    return re.findall(r"```%s\n(.*?)```" % language, TEXT, re.DOTALL)


@pytest.mark.parametrize("grammar", [contract._service, contract._watchdog], ids=["contract", "watchdog.json"])
def test_every_key_is_in_the_reference(grammar: schema.Record) -> None:
    """Each key the parser knows has a row of its own in a table of docs/contract.md."""
    assert sorted(set(schema.keys(grammar)) - ROWS) == []


def test_every_key_of_a_scenario_is_in_the_reference() -> None:
    """The same for scenarios."""
    assert sorted(set(scenario.known_keys()) - ROWS) == []


def test_no_key_of_the_reference_is_unknown_to_the_parser() -> None:
    """Nothing is documented that the parser would refuse."""
    known = {*schema.keys(contract._service), *schema.keys(contract._watchdog), *scenario.known_keys(), "services"}
    assert sorted(ROWS - known) == []


def test_the_examples_of_the_reference_are_accepted() -> None:
    """Contracts, watchdog.json and scenario stand in the reference as they can be used."""
    services, watchdog, play = [json.loads(example) for example in sections("json")]
    read = contract.parse_services(services)
    assert len(read) == 2
    assert contract.parse_watchdog(watchdog).host == "web1"
    assert len(scenario.parse_scenario(play, read).entries) == len(play["script"])
