#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fault_inject
short_description: Put a fault into a service on purpose, measure its recovery, and take the fault out again
version_added: 0.1.0
author:
  - The faultline.selfheal maintainers (@faultline-selfheal)
description:
  - Kills or hangs the main process of a service, so that it is seen whether, how fast and by what it comes back.
  - The fault is on record in the host's timeline before it acts, and only the very process that was recorded as the service's instance is
    hit (pid and start time, through a pidfd), never one that got its pid later.
  - A process of its own stands beside the fault. It reverts the fault after O(duration), also when the controller or the connection
    has died meanwhile, and it asks the service itself, without believing the watchdog, when it answers again.
    M(faultline.selfheal.incident_follow) shows what it finds.
  - Before a service is hit it must be healthy. What was broken before would be measured as a slow recovery.
options:
  fault:
    description:
      - What to do to the process. V(kill) sends it SIGKILL. V(hang) sends it SIGSTOP, so that it lives, holds its port and answers nothing.
      - Required unless O(revert) is given.
    type: str
    choices: [kill, hang]
  target:
    description:
      - Which process, named by exactly one of O(target.service) and O(target.pid).
      - Required unless O(revert) is given.
    type: dict
    suboptions:
      service:
        description: A service of the contracts in O(etc). The process is the instance that the watchdog has on record.
        type: str
      pid:
        description: A process by its pid. Nothing is measured then, as there is no contract that says how to ask it.
        type: int
      start_time:
        description: The process's start in clock ticks since boot (field 22 of C(/proc/PID/stat)), so that no other process is hit.
        type: int
  duration:
    description:
      - Seconds after which a V(hang) is reverted, unless the process is gone by then. V(0) leaves it until O(revert).
      - A V(kill) cannot be reverted and takes no duration.
    type: float
    default: 0
  measure:
    description: For how many seconds at most to look when the fault is detected and the service answers again. V(0) measures nothing.
    type: float
    default: 120
  revert:
    description:
      - Instead of injecting, revert the fault with this RV(fault_id), or every fault in the service of this name.
      - A fault that is over already, because it was reverted or its process is gone, is left alone.
    type: str
extends_documentation_fragment:
  - faultline.selfheal.places
attributes:
  check_mode:
    description: Makes every check, asks the service once, and returns what would be done, without doing it.
    support: full
  diff_mode:
    description: Shows the state of the process before and after.
    support: full
  idempotent:
    description: A hang that is in force is not injected again, and a fault that is over is not reverted again. Every kill is a new one.
    support: partial
notes:
  - It refuses pid 1, threads of the kernel, this run's own processes, processes that are not the recorded instance, and services that
    somebody holds.
  - SIGTERM to the process that stands beside a fault reverts the fault at once.
requirements:
  - Linux
  - python >= 3.9
seealso:
  - module: faultline.selfheal.incident_follow
  - module: faultline.selfheal.drill_report
  - module: faultline.selfheal.timeline_info
"""

EXAMPLES = r"""
- name: See whether web may be hit, and what would be
  faultline.selfheal.fault_inject:
    fault: kill
    target:
      service: web
  check_mode: true

- name: Kill the main process of web
  faultline.selfheal.fault_inject:
    fault: kill
    target:
      service: web
  register: injected

- name: Follow what happens
  faultline.selfheal.incident_follow:
    fault_id: "{{ injected.fault_id }}"

- name: Hang web for at most 30 seconds, whatever happens to this controller
  faultline.selfheal.fault_inject:
    fault: hang
    target:
      service: web
    duration: 30

- name: Take one fault out again
  faultline.selfheal.fault_inject:
    revert: "{{ injected.fault_id }}"

- name: Take every fault in web out again
  faultline.selfheal.fault_inject:
    revert: web

- name: Hang a process that no contract names, until it is reverted
  faultline.selfheal.fault_inject:
    fault: hang
    target:
      pid: 4711
      start_time: 815021

- name: Drill a watchdog that an ordinary user runs from a directory of its own
  faultline.selfheal.fault_inject:
    fault: kill
    target:
      service: web
    etc: /home/ada/selfheal/etc
"""

RETURN = r"""
fault_id:
  description: Names the fault, for O(revert). V(null) in check mode, and when O(revert) named a service.
  returned: success
  type: str
  sample: web-kill-20261121T210330.001Z
fault:
  description: The fault that was injected or reverted, V(null) when there was none to revert.
  returned: success
  type: str
  sample: kill
service:
  description: The service that was hit, V(null) for a process named by its pid.
  returned: success
  type: str
  sample: web
pid:
  description: The process that was or would be hit, V(null) when there was nothing to revert.
  returned: success
  type: int
  sample: 1234
failure_time:
  description: When the fault was injected. V(null) in check mode.
  returned: success
  type: str
  sample: "2026-11-21T21:03:30.001Z"
reverted:
  description: Whether this task took a fault out again.
  returned: success
  type: bool
  sample: false
reverted_ids:
  description: The faults that this task took out again, or would in check mode.
  returned: success
  type: list
  elements: str
  sample: []
seq:
  description: The number of the C(fault_inject) event in the timeline. V(null) in check mode and with O(revert).
  returned: success
  type: int
  sample: 41
"""

import os
from dataclasses import replace
from typing import Any, Dict, List, NamedTuple, Optional

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import _proc
from ..module_utils._actuators.base import Actuator, Presence, State
from ..module_utils._core.contract import load_json, parse_services, parse_watchdog
from ..module_utils._core.errors import RecordError
from ..module_utils._core.model import Service, WatchdogConfig
from ..module_utils._engine.fault import REVERTS, SIGNALS, Injector, Refused, Victim, check
from ..module_utils._engine.resources import actuator_for
from ..module_utils._engine.witness import ask_once, keep, look, questions
from ..module_utils._module import Report, absolute, run
from ..module_utils._probes.engine import LocalHost
from ..module_utils._records.files import boot_id, cause, read_file
from ..module_utils._records.holds import Holds
from ..module_utils._records.timeline import Timeline

LIMIT = 1 << 20


class Place(NamedTuple):
    """Where things lie on this host."""

    etc: str
    config: WatchdogConfig

    @property
    def injector(self) -> Injector:
        timeline = Timeline(os.path.join(self.config.state_dir, "timeline"), self.config.host, retention=self.config.retention)
        return Injector(timeline, self.config.run_dir)


def read(path: str) -> Any:
    """A JSON file's content. Raises RecordError, ContractError."""
    try:
        return load_json(read_file(path, LIMIT), path)
    except (OSError, ValueError) as error:
        why = cause(error) if isinstance(error, OSError) else str(error)
        raise RecordError("Reading %s: %s. Is the watchdog configured there? Otherwise give etc." % (path, why)) from error


def place(options: Dict[str, Any]) -> Place:
    absolute(options, "etc", "state_dir", "run_dir")
    config = parse_watchdog(read(os.path.join(options["etc"], "watchdog.json")), os.path.join(options["etc"], "watchdog.json"))
    given = {key: options[key] for key in ("state_dir", "run_dir") if options[key] is not None}
    return Place(options["etc"], replace(config, **given))


def contract(where: Place, name: str) -> Service:
    """The contract of a service. Raises Refused, RecordError, ContractError."""
    path = os.path.join(where.etc, "contracts.json")
    services = {service.name: service for service in parse_services(read(path), path)}
    if name not in services:
        raise Refused("%s has no service %s; it has %s" % (path, name, ", ".join(sorted(services)) or "none"))
    return services[name]


def promises(service: Service) -> Dict[str, float]:
    """The numbers of a contract that a recovery is held to: those of the slowest liveness probe."""
    probes = [probe for probe in service.probes if probe.role == "liveness"] or list(service.probes)
    slowest = max(probes, key=lambda probe: probe.period + probe.timeout)
    return {
        "period": slowest.period,
        "timeout": slowest.timeout,
        "failing_for": service.failing_for,
        "recovered_after": service.recovered_after,
    }


def instance(service: Service, presence: Presence) -> Victim:
    """The process to hit. Raises Refused."""
    if presence.state is not State.RUNNING or presence.instance is None:
        raise Refused(
            "%s is %s, so there is nothing to put a fault into%s. Start the watchdog, or see selfheal status."
            % (service.name, presence.state.value, " (%s)" % presence.detail if presence.detail else "")
        )
    pid, start_time = _proc.parse_instance(presence.instance.id)
    return Victim(pid, start_time, service.name)


def steady(host: LocalHost, service: Service) -> None:
    """Raises Refused unless the service is healthy now."""
    for probe, outcome in ask_once(host, questions(service)):
        if outcome.status != "ok":
            raise Refused(
                "%s is not healthy before the fault: probe %s: %s %s. Heal it first, or set measure to 0."
                % (service.name, probe.name, outcome.reason or outcome.status, outcome.detail)
            )


def by_pid(target: Dict[str, Any]) -> Victim:
    if target["start_time"] is None:
        raise Refused("target.pid needs target.start_time, field 22 of /proc/%d/stat: pids are given out again." % target["pid"])
    return Victim(target["pid"], target["start_time"])


def inject(module: Any) -> Report:
    options = module.params
    if options["duration"] < 0 or options["measure"] < 0:
        raise Refused("duration is %g and measure %g; expected 0 or more seconds" % (options["duration"], options["measure"]))
    if options["duration"] and options["fault"] not in REVERTS:
        raise Refused("A %s cannot be reverted, so it has no duration; leave duration out." % options["fault"])
    where = place(options)
    service: Optional[Service] = None
    actuator: Optional[Actuator] = None
    with LocalHost() as host:
        if options["target"]["service"] is not None:
            service = contract(where, options["target"]["service"])
            held = Holds(where.config.state_dir, where.etc).active(service.name)
            if held is not None:
                raise Refused(
                    "%s is held by %s (%s); nobody would heal it. Lift the hold, or wait."
                    % (service.name, held.owner, held.reason or "no reason given")
                )
            actuator = actuator_for(service, where.config.run_dir, where.config.state_dir, boot_id())
            victim = instance(service, look(host, actuator))
        else:
            victim = by_pid(options["target"])
        check(victim)
        injector = where.injector
        present = [each for each in injector.active() if each["pid"] == victim.pid and each["fault"] == options["fault"]]
        if present:
            return report(options, present[0], changed=False)
        if service is not None and options["measure"] > 0:
            steady(host, service)
    fault = injector.draft(options["fault"], victim, options["duration"], promises(service) if service is not None else {})
    if module.check_mode:
        return report(options, {**fault, "fault_id": None, "failure_time": None}, changed=True)
    wanted = options["measure"] if service is not None else 0.0

    def beside(fault: Dict[str, Any], orders: int, answers: int) -> None:
        keep(injector, fault, service, actuator, wanted, orders, answers)

    return report(options, injector.inject(fault, beside if wanted > 0 or options["duration"] > 0 else None), changed=True)


def report(options: Dict[str, Any], fault: Dict[str, Any], changed: bool) -> Report:
    after = {"kill": "killed", "hang": "stopped"}[fault["fault"]]
    words = "pid %d: %%s\n" % fault["pid"]
    return Report(
        {
            "changed": changed,
            "fault_id": fault["fault_id"],
            "fault": fault["fault"],
            "service": fault["service"],
            "pid": fault["pid"],
            "failure_time": fault["failure_time"],
            "reverted": False,
            "reverted_ids": [],
            "seq": fault.get("seq"),
            "diff": {"before": words % ("running" if changed else after), "after": words % after},
        }
    )


def revert(module: Any) -> Report:
    injector, name = place(module.params).injector, module.params["revert"]
    # A fault_id carries its time, so it is longer than its service and holds capitals, which a service's name does not.
    of_service = name == name.lower()
    found: List[Dict[str, Any]] = injector.active(service=name) if of_service else injector.active(fault_id=name)
    done = [each for each in found if module.check_mode or injector.revert(each, "reverted")]
    last = done[-1] if done else {}
    pids = "".join("pid %d: %%s\n" % each["pid"] for each in done)
    return Report(
        {
            "changed": bool(done),
            "fault_id": None if of_service else name,
            "fault": last.get("fault"),
            "pid": last.get("pid"),
            "service": last.get("service", name if of_service else None),
            "failure_time": last.get("failure_time"),
            "reverted": bool(done),
            "reverted_ids": [each["fault_id"] for each in done],
            "seq": None,
            "diff": {"before": pids.replace("%s", "stopped"), "after": pids.replace("%s", "running")},
        }
    )


def main() -> None:
    target = {"service": {"type": "str"}, "pid": {"type": "int"}, "start_time": {"type": "int"}}
    spec = {
        "fault": {"type": "str", "choices": sorted(SIGNALS, reverse=True)},
        "target": {
            "type": "dict",
            "options": target,
            "mutually_exclusive": [("service", "pid")],
            "required_one_of": [("service", "pid")],
        },
        "duration": {"type": "float", "default": 0},
        "measure": {"type": "float", "default": 120},
        "revert": {"type": "str"},
        "etc": {"type": "path", "default": "/etc/selfheal"},
        "state_dir": {"type": "path"},
        "run_dir": {"type": "path"},
    }
    module = AnsibleModule(
        argument_spec=spec,
        supports_check_mode=True,
        mutually_exclusive=[("fault", "revert"), ("target", "revert")],
        required_one_of=[("fault", "revert")],
        required_by={"fault": ["target"]},
    )
    run(module, inject if module.params["revert"] is None else revert)


if __name__ == "__main__":
    main()
