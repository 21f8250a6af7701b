#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: timeline_record
short_description: Record an event in a host's tamper-evident timeline
version_added: 0.1.0
author:
  - The faultline.selfheal maintainers (@faultline-selfheal)
description:
  - Appends one event to the timeline in which the watchdog, the runbooks and people record what happens to the services of a host.
  - The event is on the disk when the task ends. Any number of processes may write at the same time.
  - Each line of the timeline carries the SHA-256 of the line before, so that a later change shows. The format is described
    in C(docs/timeline.md) of the collection; C(sha256sum) is enough to check it.
  - What a writer that died left behind as half a line is moved to a side file first, and recorded as an event of its own.
options:
  path:
    description:
      - The directory of the timeline. It is created, readable for its owner and group only, if it does not exist.
      - A symbolic link is refused, and as root also a directory that others can write.
    type: path
    default: /var/lib/selfheal/timeline
  type:
    description:
      - What kind of event it is. V(note) is for whatever has no type of its own.
      - The types C(log_repair) and C(log_prune) are missing here, because only the timeline itself may write them.
    type: str
    required: true
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
      - note
  service:
    description:
      - The service the event is about. Printable characters, at most 253.
      - Leave it out for events about the host.
    type: str
  incident:
    description: The incident the event belongs to, such as V(web-20261121T210330.001Z).
    type: str
  source:
    description: Who says so.
    type: str
    choices: [liveness, readiness, startup, circuit_breaker, watchdog, module, runbook, drill, operator]
    default: module
  data:
    description:
      - What there is to say, as keys and values. Any text is taken as it is, also newlines and template markers.
      - Values of keys that name a secret, such as C(password), C(api_key) or C(authorization), are replaced by V([redacted]), and URLs
        lose their credentials. C(docs/timeline.md) has the whole rule.
      - An event takes at most 64 KiB; longer texts are cut, which they then say.
    type: dict
  host:
    description:
      - The host's name in the event.
      - The default is C(host) of C(/etc/selfheal/watchdog.json), which the watchdog uses too, and without that file the name the system
        gives itself. On hosts without the watchdog V({{ inventory_hostname }}) is a good value.
    type: str
attributes:
  check_mode:
    description: Says what would be recorded, and fails where recording would fail for the path or the event.
    support: partial
    details:
      - RV(event.seq) and RV(event.previous) hold if nobody else writes meanwhile. There is no RV(event.hash), because it
        depends on the time of the recording.
  diff_mode:
    description: Shows the event that is added.
    support: full
  idempotent:
    description: Every run is an event of its own.
    support: none
seealso:
  - module: faultline.selfheal.timeline_info
requirements:
  - Linux
  - python >= 3.9
"""

EXAMPLES = r"""
- name: Leave a note
  faultline.selfheal.timeline_record:
    type: note
    data:
      text: Kernel updated, reboot planned for tonight

- name: Say that a runbook restarted a service
  faultline.selfheal.timeline_record:
    type: restart
    service: web
    source: runbook
    data:
      reason: configuration changed
      change: CHG-4711

- name: Record under the inventory's name of the host
  faultline.selfheal.timeline_record:
    type: note
    host: "{{ inventory_hostname }}"
    data:
      text: Added to the load balancer

- name: Add to an incident that is open
  faultline.selfheal.timeline_record:
    type: note
    service: web
    incident: web-20261121T210330.001Z
    source: operator
    data:
      text: Disk replaced
      ticket: 815

- name: Record a whole run and keep its place in the chain
  faultline.selfheal.timeline_record:
    type: run_result
    source: runbook
    data: "{{ report }}"
  vars:
    report:
      checked: 12
      healed: 1
  register: recorded

- name: Show the new head, for example to keep it elsewhere as an anchor
  ansible.builtin.debug:
    msg: "{{ recorded.event.seq }} {{ recorded.event.hash }}"

- name: Write to a timeline of one's own, as an ordinary user
  faultline.selfheal.timeline_record:
    path: ~/selfheal/timeline
    type: note
    data:
      text: Hello
"""

RETURN = r"""
event:
  description: The event as it stands in the timeline. Keys that were not given are absent.
  returned: success
  type: dict
  contains:
    seq:
      description: The event's number, counting from 1.
      type: int
      sample: 42
    timestamp:
      description: When it was recorded, in UTC with milliseconds.
      type: str
      sample: "2026-11-21T21:03:38.123Z"
    host:
      description: The host's name.
      type: str
      sample: web1
    service:
      description: The service, if one was given.
      type: str
      sample: web
    incident:
      description: The incident, if one was given.
      type: str
      sample: web-20261121T210330.001Z
    type:
      description: The type.
      type: str
      sample: restart
    source:
      description: Who says so.
      type: str
      sample: runbook
    data:
      description: The data as it was recorded, without secrets, if any was given.
      type: dict
      sample:
        reason: configuration changed
    previous:
      description: The SHA-256 of the line before, 64 zeros for the first event.
      type: str
      sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    hash:
      description: The SHA-256 of the event's own line, without its newline. Absent in check mode.
      type: str
      sample: 60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752
  sample:
    seq: 42
    timestamp: "2026-11-21T21:03:38.123Z"
    host: web1
    type: note
    source: module
    data:
      text: Hello
    previous: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    hash: 60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752
"""

import json
import platform
from typing import Any, Iterator, List, Tuple

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._core.redact import secret_key
from ..module_utils._module import Report, absolute, run
from ..module_utils._records.events import OWN_TYPES, SOURCES, TYPES
from ..module_utils._records.files import cause, check_directory, read_file
from ..module_utils._records.segments import head
from ..module_utils._records.timeline import Timeline

CONFIG = "/etc/selfheal/watchdog.json"


def host_name() -> Tuple[str, List[str]]:
    """The watchdog's name of this host, else the system's own; and what is to be warned about."""
    try:
        name = json.loads(read_file(CONFIG, 1 << 20))["host"]
    except FileNotFoundError:
        return platform.node() or "localhost", []
    except PermissionError as error:
        return platform.node() or "localhost", ["%s cannot be read: %s; the host is called %s" % (CONFIG, cause(error), platform.node())]
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        return platform.node() or "localhost", ["%s names no host: %s; the host is called %s" % (CONFIG, error, platform.node())]
    return (name, []) if isinstance(name, str) and name else (platform.node() or "localhost", ["%s names no host" % CONFIG])


def secrets(value: Any, hidden: bool = False) -> Iterator[str]:
    """Texts under keys that name a secret: Ansible must not show them among the task's arguments either."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from secrets(item, hidden or secret_key(str(key)))
    elif isinstance(value, list):
        for item in value:
            yield from secrets(item, hidden)
    elif hidden and isinstance(value, str) and len(value) > 3:
        yield value


def record(module: Any) -> Report:
    options = module.params
    absolute(options, "path")
    module.no_log_values.update(secrets(options["data"]))
    host, warnings = (options["host"], []) if options["host"] is not None else host_name()
    timeline = Timeline(options["path"], host)
    event = timeline.draft(options["type"], options["service"], options["incident"], options["source"], options["data"])
    if module.check_mode:
        check_directory(timeline.directory)
        last = head(timeline.directory)
        written = event.event(last.seq + 1, last.hash, "")
        del written["hash"]
    else:
        written = timeline.write(event)
    shown = {key: value for key, value in written.items() if key != "hash"}
    headers = {"before_header": timeline.directory, "after_header": timeline.directory}
    diff = {"before": "", "after": json.dumps(shown, indent=4) + "\n", **headers}
    return Report({"changed": True, "event": written, "diff": diff}, warnings=warnings)


def main() -> None:
    spec = {
        "path": {"type": "path", "default": "/var/lib/selfheal/timeline"},
        "type": {"type": "str", "required": True, "choices": [name for name in TYPES if name not in OWN_TYPES]},
        "service": {"type": "str"},
        "incident": {"type": "str"},
        "source": {"type": "str", "choices": list(SOURCES), "default": "module"},
        "data": {"type": "dict"},
        "host": {"type": "str"},
    }
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), record)


if __name__ == "__main__":
    main()
