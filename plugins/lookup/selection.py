# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts of a runbook, refused when there are none."""

from __future__ import annotations

DOCUMENTATION = r"""
name: selection
short_description: Refuse a play whose hosts are none
version_added: 0.1.0
author:
  - The faultline.selfheal maintainers (@faultline-selfheal)
description:
  - Ansible passes over a play whose pattern matches no host, and ends well. A schedule would show success for ever because of a slip of
    the pen. This gives the pattern back if it selects a host within C(--limit), and ends the run if not.
  - It is meant for the keyword C(hosts) of a play.
options:
  _terms:
    description: Patterns of hosts, as in the keyword C(hosts).
    type: list
    elements: str
    required: true
  single:
    description: Whether it has to be the name of one host, as it stands in the inventory, and neither a pattern nor a group.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Do something to hosts that exist
  hosts: "{{ query('faultline.selfheal.selection', web_hosts | default('all')) }}"
  tasks:
    - name: Say hello
      ansible.builtin.debug:
        msg: hello
"""

RETURN = r"""
_raw:
  description: The patterns, as they were given.
  type: list
  elements: str
"""

import re
from typing import Any

from ansible import context
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.plugins.lookup import LookupBase

HOST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")


class LookupModule(LookupBase):
    """Looks the patterns up in the inventory that the play sees."""

    def run(self, terms: Any, variables: Any = None, **options: Any) -> list[Any]:
        self.set_options(var_options=variables, direct=options)
        groups = (variables or {}).get("groups") or {}
        # Nothing is going to be done, and the inventory may not be the one that will be used.
        if any(context.CLIARGS.get(name) for name in ("syntax", "listhosts", "listtasks", "listtags")):
            return list(terms)
        patterns = [str(term) for term in terms]
        everybody = set(groups.get("all", ()))
        if self.get_option("single"):
            self._refuse_crowds(patterns, everybody)
        limit = (variables or {}).get("ansible_limit")
        # Ansible takes an empty pattern for everybody.
        if not all(pattern.strip(" ,:") for pattern in patterns) or not self._selected(groups, patterns, limit):
            within = " within --limit %s" % limit if limit else ""
            raise AnsibleError(
                "Refused: %s selects none of the inventory's %d hosts%s. Check the name, or the inventory given with -i."
                % (", ".join(patterns) or "an empty pattern", len(everybody), within)
            )
        return list(terms)

    @staticmethod
    def _refuse_crowds(patterns: list[str], everybody: set[str]) -> None:
        if len(patterns) != 1 or not HOST_NAME.fullmatch(patterns[0]) or patterns[0] not in everybody:
            raise AnsibleError("Refused: %.200r is not the name of one host of the inventory." % (", ".join(patterns),))

    def _selected(self, groups: dict[str, list[str]], patterns: list[str], limit: str | None) -> bool:
        inventory = InventoryManager(self._loader, parse=False)
        for group, hosts in groups.items():
            inventory.add_group(group)
            for host in hosts:
                inventory.add_host(host, group=group)
        if limit:
            inventory.subset(limit)
        return bool(inventory.get_hosts(pattern=patterns))
