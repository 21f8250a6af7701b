#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: container_heal
short_description: Bring containers back to what they should be, and prove it
version_added: 0.1.0
author:
  - The faultline.selfheal maintainers (@faultline-selfheal)
description:
  - Looks at any number of containers with one request to their engine, and heals those that are not what they should be. One that stopped
    without an operator is started, one whose own health check calls it unhealthy is restarted, one that has drifted from its image,
    labels or environment, or is stuck, is made anew. What is well is left alone.
  - Docker itself never acts on an unhealthy container, and its restart policies go on for ever. Here every container has a budget. When
    that is spent it is stopped if it loops, and left for inspection, until somebody starts it.
  - A recovery counts only after O(stable_for) seconds of unbroken health. That is what the container's own health check says where it has
    one, and the probe that the task gives, where it does. Otherwise it is running with an unchanged start time.
  - What an operator stopped, killed or paused through the engine stays so, unless C(desired) is V(always). The engine's events tell. Where
    those are forgotten, a restart policy or an exit code does, and in doubt nothing is started.
  - A container that waits for its own restart policy is left to that until its pauses have grown longer than 5 seconds.
  - A container is made anew beside the old one, from what the engine tells about it. The old one is kept until the new one is proven, and
    comes back if it is not. Volumes are never removed, and anonymous ones go over to the new container.
  - Works beside a running watchdog and on hosts without one. Both take the same leases and obey the same holds.
  - All containers are looked after at the same time, eight of them being acted on. One that cannot be healed does not keep the others
    from it.
options:
  containers:
    description:
      - What containers should be, by their names. An empty list names none.
      - At least one of O(containers), O(selector) and O(remove_orphans) is required.
    type: list
    elements: dict
    suboptions:
      name:
        description: The container's name.
        type: str
        required: true
      state:
        description:
          - What it should be. The default is O(state).
          - V(started), it runs, and its own health check does not call it unhealthy.
          - V(healthy), and that has passed.
          - V(stopped), it does not run. It is stopped with its own stop signal and timeout.
          - V(absent), there is none of that name. Its volumes stay.
        type: str
        choices: [started, healthy, stopped, absent]
      desired:
        description: With V(always) it is started although an operator stopped it.
        type: str
        choices: [by_admin, always]
        default: by_admin
      image:
        description:
          - The image it should be made of. What counts is the image that the engine has under this name now, so that a tag that has moved
            is drift.
          - It is not pulled. An image that is missing is an error before anything is touched.
        type: str
      labels:
        description: Labels it should bear, besides others.
        type: dict
      env:
        description:
          - Environment variables it should have, besides others. Results and events tell their names only. Ansible itself shows what a task
            was given unless it has C(no_log).
          - A number or a boolean is to be quoted.
        type: dict
      restart_policy:
        description: V(no), V(always), V(unless-stopped), V(on-failure) or V(on-failure:3). Changed in place.
        type: str
      probe:
        description:
          - What answers for the container besides its own health check, one of C(http), C(tcp) and C(exec), as a target of
            M(faultline.selfheal.health_probe). It is bad when it fails twice in a row.
        type: dict
  selector:
    description:
      - Labels. Every container that bears all of them is looked after as O(state) says. An empty value stands for any value.
      - An empty selector selects nothing.
    type: dict
  state:
    description: What selected containers, and those that do not say it themselves, should be.
    type: str
    choices: [started, healthy, stopped]
    default: started
  recreate:
    description:
      - What a container is made anew for. V(never), V(stuck) when it is C(dead) or has been C(removing) for a minute, V(drifted) also when
        its image, labels or environment differ from what is wanted.
    type: str
    choices: [never, stuck, drifted]
    default: drifted
  stable_for:
    description: Seconds of unbroken health that prove a recovery.
    type: float
    default: 10
  wait:
    description: After so many seconds nothing new is begun. An action under way, and the proof of it, is brought to its end.
    type: float
    default: 120
  budget:
    description:
      - So many times within an hour one container is started, restarted or made anew, over all runs. Then it is left for inspection.
    type: int
    default: 3
  remove_orphans:
    description:
      - Remove containers that bear the label C(selfheal.owner) when nothing is called by its value any more, neither a container nor a
        contract of the host; and helpers, which bear C(selfheal.helper) as well, once they are old.
      - Never a volume, and never a container without C(selfheal.owner).
    type: bool
    default: false
  orphan_min_age:
    description: Seconds since it was made, before which nothing is an orphan.
    type: float
    default: 3600
  max_removals:
    description: At most so many orphans are removed in one run, the oldest first.
    type: int
    default: 10
  override:
    description:
      - Guards to lift, by their reasons. Recorded with who lifted them.
    type: list
    elements: str
    default: []
    choices: [hold, admin_stopped, maintenance, lease_held, budget_spent]
  docker_host:
    description:
      - Where the engine is, C(unix:///path) or C(tcp://HOST:PORT) of a filtering proxy. Docker and Podman are spoken to alike.
      - The default is the environment variable E(DOCKER_HOST), else the socket of Docker or Podman, whichever is there.
    type: str
  host:
    description: The host's name in events. The default is that of C(watchdog.json), and without that file the name the system gives itself.
    type: str
extends_documentation_fragment:
  - faultline.selfheal.places
attributes:
  check_mode:
    description: Looks for real and decides by the same code. Nothing is written, and no lease is taken.
    support: partial
    details:
      - What comes after the first action on a container cannot be known.
  diff_mode:
    description: Shows the state of each container before and after.
    support: full
  idempotent:
    description: A container that is well is left alone.
    support: full
notes:
  - No library is needed on the host. The requests asked of the engine are C(GET /containers/json), C(GET /containers/{id}/json),
    C(GET /events), C(POST /containers/{id}/start), C(restart), C(stop) and C(unpause); for drift C(GET /images/{name}/json),
    C(POST /containers/create), C(rename), C(update), C(POST /networks/{name}/connect) and C(DELETE /containers/{id}); and the latter for
    orphans. C(docs/containers.md) shows a proxy that allows no more.
seealso:
  - module: faultline.selfheal.service_heal
  - module: faultline.selfheal.health_probe
requirements:
  - Linux
  - python >= 3.9
  - Docker Engine 20.10 or later, or Podman 4
"""

EXAMPLES = r"""
- name: Heal two containers
  faultline.selfheal.container_heal:
    containers:
      - name: web
        state: healthy
      - name: worker

- name: Heal everything that is labelled for it, as a task of every hour
  faultline.selfheal.container_heal:
    selector:
      com.example.heal: "true"

- name: Have a container made of the image that the engine has loaded, and keep the old one if the new one does not do
  faultline.selfheal.container_heal:
    containers:
      - name: web
        image: registry.example/web:2.4
        labels:
          com.example.heal: "true"
        restart_policy: unless-stopped
        probe:
          http:
            url: http://127.0.0.1:8080/ready

- name: Start what somebody stopped, because the contract says so
  faultline.selfheal.container_heal:
    containers:
      - name: broker
        desired: always

- name: See what would be cleaned up
  faultline.selfheal.container_heal:
    remove_orphans: true
  check_mode: true
  register: orphans

- name: Take up again what was left for inspection
  faultline.selfheal.container_heal:
    containers:
      - name: web
    override: [budget_spent]

- name: Ask through a filtering proxy
  faultline.selfheal.container_heal:
    docker_host: tcp://127.0.0.1:2375
    selector:
      com.example.heal: ""
"""

RETURN = r"""
results:
  description: One entry for each container that was named or selected, in that order, and for each orphan.
  returned: always, unless an argument was wrong or the engine could not be asked
  type: list
  elements: dict
  contains:
    name:
      description: The container's name.
      type: str
      sample: web
    action:
      description:
        - The last thing that was done, or in check mode would be. V(start), V(restart), V(unpause), V(recreate), V(update), V(stop),
          V(keep) (stopped, and left for inspection), V(remove) or V(none).
      type: str
      sample: restart
    actions:
      description: All that was done in this run, in order.
      type: list
      elements: str
      sample: [restart]
    outcome:
      description: V(changed), V(unchanged), V(planned), V(blocked) or V(failed). The task fails for V(failed).
      type: str
      sample: changed
    reason:
      description:
        - Why, in one word, such as V(healed), V(drifted), V(admin_stopped), V(budget_spent), V(hold), V(no_such_container),
          V(image_missing), V(name_conflict), V(unproven), V(orphaned) or V(interrupted), when what a killed run had left was put right.
          V(null) if nothing was wrong.
      type: str
      sample: healed
    detail:
      description: One sentence for people.
      type: str
      sample: well for 10 s without a break
    state:
      description: The engine's word for its state at the end, or V(absent).
      type: str
      sample: running
    failure_time:
      description: When its process ended or its health check first failed, by the engine's clock, in UTC. V(null) if it had not failed.
      type: str
      sample: "2026-11-21T21:03:30.001Z"
    recovery_time:
      description: Since when it has been well without a break. V(null) unless it recovered.
      type: str
      sample: "2026-11-21T21:03:38.123Z"
    recovery_duration_ms:
      description: Milliseconds from the one to the other.
      type: int
      sample: 8122
summary:
  description: How many containers had which outcome, and how many orphans were left for the next run.
  returned: always, unless an argument was wrong or the engine could not be asked
  type: dict
  sample:
    changed: 1
    unchanged: 98
    planned: 0
    blocked: 1
    failed: 0
    orphans_left: 0
"""

import os
import platform
import re
from dataclasses import replace
from typing import Any, Dict, List, Optional, Tuple

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._actuators.container_api import address_of
from ..module_utils._actuators.container_engine import ContainerEngine
from ..module_utils._core.containers import POLICIES, Rules, Want
from ..module_utils._core.contract import parse_targets, parse_watchdog
from ..module_utils._core.errors import ContractError, Problem
from ..module_utils._core.model import ContainerResource, WatchdogConfig
from ..module_utils._core.reasons import Reason
from ..module_utils._engine.container_notes import Notes
from ..module_utils._engine.container_one import Result, Terms
from ..module_utils._engine.container_run import Around, Run
from ..module_utils._engine.container_survey import Survey, selected
from ..module_utils._engine.etc import Etc, load_services, read_json
from ..module_utils._engine.local import Site
from ..module_utils._engine.person import owner
from ..module_utils._module import Report, counts, given, listed, run
from ..module_utils._probes.engine import LocalHost
from ..module_utils._probes.exec import ExecProbe
from ..module_utils._probes.kinds import step_for
from ..module_utils._records.files import make_directory

OUTCOMES = ("changed", "unchanged", "planned", "blocked", "failed")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/@-]{0,500}")
PROBES = ("http", "tcp", "exec")


def wants_of(params: Dict[str, Any]) -> Tuple[List[Want], Dict[str, Any]]:
    """What the task wants of the containers it names, and the targets that answer for them. Raises ContractError with all problems."""
    wants: List[Want] = []
    targets: Dict[str, Any] = {}
    problems: List[Problem] = []
    for index, each in enumerate(params["containers"] or ()):
        where = "containers[%d]" % index
        if NAME.fullmatch(each["name"]) is None:
            problems.append(Problem(where + ".name", "expected the name of a container; found %r" % each["name"]))
        elif each["name"] in [want.name for want in wants]:
            problems.append(Problem(where + ".name", "%s is named twice" % each["name"]))
        policy, _colon, retries = (each["restart_policy"] or "").partition(":")
        if policy and (policy not in POLICIES or (retries and (policy != "on-failure" or not retries.isdecimal()))):
            expected = "expected no, always, unless-stopped, on-failure or on-failure:NUMBER"
            problems.append(Problem(where + ".restart_policy", "%s; found %r" % (expected, each["restart_policy"])))
            retries = ""
        if each["probe"] is not None:
            try:
                found = parse_targets([{"name": "probe", **given(each["probe"])}], where + ".probe")[0]
                if found.target.kind not in PROBES:
                    problems.append(Problem(where + ".probe", "expected one of %s, found %s" % (", ".join(PROBES), found.target.kind)))
                targets[each["name"]] = found
            except ContractError as error:
                problems += [Problem(where + ".probe", str(problem)) for problem in error.problems]
        labels = {str(key): str(value) for key, value in (each["labels"] or {}).items()}
        state = each["state"] or params["state"]
        problems += [
            Problem("%s.env.%s" % (where, key), "expected text, found %r; quote it" % (value,))
            for key, value in (each["env"] or {}).items()
            if not isinstance(value, str)
        ]
        problems += [
            Problem(where + ".env", "expected the name of a variable, found %r" % (key,))
            for key in each["env"] or {}
            if not str(key) or "=" in str(key)
        ]
        if each["image"] is not None and (IMAGE.fullmatch(each["image"]) is None or ".." in each["image"]):
            problems.append(Problem(where + ".image", "expected an image such as registry.example/web:2.4, found %r" % each["image"]))
        env = {str(key): str(value) for key, value in (each["env"] or {}).items()}
        wants.append(Want(each["name"], state, each["desired"], each["image"], labels, policy or None, int(retries or 0), env))
    problems += limits(params)
    if problems:
        raise ContractError("options", problems)
    return wants, targets


def limits(params: Dict[str, Any]) -> List[Problem]:
    """What is wrong with the numbers."""
    rules = (
        ("stable_for", 0, 3600),
        ("wait", 0, 86400),
        ("budget", 1, 1000),
        ("orphan_min_age", 0, 10 * 366 * 86400),
        ("max_removals", 0, 1000),
    )
    return [
        Problem(key, "expected a number from %g to %g, found %g" % (low, high, params[key]))
        for key, low, high in rules
        if not low <= params[key] <= high
    ]


def configuration(params: Dict[str, Any], etc: Etc) -> WatchdogConfig:
    """The host's configuration, with what the task says instead. Raises ContractError, Unreadable."""
    if os.path.lexists(etc.watchdog):
        config = parse_watchdog(read_json(etc.watchdog), etc.watchdog)
    else:
        config = WatchdogConfig(platform.node() or "localhost")
    return replace(config, **{key: params[key] for key in ("host", "state_dir", "run_dir") if params[key]})


def contracts_of(etc: Etc) -> Tuple[Dict[str, str], List[str]]:
    """The services of the host's contracts by the containers they name, and the names of all of them. Raises ContractError, Unreadable."""
    services = load_services(etc.contracts) if os.path.lexists(etc.contracts) else ()
    by_container = {each.resource.name: each.name for each in services if isinstance(each.resource, ContainerResource)}
    return by_container, [each.name for each in services]


def step_of(target: Any) -> Tuple[Any, float]:
    timeout = target.timeout or 4.0
    return (ExecProbe(target.target, timeout) if target.target.kind == "exec" else step_for(target.target)), timeout


def heal(module: Any) -> Report:
    params = module.params
    etc = Etc(params["etc"])
    wants, targets = wants_of(params)
    config = configuration(params, etc)
    by_container, services = contracts_of(etc)
    engine = ContainerEngine(params["docker_host"] or address_of(os.environ))
    override = frozenset(Reason(name) for name in params["override"])
    with LocalHost() as host:
        if not module.check_mode:
            make_directory(os.path.join(config.run_dir, "leases"))
        site = Site(etc.path, config, host, "module")
        try:
            around = Around(site.desk, by_container, site.records.record, override)
            told = None if module.check_mode else (lambda *what: reset(site, *what))
            notes = Notes(os.path.join(config.state_dir, "containers"), host.wall, told)
            rules = Rules(params["budget"], params["recreate"], override)
            probes = {name: step_of(target) for name, target in targets.items()}
            one = Run(host, Survey(engine), notes, around, Terms(rules, params["stable_for"], params["wait"], module.check_mode, probes))
            one.list()
            chosen = selected(one.there.values(), {key: str(value) or None for key, value in (params["selector"] or {}).items()})
            named = [want.name for want in wants]
            wants += [Want(name, params["state"]) for name in chosen if name not in named]
            if override and not module.check_mode:
                site.records.record("override", source="module", data={"owner": owner(), "reasons": sorted(params["override"])})
            results = one.heal(wants)
            left = 0
            if params["remove_orphans"]:
                owners = frozenset([*(want.name for want in wants), *services, *by_container])
                removed, left = one.clean(owners, params["orphan_min_age"], params["max_removals"])
                results += removed
            site.recorder.flush()
            return report(results, left, site.recorder.problem, module.check_mode)
        finally:
            site.timeline.close()


def reset(site: Site, name: str, aside: str, problem: str) -> None:
    site.records.record("state_reset", source="module", data={"reason": problem, "container": name, "aside": aside})


def report(results: List[Result], left: int, unwritten: str, dry: bool) -> Report:
    shown = [each.as_data() for each in results]
    before = {each.name: each.before for each in results}
    after = {each.name: "%s after %s" % (each.status, each.action) if each.outcome == "planned" else each.status for each in results}
    changed = any(each.outcome == "planned" if dry else bool(each.actions) or each.outcome == "changed" for each in results)
    result = {
        "changed": changed,
        "results": shown,
        "summary": {**counts(shown, "outcome", OUTCOMES), "orphans_left": left},
        "diff": {"before": lines(before), "after": lines(after)},
    }
    warnings = ["What was done could not be written to the timeline: %s" % unwritten] if unwritten else []
    warnings += ["%(name)s: %(reason)s: %(detail)s" % each for each in shown if each["outcome"] == "blocked"]
    if left:
        warnings.append("%d orphaned containers more are left for the next run" % left)
    return Report(result, failure_of(shown), warnings)


def lines(states: Dict[str, str]) -> str:
    return "".join("%s: %s\n" % item for item in sorted(states.items()))


def failure_of(results: List[Dict[str, Any]]) -> Optional[str]:
    failed = [each for each in results if each["outcome"] == "failed"]
    if not failed:
        return None
    names = listed([each["name"] for each in failed])
    first = "%(name)s (%(reason)s): %(detail)s" % failed[0]
    return "%d of %d containers are not what they should be: %s. The first is %s" % (len(failed), len(results), names, first)


def main() -> None:
    container = {
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["started", "healthy", "stopped", "absent"]},
        "desired": {"type": "str", "choices": ["by_admin", "always"], "default": "by_admin"},
        "image": {"type": "str"},
        "labels": {"type": "dict"},
        "env": {"type": "dict"},
        "restart_policy": {"type": "str"},
        "probe": {"type": "dict"},
    }
    spec = {
        "containers": {"type": "list", "elements": "dict", "options": container},
        "selector": {"type": "dict"},
        "state": {"type": "str", "choices": ["started", "healthy", "stopped"], "default": "started"},
        "recreate": {"type": "str", "choices": ["never", "stuck", "drifted"], "default": "drifted"},
        "stable_for": {"type": "float", "default": 10},
        "wait": {"type": "float", "default": 120},
        "budget": {"type": "int", "default": 3},
        "remove_orphans": {"type": "bool", "default": False},
        "orphan_min_age": {"type": "float", "default": 3600},
        "max_removals": {"type": "int", "default": 10},
        "override": {
            "type": "list",
            "elements": "str",
            "default": [],
            "choices": ["hold", "admin_stopped", "maintenance", "lease_held", "budget_spent"],
        },
        "docker_host": {"type": "str"},
        "host": {"type": "str"},
        "etc": {"type": "path", "default": "/etc/selfheal"},
        "state_dir": {"type": "path"},
        "run_dir": {"type": "path"},
    }
    module = AnsibleModule(
        argument_spec=spec,
        required_one_of=[("containers", "selector", "remove_orphans")],
        supports_check_mode=True,
    )
    run(module, heal)


if __name__ == "__main__":
    main()
