#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: timeline_info
short_description: Read, verify and sum up a host's timeline
version_added: 0.1.0
author:
  - The faultline.selfheal maintainers (@faultline-selfheal)
description:
  - Returns events of the timeline, its head, whether it is what was written, and what it says in numbers.
  - The chain of hashes shows every change inside the timeline. It cannot show that the tail was cut, that files were deleted, or that
    all of it was written anew. For that keep RV(head) elsewhere and give it as O(anchor) the next time.
  - Tampering is reported and warned about; it does not fail the task.
options:
  path:
    description: The directory of the timeline.
    type: path
    default: /var/lib/selfheal/timeline
  verify:
    description: Whether to check every line of the timeline. A million events take some seconds and less than 30 MB.
    type: bool
    default: false
  anchor:
    description:
      - An earlier head of this timeline. The timeline is verified, and RV(valid) is V(true) only if it is an extension of the anchor.
      - If retention has removed the anchor's event, that can no longer be told, and RV(valid) is V(null) unless a fault is found.
    type: dict
    suboptions:
      seq:
        description: The head's number.
        type: int
        required: true
      hash:
        description: The head's SHA-256, 64 hex digits.
        type: str
        required: true
  service:
    description: Only events about this service. Also narrows RV(statistics).
    type: str
  type:
    description: Only events of this type.
    type: str
    choices:
      - failure
      - degrade
      - failover
      - failback
      - start
      - restart
      - recreate
      - redeploy
      - rollback
      - recover
      - page
      - page_failed
      - page_resolved
      - breaker_trip
      - breaker_half_open
      - breaker_reset
      - breaker_forced
      - symlink_repair
      - deployment_phase
      - deployment_resume
      - deployment_fail
      - container_remove
      - hold
      - unhold
      - approve
      - blocked
      - override
      - fault_inject
      - fault_revert
      - watchdog_start
      - watchdog_stop
      - contract_loaded
      - contract_refused
      - state_reset
      - lease_takeover
      - alert_dropped
      - run_result
      - log_repair
      - log_prune
      - note
  since:
    description:
      - Only events from this time on. Also narrows RV(statistics).
      - A point in time with its zone, such as V(2026-11-21T21:03:38Z), or a span before now, such as V(90s), V(30m), V(24h) or V(7d).
    type: str
  limit:
    description: The most events to return, the newest of those that match. V(0) returns none.
    type: int
    default: 100
  statistics:
    description: Whether to sum up all events that match O(service) and O(since), whatever O(type) and O(limit) are.
    type: bool
    default: false
attributes:
  check_mode:
    description: The module changes nothing. It reads in check mode as well.
    support: full
  diff_mode:
    description: There is nothing to show a difference of.
    support: none
  idempotent:
    description: It changes nothing.
    support: full
seealso:
  - module: faultline.selfheal.timeline_record
notes:
  - A line that is no event is passed over when events are read. O(verify) names it.
requirements:
  - Linux
  - python >= 3.9
"""

EXAMPLES = r"""
- name: The newest 100 events
  faultline.selfheal.timeline_info:
  register: timeline

- name: What happened to one service in the last day
  faultline.selfheal.timeline_info:
    service: web
    since: 24h
    limit: 1000

- name: The last page
  faultline.selfheal.timeline_info:
    type: page
    limit: 1

- name: Verify the chain, return no events
  faultline.selfheal.timeline_info:
    verify: true
    limit: 0
  register: timeline

- name: Stop if somebody changed it
  ansible.builtin.assert:
    that: timeline.valid
    fail_msg: "{{ timeline.first_bad }}"

- name: Hold the timeline against the head the controller kept last time
  faultline.selfheal.timeline_info:
    anchor: "{{ lookup('ansible.builtin.file', anchor_file) | from_json }}"
    limit: 0
  vars:
    anchor_file: "anchors/{{ inventory_hostname }}.json"
  register: timeline

- name: Keep the new head on the controller
  ansible.builtin.copy:
    content: "{{ timeline.head | to_json }}"
    dest: "anchors/{{ inventory_hostname }}.json"
    mode: "0600"
  delegate_to: localhost
  when: timeline.valid is true

- name: How often and how long services were down in a week
  faultline.selfheal.timeline_info:
    since: 7d
    statistics: true
    limit: 0
"""

RETURN = r"""
events:
  description: The events that match, newest last, each with its C(hash).
  returned: success
  type: list
  elements: dict
  sample:
    - seq: 42
      timestamp: "2026-11-21T21:03:38.123Z"
      host: web1
      service: web
      incident: web-20261121T210330.001Z
      type: restart
      source: watchdog
      data:
        attempt: 1
        reason: liveness_failed
      previous: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
      hash: 60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752
head:
  description: The last event, to be kept elsewhere as an anchor. When verification found a fault, the last event before it.
  returned: success
  type: dict
  contains:
    seq:
      description: Its number, V(0) if there are no events.
      type: int
      sample: 42
    hash:
      description: Its SHA-256, 64 zeros if there are no events.
      type: str
      sample: 60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752
valid:
  description:
    - Whether the timeline is what was written and an extension of O(anchor).
    - V(null) if neither O(verify) nor O(anchor) is given, or if the anchor's event was removed by retention; RV(detail) then says so.
  returned: success
  type: bool
  sample: true
first_bad:
  description: The first place that is not as it was written, V(null) if there is none or if nothing was verified.
  returned: success
  type: dict
  contains:
    seq:
      description: The number the event there should have.
      type: int
      sample: 17
    path:
      description: The file.
      type: str
      sample: /var/lib/selfheal/timeline/000001.jsonl
    line:
      description: The line in the file, counting from 1; V(null) if the fault is not in a single line.
      type: int
      sample: 17
    problem:
      description: What is wrong there.
      type: str
      sample: "its SHA-256 is not the one the next line carries: this line was altered"
anchor_ok:
  description: Whether the timeline is an extension of O(anchor). V(null) without an anchor, or if it cannot be told.
  returned: success
  type: bool
  sample: true
checked:
  description: How many events were found good, V(null) if nothing was verified.
  returned: success
  type: int
  sample: 42
pruned:
  description: The number of the last event that retention removed, V(0) for none, V(null) if nothing was verified.
  returned: success
  type: int
  sample: 0
detail:
  description: Why RV(valid) is V(null) although an anchor was given; otherwise empty.
  returned: success
  type: str
  sample: ""
statistics:
  description: The timeline in numbers, V(null) unless O(statistics) is V(true).
  returned: success
  type: dict
  contains:
    from:
      description: The time of the first event that counts.
      type: str
      sample: "2026-11-14T21:03:38.123Z"
    to:
      description: The time of the last.
      type: str
      sample: "2026-11-21T21:03:38.123Z"
    events:
      description: How many events count.
      type: int
      sample: 812
    services:
      description:
        - For each service the number of C(incidents), of those still C(open) and of those C(recovered).
        - C(mttd_ms) is the time from a failure to its detection, C(mttr_ms) the time from a failure to its recovery. Each has C(count),
          C(median), C(p95) and C(max), or is V(null). C(mtbf_ms) is the time without an incident, shared among the incidents.
        - C(actions) counts each rung of the ladder, in C(total) and by how it ended.
        - C(pages) counts pages, C(flaps) those of them because the service flapped, C(relapses) incidents that went on with an earlier one,
          C(blocked) what was forbidden, by reason.
        - C(availability) is the share of the time between C(from) and C(to) in which no incident was open.
      type: dict
      sample:
        web:
          incidents: 2
          open: 0
          recovered: 2
          mttd_ms: {count: 2, median: 40, p95: 48, max: 48}
          mttr_ms: {count: 2, median: 930, p95: 1210, max: 1210}
          mtbf_ms: 302399000
          actions:
            restart: {total: 2, recovered: 2}
          pages: 0
          flaps: 0
          relapses: 0
          blocked: {}
          availability: 0.999997
"""

import time
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._core.errors import RecordError
from ..module_utils._core.times import parse_since
from ..module_utils._module import Report, absolute, run
from ..module_utils._records.events import TYPES
from ..module_utils._records.read import read, scan
from ..module_utils._records.segments import head
from ..module_utils._records.statistics import statistics
from ..module_utils._records.verify import verify


def look(module: Any) -> Report:
    options = module.params
    absolute(options, "path")
    path, service, since, limit = options["path"], options["service"], None, options["limit"]
    if options["since"] is not None:
        try:
            since = parse_since(options["since"], time.time())
        except ValueError as error:
            raise RecordError("since: %s" % error) from error
    if limit < 0:
        raise RecordError("limit is %d; expected 0 or more" % limit)
    result: Dict[str, Any] = {
        "changed": False,
        "events": [],
        "head": None,
        "valid": None,
        "first_bad": None,
        "anchor_ok": None,
        "checked": None,
        "pruned": None,
        "detail": "",
        "statistics": None,
    }
    warnings = []
    if options["verify"] or options["anchor"] is not None:
        found = verify(path, options["anchor"]).as_data()
        result["checked"] = found.pop("events")
        result.update(found)
        if result["valid"] is False:
            place = result["first_bad"]
            where = "%s line %s: %s" % (place["path"], place["line"], place["problem"])
            warnings.append("The timeline %s is not what was written: %s" % (path, where))
    else:
        result["head"] = head(path)._asdict()
    result["events"] = read(path, service, options["type"], since, limit)
    if options["statistics"]:
        result["statistics"] = statistics(scan(path, service, since))
    return Report(result, warnings=warnings)


def main() -> None:
    spec = {
        "path": {"type": "path", "default": "/var/lib/selfheal/timeline"},
        "verify": {"type": "bool", "default": False},
        "anchor": {"type": "dict", "options": {"seq": {"type": "int", "required": True}, "hash": {"type": "str", "required": True}}},
        "service": {"type": "str"},
        "type": {"type": "str", "choices": list(TYPES)},
        "since": {"type": "str"},
        "limit": {"type": "int", "default": 100},
        "statistics": {"type": "bool", "default": False},
    }
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), look)


if __name__ == "__main__":
    main()
