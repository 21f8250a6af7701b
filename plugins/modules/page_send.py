#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: page_send
short_description: Page people once about something that no watchdog can say
version_added: 0.1.0
author:
  - The faultline.selfheal maintainers (@faultline-selfheal)
description:
  - Pages a person about an incident of a runbook's, such as half a fleet that fails, or a host that cannot be reached. It is the code by
    which the watchdog pages, with the same targets and the same messages, which C(docs/paging.md) of the collection describes.
  - An incident is paged once, however often and by however many runs. Who was not reached is tried again by the next run. With
    O(state=resolved) those who were paged are told that it is over.
  - Usually it runs on the controller, with C(delegate_to) and C(run_once).
options:
  incident:
    description: What identifies the incident. Printable characters, at most 253.
    type: str
    required: true
  state:
    description: Whether somebody is to come, or it is over.
    type: str
    choices: [firing, resolved]
    default: firing
  notify:
    description:
      - >-
        Whom to tell, as in a contract's C(notify), such as C({webhook: {url: ...}}), C({alertmanager: {url: ...}}) or
        C({command: {argv: [...]}}). Files with tokens are read where the module runs.
      - With an empty list nobody is told, and the incident is recorded all the same.
    type: list
    elements: dict
    default: []
  reason:
    description: Why, in one word, such as V(storm), V(unreachable) or V(ladder_exhausted).
    type: str
    default: unhealthy
  detail:
    description: Why, in a sentence without its full stop.
    type: str
    default: ""
  service:
    description: The service it is about. Leave it out for hosts and fleets.
    type: str
  host:
    description: The host or fleet it is about.
    type: str
    required: true
  state_dir:
    description: The directory that keeps pages and, below C(timeline), records them.
    type: path
    default: /var/lib/selfheal
  wait:
    description: Seconds that delivery may take.
    type: float
    default: 20
attributes:
  check_mode:
    description: Says whether somebody would be told.
    support: full
  diff_mode:
    description: There is nothing to show a difference of.
    support: none
  idempotent:
    description: An incident that was paged is not paged again.
    support: full
seealso:
  - module: faultline.selfheal.timeline_record
  - module: faultline.selfheal.service_heal
requirements:
  - Linux
  - python >= 3.9
"""

EXAMPLES = r"""
- name: Call somebody because a host cannot be reached
  faultline.selfheal.page_send:
    incident: "unreachable-{{ inventory_hostname }}"
    host: "{{ inventory_hostname }}"
    reason: unreachable
    detail: it does not answer to SSH
    notify: "{{ selfheal_notify }}"
    state_dir: ~/.local/share/selfheal
  delegate_to: localhost

- name: It answers again
  faultline.selfheal.page_send:
    incident: "unreachable-{{ inventory_hostname }}"
    host: "{{ inventory_hostname }}"
    state: resolved
    state_dir: ~/.local/share/selfheal
  delegate_to: localhost
"""

RETURN = r"""
outcome:
  description:
    - V(told), this run has told all who were to be told. V(known), they knew before. V(recorded), there is nobody to tell.
    - V(failed), somebody could not be told. The task fails, and the next run tries again.
    - V(nothing), O(state=resolved) and there is no such page.
  returned: always, unless an argument was wrong
  type: str
  sample: told
targets:
  description: Who was to be told, and whether they have been.
  returned: always, unless an argument was wrong
  type: list
  elements: dict
  contains:
    name:
      description: The target, without path and parameters.
      type: str
      sample: webhook pager.example
    told:
      description: Whether the page got through.
      type: bool
      sample: true
"""

import json
import os
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._core.contract import parse_watchdog
from ..module_utils._core.errors import ContractError, Problem
from ..module_utils._core.model import Notify
from ..module_utils._core.pages import names_of
from ..module_utils._engine.local import LocalRecords
from ..module_utils._engine.paged import PagedRecords
from ..module_utils._engine.pager import Pager
from ..module_utils._module import Report, absolute, listed, run
from ..module_utils._probes.engine import LocalHost
from ..module_utils._records.buffer import Recorder
from ..module_utils._records.pages import Page, Pages
from ..module_utils._records.state import StateStore
from ..module_utils._records.timeline import Timeline


class _Desk:
    """Where pages lie, and the pager of this run."""

    def __init__(self, options: Dict[str, Any], notify: Sequence[Notify], host: LocalHost) -> None:
        self.notes: List[str] = []
        self.timeline = Timeline(os.path.join(options["state_dir"], "timeline"), options["host"])
        self.pages = Pages(options["state_dir"], self._damaged)
        records = LocalRecords(Recorder(self.timeline), StateStore(os.path.join(options["state_dir"], "state"), self._damaged), host)
        self.pager = Pager(host, options["host"], self.pages, records, lambda service: notify, "runbook")
        self.records = PagedRecords(records, self.pager)

    def _damaged(self, path: str, aside: str, problem: str) -> None:
        self.notes.append("%s was unusable (%s) and is now %s" % (path, problem, aside))


def targets(notify: List[Dict[str, Any]]) -> Tuple[Notify, ...]:
    """Raises ContractError."""
    # Ansible has read each entry as a mapping; the one parser of contracts says what is wrong with it.
    return parse_watchdog({"schema": 1, "host": "controller", "notify": json.loads(json.dumps(notify))}, "options").notify


def told(page: Optional[Page]) -> List[Dict[str, Any]]:
    if page is None:
        return []
    names = names_of([each.notify for each in page.told])
    return [{"name": name, "told": each.delivered is not None} for name, each in zip(names, page.told)]


def fire(options: Dict[str, Any], desk: _Desk, check: bool) -> Tuple[bool, str, List[Dict[str, Any]]]:
    """Was anything done, what came of it, and who knows."""
    incident = options["incident"]
    before = desk.pages.load(incident)
    fresh = before is None or before.closed is not None
    if not fresh and all(each["told"] for each in told(before)):
        return False, "known", told(before)
    if check:
        return True, "told", told(before)
    data = {"reason": options["reason"], "detail": options["detail"]}
    if fresh:
        if before is not None:
            desk.pages.remove(incident)  # it was over, and is not: nobody waits for that word any more
        desk.records.record("page", options["service"], incident, "runbook", data)
    else:
        desk.pager.paged(options["service"], incident, data, None)  # somebody is still to be told
    desk.pager.deliver(options["wait"])
    after = told(desk.pages.load(incident))
    if not after:
        return True, "recorded", after
    return True, "told" if all(each["told"] for each in after) else "failed", after


def resolve(options: Dict[str, Any], desk: _Desk, check: bool) -> Tuple[bool, str, List[Dict[str, Any]]]:
    incident = options["incident"]
    before = desk.pages.load(incident)
    if before is None:
        return False, "nothing", []
    if not check:
        if before.closed is None:
            desk.records.record("page_resolved", before.service, incident, "runbook", {"reason": options["reason"]})
        else:
            desk.pager.paged(before.service, incident, {}, None)
        desk.pager.deliver(options["wait"])
    return True, "told" if check or desk.pages.load(incident) is None else "failed", told(before)


def send(module: Any) -> Report:
    options = module.params
    absolute(options, "state_dir")
    if not 0 < options["wait"] <= 600:
        raise ContractError("options", [Problem("wait", "expected seconds above 0 and up to 600, found %g" % options["wait"])])
    notify = targets(options["notify"])
    with LocalHost() as host:
        desk = _Desk(options, notify, host)
        try:
            changed, outcome, known = (fire if options["state"] == "firing" else resolve)(options, desk, module.check_mode)
        finally:
            desk.timeline.close()
    failure = None
    if outcome == "failed":
        silent = [each["name"] for each in known if not each["told"]] or [each["name"] for each in known]
        failure = "%s was paged, but not everybody was told: %s. The next run tries again." % (options["incident"], listed(silent))
    return Report({"changed": changed, "outcome": outcome, "targets": known}, failure, desk.notes)


def main() -> None:
    spec = {
        "incident": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["firing", "resolved"], "default": "firing"},
        "notify": {"type": "list", "elements": "dict", "default": []},
        "reason": {"type": "str", "default": "unhealthy"},
        "detail": {"type": "str", "default": ""},
        "service": {"type": "str"},
        "host": {"type": "str", "required": True},
        "state_dir": {"type": "path", "default": "/var/lib/selfheal"},
        "wait": {"type": "float", "default": 20},
    }
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), send)


if __name__ == "__main__":
    main()
