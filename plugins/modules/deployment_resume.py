#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: deployment_resume
short_description: Take up deployments that were cut off
version_added: 0.1.0
author:
  - The faultline.selfheal maintainers (@faultline-selfheal)
description:
  - Finds deployments that are neither active nor failed and whose process is provably gone, by its pid, its start time and its boot, and
    goes on from the phase in which they were cut off.
  - What can no longer be finished, as its source is gone or its files are not what they were, is failed loudly, and everything it had
    changed is put back.
  - One whose process lives is skipped, and so is one that was at work less than O(stuck_after) seconds ago.
  - Every project is looked after by itself. Safe to be run by a timer, and from two controllers at once, because whoever comes second
    finds the leases taken.
options:
  root:
    description: The directory of all projects.
    type: path
    required: true
  projects:
    description: Only these. The default is every project below O(root). An empty list means none.
    type: list
    elements: str
  stuck_after:
    description: Seconds after which a deployment without a living process counts as stuck.
    type: float
    default: 300
extends_documentation_fragment:
  - faultline.selfheal.places
  - faultline.selfheal.deployment
attributes:
  check_mode:
    description: Finds what is stuck, and changes nothing.
    support: partial
    details:
      - Whether what is taken up can be finished cannot be known.
  diff_mode:
    description: Shows the links and the phases, before and after.
    support: full
  idempotent:
    description: With nothing stuck, nothing is done.
    support: full
seealso:
  - module: faultline.selfheal.deployment_start
  - module: faultline.selfheal.deployment_rollback
requirements:
  - Linux
  - python >= 3.9
"""

EXAMPLES = r"""
- name: Take up whatever was cut off on this host
  faultline.selfheal.deployment_resume:
    root: /srv/www

- name: Only these two projects
  faultline.selfheal.deployment_resume:
    root: /srv/www
    projects: [web, shop]

- name: At once, after a run that was cancelled a moment ago
  faultline.selfheal.deployment_resume:
    root: /srv/www
    stuck_after: 0

- name: See what is stuck
  faultline.selfheal.deployment_resume:
    root: /srv/www
  check_mode: true
  register: stuck

- name: Tell about those that could not be finished
  faultline.selfheal.deployment_resume:
    root: /srv/www
  register: resumed
  failed_when: resumed.summary.failed > 2

- name: Show every one of them
  ansible.builtin.debug:
    msg: "{{ resumed.results }}"
"""

RETURN = r"""
summary:
  description: How many deployments ended how.
  returned: always, unless an argument was wrong
  type: dict
  contains:
    resumed:
      description: Taken up and active, or in check mode would be taken up.
      type: int
      sample: 1
    failed:
      description: Taken up, could not be finished, and put back. The task fails.
      type: int
      sample: 0
    skipped:
      description: Left alone, because their process lives, they are too young, or somebody holds a lease.
      type: int
      sample: 0
results:
  description: One entry for each deployment that was not over, and for each project that could not be looked at.
  returned: always, unless an argument was wrong
  type: list
  elements: dict
  contains:
    name:
      description: The project's name.
      type: str
      sample: web
    deployment:
      description: The deployment's id, V(null) where the project itself could not be looked at.
      type: str
      sample: "20261121210330"
    action:
      description: V(resume), or V(none) for one that was skipped.
      type: str
      sample: resume
    outcome:
      description: V(changed), V(unchanged), V(planned), V(blocked) or V(failed).
      type: str
      sample: changed
    reason:
      description: Such as V(interrupted), V(owner_alive), V(too_young), V(lease_held), V(source_missing) or V(tampered).
      type: str
      sample: interrupted
    detail:
      description: One sentence for people.
      type: str
      sample: 20261121210330 is active
    phase:
      description: The phase it is in now.
      type: str
      sample: active
    before:
      description: What C(current) said.
      type: str
      sample: deployments/20261120180000
    after:
      description: What C(current) says.
      type: str
      sample: deployments/20261121210330
"""

from typing import Any, Dict, List, Tuple

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._core.deployment_request import check_place
from ..module_utils._core.errors import ContractError, Problem, SelfhealError
from ..module_utils._engine.deploy_report import OPTIONS, difference, refused, result, site_of, warnings_of
from ..module_utils._engine.deploy_site import DeploySite
from ..module_utils._engine.deployer import Deployer, Told, projects_of
from ..module_utils._module import Report, listed, run

TALLY = {"changed": "resumed", "planned": "resumed", "failed": "failed", "unchanged": "skipped", "blocked": "skipped"}


def take_up(options: Dict[str, Any], site: DeploySite, check: bool) -> List[Tuple[str, Told]]:
    """Every project by itself: one that cannot be looked at keeps none of the others."""
    found: List[Tuple[str, Told]] = []
    names = options["projects"] if options["projects"] is not None else projects_of(options["root"])
    for name in names:
        try:
            deployer = Deployer(site, options["root"], name, options["wait"], tuple(options["override"]), check=check)
            found += [(name, told) for told in deployer.resume(options["stuck_after"])]
        except SelfhealError as error:
            found.append((name, refused(error)))
    return found


def resume(module: Any) -> Report:
    options = module.params
    for name in options["projects"] or ["any"]:
        check_place(options["root"], name, "options")
    if options["stuck_after"] < 0:
        raise ContractError("options", [Problem("stuck_after", "expected seconds from 0, found %g" % options["stuck_after"])])
    with site_of(options) as site:
        found = take_up(options, site, module.check_mode)
    results = []
    for name, told in found:
        each = result(name, "none" if told.outcome in ("unchanged", "blocked") else "resume", told)
        each["deployment"] = told.entry.id if told.entry is not None else None
        each["phase"] = told.entry.phase.value if told.entry is not None else None
        results.append(each)
    words = [TALLY[each["outcome"]] for each in results]
    outcome = {
        "changed": any(each["outcome"] in ("changed", "planned", "failed") and each["deployment"] for each in results),
        "results": results,
        "summary": {word: words.count(word) for word in ("resumed", "failed", "skipped")},
        "diff": difference(results, [told for _name, told in found]),
    }
    failed = [each for each in results if each["outcome"] == "failed"]
    failure = None
    if failed:
        first = "%(name)s (%(reason)s): %(detail)s" % failed[0]
        names = listed(["%(name)s/%(deployment)s" % each if each["deployment"] else each["name"] for each in failed])
        failure = "%d of %d deployments could not be finished: %s. The first is %s" % (len(failed), len(results), names, first)
    return Report(outcome, failure, warnings_of([told for _name, told in found], site))


def main() -> None:
    spec = {
        "root": {"type": "path", "required": True},
        "projects": {"type": "list", "elements": "str"},
        "stuck_after": {"type": "float", "default": 300},
        **OPTIONS,
    }
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), resume)


if __name__ == "__main__":
    main()
