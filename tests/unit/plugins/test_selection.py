# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup `selection`: a runbook whose hosts are none fails, instead of ending well for ever."""

from __future__ import annotations

from typing import Any, Optional

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader

from ansible_collections.faultline.selfheal.plugins.lookup.selection import LookupModule

GROUPS = {"all": ["web1", "web2", "db1"], "web": ["web1", "web2"], "ungrouped": []}


def selected(*terms: str, limit: Optional[str] = None, single: bool = False, groups: Any = None) -> list[str]:
    lookup = LookupModule(loader=DataLoader())
    lookup.set_options = lambda **_given: None  # type: ignore[method-assign]
    lookup.get_option = {"single": single}.get  # type: ignore[method-assign]
    return lookup.run(list(terms), {"groups": GROUPS if groups is None else groups, **({"ansible_limit": limit} if limit else {})})


@pytest.mark.parametrize(
    ("terms", "limit"),
    [
        (["all"], None),
        (["web"], None),
        (["w*1"], None),
        (["web", "db1"], None),
        (["web:!web1"], None),
        (["all"], "db1"),
        (["web"], "web2,db1"),
    ],
)
def test_what_selects_a_host_is_given_back(terms: list[str], limit: Optional[str]) -> None:
    """Patterns, groups and names, within the limit; the play gets what was written."""
    assert terms == selected(*terms, limit=limit)


@pytest.mark.parametrize(
    ("terms", "limit", "groups"),
    [
        (["wbe"], None, GROUPS),
        (["web"], "db1", GROUPS),
        (["web:!web"], None, GROUPS),
        (["ungrouped"], None, GROUPS),
        ([], None, GROUPS),
        ([""], None, GROUPS),
        (["web", " "], None, GROUPS),
        ([","], None, GROUPS),
        (["all"], None, {"all": []}),
        (["all"], None, {}),
    ],
)
def test_nothing_is_never_taken_for_well_done(terms: list[str], limit: Optional[str], groups: Any) -> None:
    """A slip of the pen, a limit beside it, an empty inventory: refused, with the number of hosts there are."""
    with pytest.raises(AnsibleError, match=r"Refused: .* selects none of the inventory's \d+ hosts"):
        selected(*terms, limit=limit, groups=groups)


@pytest.mark.parametrize(
    "pattern", ["all", "web", "w*", "web1,web2", "web1:web2", "!web1", "web1[0]", "~web1", "../web1", "web1\n", "{{ x }}", ""]
)
def test_an_alerts_host_is_one_host(pattern: str) -> None:
    """Where one host is to be named, neither groups nor patterns nor lists pass."""
    assert ["web1"] == selected("web1", single=True)
    with pytest.raises(AnsibleError, match="is not the name of one host"):
        selected(pattern, single=True)


def test_two_hosts_are_not_one() -> None:
    """Nor are two terms."""
    with pytest.raises(AnsibleError, match="is not the name of one host"):
        selected("web1", "web2", single=True)
