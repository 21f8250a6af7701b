#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: traffic_switch
short_description: Move the traffic of a service at an HAProxy, and prove that it moved
version_added: 0.1.0
author:
  - The faultline.selfheal maintainers (@faultline-selfheal)
description:
  - Tells an HAProxy on the managed host, over its runtime socket, to take one of its servers out of the traffic or to give it traffic
    again. What became of it is read back, and written to the file from which HAProxy takes its servers' states when it is reloaded or
    started again.
  - Nothing is taken away where nobody is left to serve. A backup must be read back as up, by a health check of HAProxy's, before traffic
    is moved to it, and the last server that is up is not drained.
  - It is the code by which the watchdog moves traffic to a contract's fallback. Holds bind it as they bind the watchdog.
  - While an incident is open the watchdog keeps traffic where it has moved it. Hold the service first to decide otherwise.
options:
  haproxy:
    description:
      - Which HAProxy, and which of its servers.
      - Needed unless O(service) names a contract of the host that has a C(fallback) of kind C(haproxy).
    type: dict
    suboptions:
      socket:
        description: HAProxy's runtime socket, with C(level admin).
        type: path
        default: /run/haproxy/admin.sock
      backend:
        description: The backend's name.
        type: str
        required: true
      primary:
        description: The server that is moved away, drained or given traffic again.
        type: str
        required: true
      backup:
        description: The server that serves meanwhile. It needs C(check). Required for O(state=backup).
        type: str
      state_file:
        description:
          - Where HAProxy reads the states of its servers, C(server-state-file) in its configuration.
          - Where it cannot be written, the move stands, and a warning says that a restart would forget it.
        type: path
        default: /var/lib/haproxy/server-state
  state:
    description:
      - V(backup), the primary is out of the traffic (HAProxy's C(maint)), and the backup is up.
      - V(primary), the primary takes traffic, and HAProxy's own check says that it is up.
      - V(drain), the primary gets no new clients. Those that it has, and those that stick to it by a cookie or a table, are served on.
      - V(ready), the primary takes traffic as soon as HAProxy's own check says that it is up. That is not waited for.
    type: str
    required: true
    choices: [primary, backup, drain, ready]
  service:
    description:
      - The service in the host's contracts and in the timeline, whose holds bind.
      - The default is the service in C(contracts.json) whose fallback is this one. Without one only holds of the whole host bind.
    type: str
  wait:
    description:
      - With O(state=drain), for how many seconds at most to wait until the primary has no session left. V(0) waits for none.
      - With O(state=primary), for how many seconds at most to wait until it is read back as up.
      - The task fails when they are over. What was set stays.
    type: float
    default: 0
  weight:
    description:
      - Percent of its configured weight that the primary gets, with O(state=primary) and O(state=ready). Give a small one first where a
        service must not get all of its traffic at once.
      - Without it the weight stays as it is. HAProxy rounds, so the configured weight should be 100.
    type: int
  override:
    description: Guards to lift, by their reasons. That is recorded.
    type: list
    elements: str
    default: []
    choices: [hold, last_available]
  host:
    description:
      - The host's name in events.
      - The default is that of C(watchdog.json), and without that file the name the system gives itself.
    type: str
extends_documentation_fragment:
  - faultline.selfheal.places
attributes:
  check_mode:
    description: Asks HAProxy and the holds, and fails where the move would be refused. Sessions and health checks are not waited for.
    support: full
  diff_mode:
    description: Shows the status of each server before and after.
    support: full
  idempotent:
    description: A server that stands as wanted is not told anything, and nothing is recorded.
    support: full
seealso:
  - module: faultline.selfheal.service_heal
  - module: faultline.selfheal.timeline_info
requirements:
  - Linux
  - python >= 3.9
  - HAProxy 2.2 or newer on the managed host
"""

EXAMPLES = r"""
- name: Serve from the backup
  faultline.selfheal.traffic_switch:
    haproxy: {backend: web, primary: web1, backup: web2}
    state: backup

- name: Serve from the primary again, and see that HAProxy finds it up
  faultline.selfheal.traffic_switch:
    haproxy: {backend: web, primary: web1, backup: web2}
    state: primary
    wait: 10

- name: Move the traffic of a service as its contract on the host says
  faultline.selfheal.traffic_switch:
    service: web
    state: backup

- name: Restart each host of a pool without losing a request
  delegate_to: "{{ load_balancer }}"
  faultline.selfheal.traffic_switch:
    haproxy: {backend: web, primary: "{{ inventory_hostname }}"}
    state: drain
    wait: 60

- name: Give it a quarter of its traffic first
  delegate_to: "{{ load_balancer }}"
  faultline.selfheal.traffic_switch:
    haproxy: {backend: web, primary: "{{ inventory_hostname }}"}
    state: primary
    weight: 25
    wait: 30

- name: Move a service that you hold yourself
  faultline.selfheal.traffic_switch:
    service: web
    state: backup
    override: [hold]

- name: See whether a move would be possible
  faultline.selfheal.traffic_switch:
    service: web
    state: backup
  check_mode: true
"""

RETURN = r"""
before:
  description: The backend's servers as HAProxy had them, V(null) if it could not be asked.
  returned: always, unless an argument was wrong
  type: dict
  sample:
    web1: {status: UP, weight: 100, sessions: 3}
    web2: {status: UP, weight: 100, sessions: 0}
after:
  description: The same as read back at the end; in check mode with the status that the primary would have.
  returned: always, unless an argument was wrong
  type: dict
  sample:
    web1: {status: MAINT, weight: 100, sessions: 1}
    web2: {status: UP, weight: 100, sessions: 2}
took_ms:
  description: Milliseconds from the decision until everything was read back and saved, or waited for.
  returned: always, unless an argument was wrong
  type: float
  sample: 3.214
results:
  description: The same in the shape that all modules of the collection share, with one entry.
  returned: always, unless an argument was wrong
  type: list
  elements: dict
  contains:
    name:
      description: Backend and server.
      type: str
      sample: web/web1
    action:
      description: The state that was asked for.
      type: str
      sample: backup
    outcome:
      description: V(changed), V(unchanged), V(planned), V(blocked) or V(failed).
      type: str
      sample: changed
    reason:
      description: Why not, in one word, such as V(hold), V(no_backup), V(last_available), V(timeout) or V(action_failed).
      type: str
      sample: null
    detail:
      description: One sentence for people.
      type: str
      sample: "backend web: web1 is MAINT, web2 is UP"
summary:
  description: How many results had which outcome.
  returned: always, unless an argument was wrong
  type: dict
  sample: {changed: 1, unchanged: 0, planned: 0, blocked: 0, failed: 0}
"""

import os
import platform
import time
from dataclasses import replace
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._actuators.haproxy import STATE_FILE, Backend
from ..module_utils._core.contract import parse_watchdog
from ..module_utils._core.errors import ContractError, Problem, RecordError
from ..module_utils._core.model import Fallback, Service, WatchdogConfig
from ..module_utils._core.reasons import Reason
from ..module_utils._core.remedies import fallback as fallback_check
from ..module_utils._core.schema import Problems
from ..module_utils._engine.etc import Etc, chosen, load_services, read_json
from ..module_utils._engine.person import owner
from ..module_utils._engine.switch import STATES, Switch, Switched, Wish
from ..module_utils._module import Report, absolute, counts, given, run
from ..module_utils._probes.engine import LocalHost
from ..module_utils._records.buffer import Recorder
from ..module_utils._records.holds import Holds
from ..module_utils._records.state import StateStore
from ..module_utils._records.timeline import Timeline

OUTCOMES = ("changed", "unchanged", "planned", "blocked", "failed")
DEFAULT_SOCKET = "/run/haproxy/admin.sock"
AWAY = ("backup", "drain")
BLOCKS = (Reason.HOLD, Reason.NO_BACKUP, Reason.LAST_AVAILABLE)


class Target(NamedTuple):
    """Whose traffic, where. service: None where no contract of this host knows of it."""

    options: Dict[str, Any]
    service: Optional[str]


def configuration(options: Dict[str, Any], etc: Etc) -> WatchdogConfig:
    """The host's configuration, with what the task says instead. Raises ContractError, Unreadable."""
    if os.path.lexists(etc.watchdog):
        config = parse_watchdog(read_json(etc.watchdog), etc.watchdog)
    else:
        config = WatchdogConfig(platform.node() or "localhost")
    told = {key: options[key] for key in ("host", "state_dir", "run_dir") if options[key] is not None}
    empty = [Problem(key, "is empty; leave it out for its default") for key, value in told.items() if not value]
    if empty:
        raise ContractError("options", empty)
    return replace(config, **told)


def checked(options: Dict[str, Any]) -> None:
    """What no type of Ansible's can say. Raises ContractError with all of it."""
    problems = Problems()
    state, weight, haproxy = options["state"], options["weight"], options["haproxy"]
    if not 0 <= options["wait"] <= 86400:
        problems.add("wait", "expected seconds from 0 to 86400, found %g" % options["wait"])
    if weight is not None and not 1 <= weight <= 100:
        problems.add("weight", "expected percent from 1 to 100, found %d; state drain takes the traffic away" % weight)
    if weight is not None and state in AWAY:
        problems.add("weight", "goes with the states primary and ready only")
    if haproxy is not None:
        if state == "backup" and haproxy["backup"] is None:
            problems.add("haproxy.backup", "is required for state backup")
        # The contract's own grammar knows names and paths; a backup is none where only one server is meant.
        whole = {**given(haproxy), "backup": haproxy["backup"] or "-"}
        fallback_check({"haproxy": whole}, "", problems)
    problems.refuse("options")


def contracts(etc: Etc) -> Tuple[Service, ...]:
    return load_services(etc.contracts) if os.path.lexists(etc.contracts) else ()


def target(options: Dict[str, Any], etc: Etc) -> Target:
    """What the task or the contract says. Raises ContractError, Unreadable."""
    wanted = options["haproxy"]
    if wanted is None:
        service = chosen(load_services(etc.contracts), [options["service"]], etc.contracts)[0]
        if service.fallback is None or service.fallback.kind != "haproxy":
            found = "none" if service.fallback is None else "one of kind %s" % service.fallback.kind
            text = "expected a fallback of kind haproxy, found %s; give the option haproxy, or a fallback" % found
            raise ContractError(etc.contracts, [Problem("%s.fallback" % service.name, text)])
        return Target(dict(service.fallback.options), service.name)
    if options["service"] is not None:
        return Target(wanted, options["service"])
    same = [service.name for service in contracts(etc) if _is(service.fallback, wanted)]
    return Target(wanted, same[0] if same else None)


def _is(fallback: Optional[Fallback], wanted: Dict[str, Any]) -> bool:
    keys = ("socket", "backend", "primary")
    return fallback is not None and fallback.kind == "haproxy" and all(fallback.options[key] == wanted[key] for key in keys)


class Desk:
    """Holds, the timeline, and what the watchdog remembers."""

    def __init__(self, config: WatchdogConfig, etc: Etc, found: Target, options: Dict[str, Any]) -> None:
        self.recorder = Recorder(Timeline(os.path.join(config.state_dir, "timeline"), config.host, retention=config.retention))
        self.found = found
        self._holds = Holds(config.state_dir, etc.path)
        self._store = StateStore(os.path.join(config.state_dir, "state"))
        self._options = options

    @property
    def name(self) -> str:
        return "%(backend)s/%(primary)s" % self.found.options

    def held(self) -> Optional[str]:
        """Who forbids it, in words."""
        if Reason.HOLD.value in self._options["override"]:
            return None
        hold = self._holds.active(self.found.service)
        return None if hold is None else "held by %s: %s" % (hold.owner, hold.reason or "no reason given")

    def announce(self) -> None:
        """A move is about to be made."""
        if self._options["override"]:
            self._record("override", {"owner": owner(), "reasons": sorted(set(self._options["override"]))})
        state = self._options["state"]
        data = {"to": state, "server": self.name, "owner": owner(), "reason": "asked"}
        self._record("failover" if state in AWAY else "failback", data)

    def refused(self, reason: Optional[Reason], detail: str) -> None:
        action = "failover" if self._options["state"] in AWAY else "failback"
        self._record("blocked", {"reason": str(reason), "detail": detail, "action": action, "server": self.name})

    def warnings(self, switched: Switched) -> List[str]:
        told = []
        if switched.unsaved is not None:
            told.append("A restart of HAProxy would forget this, as its servers' states could not be saved: %s" % switched.unsaved)
        if self.recorder.problem:
            told.append("What was done could not be written to the timeline: %s" % self.recorder.problem)
        if self._options["state"] not in AWAY and self._watchdog_keeps_it():
            told.append(
                "The watchdog has an incident of %s open and will move its traffic away again; hold the service to keep it here"
                % self.found.service
            )
        return told

    def _watchdog_keeps_it(self) -> bool:
        if self.found.service is None:
            return False
        try:
            saved = self._store.peek(self.found.service) or {}
        except RecordError:
            return False  # what cannot be read is nobody's plan
        memory = saved.get("memory")
        return isinstance(memory, dict) and bool(memory.get("incident")) and memory.get("traffic") in ("backup", "to_backup")

    def _record(self, type: str, data: Dict[str, Any]) -> None:
        self.recorder.record(type, self.found.service, None, "module", data)


def switch(module: Any) -> Report:
    options = module.params
    absolute(options, "etc", "state_dir", "run_dir")
    checked(options)
    etc = Etc(options["etc"])
    found = target(options, etc)
    desk = Desk(configuration(options, etc), etc, found, options)
    backend = Backend(found.options["socket"], found.options["backend"], found.options.get("state_file"))
    wish = Wish(options["state"], found.options["primary"], found.options.get("backup"), options["weight"], options["wait"])
    override = frozenset(Reason(name) for name in options["override"])
    began = time.monotonic()
    held = desk.held()
    with LocalHost() as host:
        if held is not None:
            wish = wish._replace(wait=0.0)
        made = Switch(backend, wish, override, desk.announce, module.check_mode or held is not None).run(host)
    took = round((time.monotonic() - began) * 1000.0, 3)
    if held is not None and made.status == "ok" and made.changed:
        made = Switched("bad", Reason.HOLD, held, False, made.before, made.before)
    if made.status != "ok" and made.reason in BLOCKS and not module.check_mode:
        desk.refused(made.reason, made.detail)
    return report(module, desk, made, took)


def report(module: Any, desk: Desk, made: Switched, took: float) -> Report:
    if made.status != "ok":
        outcome = "blocked" if made.reason in BLOCKS else "failed"
    elif made.changed:
        outcome = "planned" if module.check_mode else "changed"
    else:
        outcome = "unchanged"
    reason = None if made.reason is None else str(made.reason)
    results = [{"name": desk.name, "action": module.params["state"], "outcome": outcome, "reason": reason, "detail": made.detail}]
    result = {
        "changed": made.changed,
        "before": made.before,
        "after": made.after,
        "took_ms": took,
        "results": results,
        "summary": counts(results, "outcome", OUTCOMES),
        "diff": {"before": lines(made.before), "after": lines(made.after), "before_header": desk.name, "after_header": desk.name},
    }
    failure = None
    if outcome in ("blocked", "failed"):
        failure = "Traffic of %s is not as wanted (%s, %s): %s" % (desk.name, module.params["state"], reason, made.detail)
    return Report(result, failure, desk.warnings(made))


def lines(servers: Optional[Dict[str, Any]]) -> str:
    shown = servers or {}
    return "".join("%s: %s, weight %d\n" % (name, server["status"], server["weight"]) for name, server in sorted(shown.items()))


def main() -> None:
    haproxy = {
        "socket": {"type": "path", "default": DEFAULT_SOCKET},
        "backend": {"type": "str", "required": True},
        "primary": {"type": "str", "required": True},
        "backup": {"type": "str"},
        "state_file": {"type": "path", "default": STATE_FILE},
    }
    spec = {
        "haproxy": {"type": "dict", "options": haproxy},
        "state": {"type": "str", "required": True, "choices": list(STATES)},
        "service": {"type": "str"},
        "wait": {"type": "float", "default": 0},
        "weight": {"type": "int"},
        "override": {"type": "list", "elements": "str", "default": [], "choices": ["hold", "last_available"]},
        "host": {"type": "str"},
        "etc": {"type": "path", "default": "/etc/selfheal"},
        "state_dir": {"type": "path"},
        "run_dir": {"type": "path"},
    }
    run(AnsibleModule(argument_spec=spec, required_one_of=[("haproxy", "service")], supports_check_mode=True), switch)


if __name__ == "__main__":
    main()
