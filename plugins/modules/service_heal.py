#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: service_heal
short_description: Prove services well, and heal those that are not, up their ladders
version_added: 0.1.0
author:
  - The faultline.selfheal maintainers (@faultline-selfheal)
description:
  - Runs the watchdog's engine once over any number of services. One that answers its probes well is left alone at its first proof.
    One that does not is proven to fail by the same thresholds as the watchdog would ask for, and then restarted, redeployed or rolled back
    as its contract's ladder says, until it has been well for C(recovered_after) seconds, or a person has to be told.
  - Works beside a running watchdog and on hosts without one. Both take the same leases and remember the same things, so that there are
    never two healers at work on one service. Where the watchdog acts already, this module waits, follows, and reports what came of it.
  - C(mode), C(cooldown) and C(backoff) of a contract do not bind it, since somebody asked. Holds, budgets, dependencies and every
    other guard do. A guard that passes by itself within O(wait) is waited for; another one ends the run for its service, with its reason.
  - A service of kind C(process) that was never started on this boot is started.
  - All services are looked after at the same time. One that cannot be healed does not keep the others from it.
  - All arguments are checked before anything is touched, and all that is wrong with them is told at once.
options:
  services:
    description:
      - Contracts of services, as in the inventory's C(selfheal_services). C(docs/contract.md) of the collection has every key.
      - A service whose kind of resource this version cannot act on fails, and the others go on.
      - An empty list heals nothing.
      - Mutually exclusive with O(names), and one of the two is required.
    type: list
    elements: dict
  names:
    description:
      - Names of services whose contracts the host has already, in C(contracts.json) below O(etc).
      - An empty list heals nothing.
    type: list
    elements: str
  wait:
    description:
      - After so many seconds nothing new is begun. An action under way is brought to its end, within its own timeouts, because a service
        that was stopped must be started again. What is not settled then has the outcome V(unfinished), or V(blocked) if a guard said no.
      - The ladder of a contract with all defaults takes 350 seconds to its end.
    type: float
    default: 600
  override:
    description:
      - Guards to lift, by their reasons. Use it for a service that you look after meanwhile.
      - The attempts that follow are recorded with it, and so is, as an event of its own, who lifted it.
    type: list
    elements: str
    default: []
    choices:
      - hold
      - observe
      - awaiting_approval
      - admin_stopped
      - maintenance
      - not_started
      - lease_held
      - dependency_down
      - last_available
      - budget_spent
      - cooldown
      - backoff
      - storm
      - records_unwritable
  host:
    description:
      - The host's name in events.
      - The default is that of C(watchdog.json), and without that file the name the system gives itself. On hosts without the watchdog
        V({{ inventory_hostname }}) is a good value.
    type: str
extends_documentation_fragment:
  - faultline.selfheal.places
attributes:
  check_mode:
    description: Probes for real, decides by the same code, and ends at the first action. It writes nothing and takes no lease.
    support: partial
    details:
      - What comes after the first action cannot be known. RV(incidents[].worst_case) tells what would be done if nothing helped.
  diff_mode:
    description: Shows the state of each service before and after.
    support: full
  idempotent:
    description: A service that is well is left alone.
    support: full
seealso:
  - module: faultline.selfheal.health_probe
  - module: faultline.selfheal.timeline_info
requirements:
  - Linux
  - python >= 3.9
"""

EXAMPLES = r"""
- name: Heal what the host's own contracts name
  faultline.selfheal.service_heal:
    names:
      - web
      - worker

- name: Heal every service of the inventory, on a host with or without the watchdog
  faultline.selfheal.service_heal:
    services: "{{ selfheal_services }}"
    host: "{{ inventory_hostname }}"

- name: Heal one service by a contract of the play's own
  faultline.selfheal.service_heal:
    services:
      - name: web
        resource:
          process:
            argv: [/usr/local/bin/web, --port, "8080"]
            user: web
        probes:
          - role: liveness
            http:
              url: http://127.0.0.1:8080/live

- name: Ask what would be done, and how far it could go
  faultline.selfheal.service_heal:
    names: [web]
  check_mode: true
  register: plan

- name: Show the plan
  ansible.builtin.debug:
    msg: "{{ plan.incidents | map(attribute='worst_case') }}"

- name: Give up after two minutes, and go on with the play
  faultline.selfheal.service_heal:
    names: [web]
    wait: 120
  register: healed
  ignore_errors: true

- name: Tell how long each recovery took
  ansible.builtin.debug:
    msg: "{{ item.service }} was back after {{ item.recovery_duration_ms }} ms"
  loop: "{{ healed.incidents | selectattr('outcome', 'eq', 'recovered') | selectattr('recovery_duration_ms') }}"
  loop_control:
    label: "{{ item.service }}"

- name: Heal a service that somebody holds, and whose budget is spent, because that somebody is you
  faultline.selfheal.service_heal:
    names: [web]
    override: [hold, budget_spent]

- name: Heal as an ordinary user, with all files of one's own
  faultline.selfheal.service_heal:
    services: "{{ my_services }}"
    etc: ~/selfheal/etc
    state_dir: ~/selfheal/state
    run_dir: ~/selfheal/run
"""

RETURN = r"""
incidents:
  description: One entry for each service, in the order of the contracts.
  returned: always, unless an argument was wrong
  type: list
  elements: dict
  contains:
    service:
      description: The service's name.
      type: str
      sample: web
    id:
      description: The incident's name in the timeline, V(null) if there was none.
      type: str
      sample: web-20261121T210330.001Z
    outcome:
      description:
        - V(untouched), it was well, or nothing is to be done about it; RV(incidents[].reason) then says why.
        - V(recovered), it was failing, or was never started, and has been proven well since.
        - V(escalated), every rung was tried, and a person was told. The task fails.
        - V(blocked), a guard said no.
        - V(unfinished), O(wait) was over. The task fails.
        - V(unknown), its probes could not run, which says nothing about it.
        - V(planned), in check mode, something would be done.
      type: str
      sample: recovered
    reason:
      description:
        - Why, in one word from a fixed list, such as V(healed), V(first_start), V(ladder_exhausted), V(hold), V(budget_spent),
          V(lease_held), V(readiness_failed), V(wait_over) or V(unsupported).
        - V(null) if nothing was wrong.
      type: str
      sample: healed
    detail:
      description: One sentence for people.
      type: str
      sample: web is healthy
    state:
      description: The service's state at the end. One of V(healthy), V(degraded), V(not_ready), V(unhealthy), V(unknown) and V(stopped).
      type: str
      sample: healthy
    failure_time:
      description: The start of the first probe that failed, or when the process was gone, in UTC. V(null) without an incident.
      type: str
      sample: "2026-11-21T21:03:30.001Z"
    recovery_time:
      description: The start of the unbroken health that closed the incident, V(null) unless it recovered.
      type: str
      sample: "2026-11-21T21:03:38.123Z"
    recovery_duration_ms:
      description: Milliseconds from the one to the other, by the monotonic clock.
      type: int
      sample: 8122
    steps:
      description:
        - What was recorded meanwhile, oldest first; in check mode what would have been, up to the first action.
        - Where another healer had a hand in the incident, its steps are here as well.
        - Every step has C(type), C(at) and C(source), and what the event says besides, such as C(attempt), C(rung), C(reason)
          and C(previous). C(docs/timeline.md) tells about types.
      type: list
      elements: dict
      sample:
        - type: failure
          at: "2026-11-21T21:03:36.004Z"
          source: liveness
          reason: liveness_failed
          probe: liveness
          failure_time: "2026-11-21T21:03:30.001Z"
        - type: restart
          at: "2026-11-21T21:03:36.010Z"
          source: module
          attempt: 1
          rung: restart
          reason: liveness_failed
          window: 10
        - type: recover
          at: "2026-11-21T21:03:48.130Z"
          source: module
          attempt: 1
          rung: restart
          failure_time: "2026-11-21T21:03:30.001Z"
          recovery_time: "2026-11-21T21:03:38.123Z"
          recovery_duration_ms: 8122
    worst_case:
      description: What would be done, and how many seconds after a fault, if nothing helped. Only for V(planned).
      type: list
      elements: dict
      sample:
        - rung: restart
          attempt: 1
          at: 18.5
        - rung: page
          attempt: 1
          at: 48.5
results:
  description: The same in the shape that all modules of the collection share.
  returned: always, unless an argument was wrong
  type: list
  elements: dict
  contains:
    name:
      description: The service's name.
      type: str
      sample: web
    action:
      description:
        - The last thing that was done here, or in check mode would be. V(start), V(restart), V(redeploy), V(rollback), V(page) or V(none).
      type: str
      sample: restart
    outcome:
      description: V(changed), V(unchanged), V(planned), V(blocked) or V(failed).
      type: str
      sample: changed
    reason:
      description: As RV(incidents[].reason).
      type: str
      sample: healed
    detail:
      description: As RV(incidents[].detail).
      type: str
      sample: web is healthy
summary:
  description: How many services had which RV(incidents[].outcome).
  returned: always, unless an argument was wrong
  type: dict
  contains:
    recovered:
      description: Services that recovered.
      type: int
      sample: 1
    escalated:
      description: Services a person must look after.
      type: int
      sample: 0
    blocked:
      description: Services a guard kept from being healed.
      type: int
      sample: 0
    untouched:
      description: Services that needed nothing.
      type: int
      sample: 11
    unfinished:
      description: Services that were not settled in time.
      type: int
      sample: 0
    unknown:
      description: Services that could not be probed.
      type: int
      sample: 0
    planned:
      description: Services that would be acted on, in check mode.
      type: int
      sample: 0
"""

import os
import platform
from dataclasses import replace
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._core.contract import parse_services, parse_watchdog
from ..module_utils._core.errors import ContractError, Problem
from ..module_utils._core.guards import GUARDS
from ..module_utils._core.model import Service, WatchdogConfig
from ..module_utils._core.reasons import Reason
from ..module_utils._core.redact import secret_key
from ..module_utils._engine.etc import Etc, chosen, load_services, read_json
from ..module_utils._engine.local import Site
from ..module_utils._engine.once import OUTCOMES, Ending, Once, Tape
from ..module_utils._engine.person import owner
from ..module_utils._module import Report, absolute, counts, listed, run
from ..module_utils._probes.engine import LocalHost
from ..module_utils._probes.http_request import HARMLESS, SHORTEST_SECRET
from ..module_utils._records.files import make_directory

FAILED = ("escalated", "unfinished")
SHAPES = {"recovered": "changed", "untouched": "unchanged", "unknown": "unchanged", "blocked": "blocked", "planned": "planned"}


def secrets(value: Any, hidden: bool = False) -> Iterator[str]:
    """Texts in contracts that Ansible must not show among the task's arguments."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "headers" and isinstance(item, dict):
                yield from secrets([text for name, text in item.items() if str(name).lower() not in HARMLESS], True)
            else:
                yield from secrets(item, hidden or secret_key(str(key)))
    elif isinstance(value, list):
        for item in value:
            yield from secrets(item, hidden)
    elif hidden and isinstance(value, str) and len(value) >= SHORTEST_SECRET:
        yield value


def configuration(options: Dict[str, Any], etc: Etc) -> WatchdogConfig:
    """The host's configuration, with what the task says instead. Raises ContractError, Unreadable."""
    if os.path.lexists(etc.watchdog):
        config = parse_watchdog(read_json(etc.watchdog), etc.watchdog)
    else:
        config = WatchdogConfig(platform.node() or "localhost")
    given = {key: options[key] for key in ("host", "state_dir", "run_dir") if options[key] is not None}
    empty = [Problem(key, "is empty; leave it out for its default") for key, value in given.items() if not value]
    if empty:
        raise ContractError("options", empty)
    return replace(config, **given)


def asked(options: Dict[str, Any], etc: Etc) -> Tuple[Service, ...]:
    """The contracts of what is to be healed. Raises ContractError, Unreadable."""
    if not 0 < options["wait"] <= 86400:
        raise ContractError("options", [Problem("wait", "expected seconds above 0 and up to 86400, found %g" % options["wait"])])
    if options["services"] is not None:
        return parse_services(options["services"], "services")
    if not options["names"]:
        return ()
    return chosen(load_services(etc.contracts), options["names"], etc.contracts)


def climb(module: Any, etc: Etc, config: WatchdogConfig, services: Tuple[Service, ...]) -> Tuple[List[Ending], str]:
    """Heal, or in check mode rehearse it; what could not be recorded is told beside."""
    names = sorted(set(module.params["override"]))
    override = {"owner": owner(), "reasons": names} if names else None
    with LocalHost() as host:
        tapes: List[Tape] = []

        def wrap(records: Any) -> Tape:
            tapes.append(Tape(records, host, override))
            return tapes[0]

        if module.check_mode:
            from ..module_utils._engine.rehearsal import RehearsalSite

            site: Site = RehearsalSite(etc.path, config, host, "module", wrap)
        else:
            make_directory(os.path.join(config.run_dir, "leases"))
            site = Site(etc.path, config, host, "module", wrap=wrap)
        try:
            once = Once(site, tapes[0], services, frozenset(Reason(name) for name in names), module.check_mode)
            endings = once.run(module.params["wait"])
            site.recorder.flush()
            return endings, site.recorder.problem
        finally:
            site.timeline.close()


def incident(ending: Ending, service: Service) -> Dict[str, Any]:
    shown: Dict[str, Any] = {"service": ending.name, "id": ending.incident}
    shown.update(outcome=ending.outcome, reason=ending.reason, detail=ending.detail, state=ending.state)
    shown.update({key: ending.found(key) for key in ("failure_time", "recovery_time", "recovery_duration_ms")})
    shown["steps"] = [step.as_data() for step in ending.steps]
    if ending.outcome == "planned":
        from ..module_utils._engine.explain import windows, worst_case

        shown["worst_case"] = worst_case(service, windows(service))
    return shown


def outcome(ending: Ending) -> str:
    if ending.outcome in FAILED or ending.reason == Reason.UNSUPPORTED:
        return "failed"
    if ending.outcome == "recovered" and not ending.changed:
        return "unchanged"
    return SHAPES[ending.outcome]


def failure_of(results: List[Dict[str, Any]]) -> Optional[str]:
    failed = [each for each in results if each["outcome"] == "failed"]
    if not failed:
        return None
    names = listed([each["name"] for each in failed])
    first = "%(name)s (%(reason)s): %(detail)s" % failed[0]
    return "%d of %d services could not be healed: %s. The first is %s" % (len(failed), len(results), names, first)


def warnings_of(results: List[Dict[str, Any]], endings: List[Ending], unwritten: str) -> List[str]:
    found = ["What was done could not be written to the timeline: %s" % unwritten] if unwritten else []
    for result, ending in zip(results, endings):
        if result["outcome"] == "blocked":
            found.append("%s was not healed (%s): %s" % (ending.name, ending.reason, ending.detail))
        elif ending.outcome == "unknown":
            found.append("%s could not be probed (%s), which says nothing about it: %s" % (ending.name, ending.reason, ending.detail))
        elif ending.reason == Reason.READINESS_FAILED:
            found.append("%s is alive but not ready, which no rung heals: %s" % (ending.name, ending.detail))
    return found


def states(endings: List[Ending], after: bool) -> str:
    lines = []
    for ending in endings:
        state = ending.state if after else ending.before
        lines.append("%s: %s\n" % (ending.name, "%s (planned)" % ending.action if after and ending.outcome == "planned" else state))
    return "".join(lines)


def heal(module: Any) -> Report:
    options = module.params
    module.no_log_values.update(secrets(options["services"]))
    absolute(options, "etc", "state_dir", "run_dir")
    etc = Etc(options["etc"])
    services = asked(options, etc)
    config = configuration(options, etc)
    endings, unwritten = climb(module, etc, config, services) if services else ([], "")
    results = [
        {"name": one.name, "action": one.action, "outcome": outcome(one), "reason": one.reason, "detail": one.detail} for one in endings
    ]
    result = {
        "changed": any(each.changed or each.outcome == "planned" for each in endings),
        "incidents": [incident(ending, service) for ending, service in zip(endings, services)],
        "results": results,
        "summary": counts(({"outcome": each.outcome} for each in endings), "outcome", OUTCOMES),
        "diff": {"before": states(endings, False), "after": states(endings, True)},
    }
    return Report(result, failure_of(results), warnings_of(results, endings, unwritten))


def main() -> None:
    spec = {
        "services": {"type": "list", "elements": "dict"},
        "names": {"type": "list", "elements": "str"},
        "wait": {"type": "float", "default": 600},
        "override": {"type": "list", "elements": "str", "default": [], "choices": [reason.value for reason, _guard in GUARDS]},
        "etc": {"type": "path", "default": "/etc/selfheal"},
        "state_dir": {"type": "path"},
        "run_dir": {"type": "path"},
        "host": {"type": "str"},
    }
    module = AnsibleModule(
        argument_spec=spec,
        mutually_exclusive=[("services", "names")],
        required_one_of=[("services", "names")],
        supports_check_mode=True,
        no_log=True,  # contracts may hold headers with secrets, and only `secrets` knows which; the system's log gets none of the arguments
    )
    run(module, heal)


if __name__ == "__main__":
    main()
