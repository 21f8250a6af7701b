#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: incident_follow
short_description: Follow a fault and its healing live on the terminal, and measure it
version_added: 0.1.0
author:
  - The faultline.selfheal maintainers (@faultline-selfheal)
description:
  - Prints each step at once, as one line with the milliseconds since the fault - failed, detected, restarted, serving, proven.
  - Ends when the incident is closed and the service was seen to answer again, when a person is paged, or after O(timeout).
  - What is measured comes from the process that M(faultline.selfheal.fault_inject) has put beside the fault. It asks the service itself.
    What the watchdog says about the same recovery is returned beside it.
  - It fails only when it cannot look. Whether a recovery was good enough is said by RV(drill.verdict), and
    M(faultline.selfheal.drill_report) fails for a bad one.
options:
  fault_id:
    description: The fault to follow, as M(faultline.selfheal.fault_inject) returned it.
    type: str
    required: true
  timeout:
    description: For how many seconds to follow at most.
    type: float
    default: 120
  limits:
    description: What a recovery is held to. RV(drill.limit_text) says how the limit came about.
    type: dict
    default: {}
    suboptions:
      detected_ms:
        description: A killed process must be noticed, and that recorded, within so many milliseconds.
        type: float
        default: 50
      restart_ms:
        description: A killed service must serve within so many milliseconds and the time that its new process took from its start to its
          first good answer.
        type: float
        default: 100
      hang_extra_ms:
        description:
          - A hung service must serve within C(period + timeout + failing_for) of its contract and so many milliseconds.
          - With C(failing_for) 0 within C(period + 2 * timeout), and 500 milliseconds less than this.
        type: float
        default: 2000
  after_seq:
    description: Show only events after the one of this number in the timeline. By default all since the fault.
    type: int
    default: 0
  wait:
    description: How many seconds one look at the host waits for something new, before the connection is used anew.
    type: float
    default: 2
extends_documentation_fragment:
  - faultline.selfheal.places
attributes:
  check_mode:
    description: It changes nothing, and follows in check mode as well.
    support: full
  diff_mode:
    description: There is nothing to show a difference of.
    support: none
  idempotent:
    description: It changes nothing.
    support: full
notes:
  - The lines are printed by the controller, as they come. The host is asked over the task's own connection, with its C(become).
requirements:
  - Linux
  - python >= 3.9
seealso:
  - module: faultline.selfheal.fault_inject
  - module: faultline.selfheal.drill_report
"""

EXAMPLES = r"""
- name: Hang web
  faultline.selfheal.fault_inject:
    fault: hang
    target:
      service: web
    duration: 60
  register: injected

- name: Follow it until it is healed
  faultline.selfheal.incident_follow:
    fault_id: "{{ injected.fault_id }}"
  register: followed

- name: Say how long it took
  ansible.builtin.debug:
    msg: "web served again after {{ followed.drill.recovered_after_ms }} ms"

- name: Follow for five minutes at most
  faultline.selfheal.incident_follow:
    fault_id: "{{ injected.fault_id }}"
    timeout: 300

- name: Hold the recovery to numbers of one's own
  faultline.selfheal.incident_follow:
    fault_id: "{{ injected.fault_id }}"
    limits:
      detected_ms: 20
      hang_extra_ms: 500
  register: followed

- name: Stop if it was too slow
  ansible.builtin.assert:
    that: followed.drill.verdict == 'good'
    fail_msg: "{{ followed.drill.problems | join('; ') }}"

- name: Follow a watchdog that an ordinary user runs from a directory of its own
  faultline.selfheal.incident_follow:
    fault_id: "{{ injected.fault_id }}"
    etc: /home/ada/selfheal/etc
"""

RETURN = r"""
events:
  description: The service's events of the timeline since the fault, oldest first.
  returned: success
  type: list
  elements: dict
  sample:
    - seq: 42
      timestamp: "2026-11-21T21:03:30.002Z"
      host: web1
      service: web
      incident: web-20261121T210330.001Z
      type: failure
      source: watchdog
      data:
        reason: gone
      previous: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
      hash: 60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752
seq:
  description: The number of the last event that was looked at.
  returned: success
  type: int
  sample: 46
fault:
  description: The fault, and in C(measured) what was found by the process beside it.
  returned: success
  type: dict
  sample:
    fault_id: web-kill-20261121T210330.001Z
    fault: kill
    service: web
    pid: 1234
drill:
  description: The drill in one row.
  returned: success
  type: dict
  contains:
    fault:
      description: The fault.
      type: str
      sample: kill
    service:
      description: The service.
      type: str
      sample: web
    host:
      description: The host, by the inventory's name.
      type: str
      sample: web1
    outcome:
      description: How it ended, one of V(recovered), V(escalated), V(reverted) and V(timeout).
      type: str
      sample: recovered
    detected_after_ms:
      description: From the fault until the failure stood in the timeline. V(null) if it never did.
      type: int
      sample: 1
    recovered_after_ms:
      description: From the fault until the service answered again, asked by the drill itself. V(null) if it did not.
      type: int
      sample: 97
    proven_after_ms:
      description: From the fault until the watchdog closed the incident. V(null) if it did not.
      type: int
      sample: 2105
    recovery_duration_ms:
      description: The recovery as the watchdog measured it. V(null) if there was none.
      type: int
      sample: 95
    startup_ms:
      description: From the start of the new process until its first good answer. V(null) if there was none.
      type: int
      sample: 84
    rung:
      description: What helped. V(null) if nothing did.
      type: str
      sample: restart
    detected_limit_ms:
      description: The limit for the detection. V(null) for faults that have none.
      type: float
      sample: 50
    recovered_limit_ms:
      description: The limit for serving again. V(null) when it cannot be told.
      type: float
      sample: 184
    limit_text:
      description: How that limit came about.
      type: str
      sample: 100 ms + 84 ms that its new process took to start
    verdict:
      description: V(good) or V(bad).
      type: str
      sample: good
    problems:
      description: What is bad about it, one sentence each.
      type: list
      elements: str
      sample: []
"""

import os
import time
from dataclasses import replace
from typing import Any, Dict, List

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._core.contract import load_json, parse_watchdog
from ..module_utils._core.errors import RecordError
from ..module_utils._core.model import WatchdogConfig
from ..module_utils._module import Report, absolute, run
from ..module_utils._records.faults import Faults
from ..module_utils._records.files import cause, read_file
from ..module_utils._records.read import Cursor

PAUSE = 0.02
"""Seconds between looks at the end of the file: there is no event to wait for."""


def configuration(options: Dict[str, Any]) -> WatchdogConfig:
    """Raises RecordError, ContractError."""
    absolute(options, "etc", "state_dir", "run_dir")
    path = os.path.join(options["etc"], "watchdog.json")
    try:
        config = parse_watchdog(load_json(read_file(path, 1 << 20), path), path)
    except (OSError, ValueError) as error:
        why = cause(error) if isinstance(error, OSError) else str(error)
        raise RecordError("Reading %s: %s. Is the watchdog configured there? Otherwise give etc." % (path, why)) from error
    return replace(config, **{key: options[key] for key in ("state_dir", "run_dir") if options[key] is not None})


def look(module: Any) -> Report:
    """One look: returns as soon as there is something new, at the latest after `wait`."""
    options = module.params
    config = configuration(options)
    faults = Faults(config.run_dir)
    fault = faults.load(options["fault_id"])
    if fault is None:
        raise RecordError(
            "There is no fault %s in %s. Give the fault_id that fault_inject returned, and the same etc."
            % (options["fault_id"], faults.directory)
        )
    first = fault.get("seq", 1) - 1
    cursor = Cursor(os.path.join(config.state_dir, "timeline"), max(options["after_seq"], first))
    # A fault whose measuring has ended is no news a second time; the caller says by after_seq what it has seen.
    measured = fault["measured"] if options["after_seq"] > first else None
    until = time.monotonic() + options["wait"]
    events: List[Dict[str, Any]] = []
    while True:
        events += [event for event in cursor.new() if event.get("service") == fault["service"]]
        fault = faults.load(options["fault_id"]) or fault
        if events or fault["measured"] != measured or time.monotonic() >= until:
            break
        time.sleep(PAUSE)
    return Report({"changed": False, "events": events, "seq": cursor.seq, "fault": fault})


def main() -> None:
    limits = {
        "detected_ms": {"type": "float", "default": 50},
        "restart_ms": {"type": "float", "default": 100},
        "hang_extra_ms": {"type": "float", "default": 2000},
    }
    spec = {
        "fault_id": {"type": "str", "required": True},
        "timeout": {"type": "float", "default": 120},
        "limits": {"type": "dict", "default": {}, "options": limits},
        "after_seq": {"type": "int", "default": 0},
        "wait": {"type": "float", "default": 2},
        "etc": {"type": "path", "default": "/etc/selfheal"},
        "state_dir": {"type": "path"},
        "run_dir": {"type": "path"},
    }
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), look)


if __name__ == "__main__":
    main()
