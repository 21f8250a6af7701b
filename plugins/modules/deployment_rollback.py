#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: deployment_rollback
short_description: Go back to the last release that was proven good
version_added: 0.1.0
author:
  - The faultline.selfheal maintainers (@faultline-selfheal)
description:
  - Makes a release that stands already current again, by one rename, restarts what runs it, and asks its probes. If they are not well,
    everything is put back.
  - What the journal of that release says is what is done, with its restart, its routes and its probes.
  - The release that is left counts as in doubt from then on, and no later rollback goes there unless it is named. So a second rollback goes
    further back, and never to and fro.
  - Whether the release is whole is proven by its manifest before anything is changed.
options:
  root:
    description: The directory of all projects.
    type: path
    required: true
  project:
    description: The project's name.
    type: str
    required: true
  to:
    description:
      - The release to go to. The default is the one activated last of those that are good and not current.
      - One that is missing, changed, bad or incomplete is refused, and so is one whose C(schema) is below the highest C(schema_floor) of
        all that were active.
    type: str
extends_documentation_fragment:
  - faultline.selfheal.places
  - faultline.selfheal.deployment
attributes:
  check_mode:
    description: Chooses and proves the release, and changes nothing.
    support: full
  diff_mode:
    description: Shows the link and the phases, before and after.
    support: full
  idempotent:
    description: With O(to), a second run changes nothing. Without it every run goes further back.
    support: partial
    details:
      - That is what going back means.
seealso:
  - module: faultline.selfheal.deployment_start
  - module: faultline.selfheal.deployment_resume
requirements:
  - Linux
  - python >= 3.9
"""

EXAMPLES = r"""
- name: Go back to the last good release
  faultline.selfheal.deployment_rollback:
    root: /srv/www
    project: web

- name: Go to a certain one
  faultline.selfheal.deployment_rollback:
    root: /srv/www
    project: web
    to: "20261120180000"

- name: Ask where it would go
  faultline.selfheal.deployment_rollback:
    root: /srv/www
    project: web
  check_mode: true
  register: plan

- name: Show it
  ansible.builtin.debug:
    var: plan.to

- name: Wait for whoever deploys or heals it at this moment
  faultline.selfheal.deployment_rollback:
    root: /srv/www
    project: web
    wait: 120

- name: Go back although somebody said hands off
  faultline.selfheal.deployment_rollback:
    root: /srv/www
    project: web
    override: [hold]
"""

RETURN = r"""
from:
  description: The release that was current, V(null) if there was none.
  returned: always, unless an argument was wrong
  type: str
  sample: "20261121210330"
to:
  description: The release that is or would be current, V(null) if there is none to go to.
  returned: always, unless an argument was wrong
  type: str
  sample: "20261120180000"
deployment:
  description: The rollback's own journal, as of M(faultline.selfheal.deployment_start). In check mode that of the release it would go to.
  returned: when there is one
  type: dict
  sample:
    id: 20261121211500123.rollback
    kind: rollback
    release: "20261120180000"
    phase: active
results:
  description: The same in the shape that all modules of the collection share, with one entry.
  returned: always, unless an argument was wrong
  type: list
  elements: dict
  sample:
    - name: web
      action: rollback
      outcome: changed
      reason: null
      detail: back to 20261120180000
      before: deployments/20261121210330
      after: deployments/20261120180000
summary:
  description: How many had which outcome.
  returned: always, unless an argument was wrong
  type: dict
  sample: {changed: 1, unchanged: 0, planned: 0, blocked: 0, failed: 0}
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._core.deployment_request import check_place, check_release
from ..module_utils._engine.deploy_report import OPTIONS, attempted, ending, site_of, warnings_of
from ..module_utils._engine.deployer import Deployer
from ..module_utils._module import Report, run


def go_back(module: Any) -> Report:
    options = module.params
    check_place(options["root"], options["project"], "options")
    if options["to"] is not None:
        check_release(options["to"], "to", "options")
    with site_of(options) as site:
        deployer = Deployer(site, options["root"], options["project"], options["wait"], tuple(options["override"]), check=module.check_mode)
        told = attempted(lambda: deployer.rollback(options["to"]))
    outcome = {
        **ending(options["project"], "rollback", told),
        "from": os.path.basename(told.before) or None,
        "to": told.entry.release if told.entry is not None else None,
    }
    failure = None
    if told.outcome in ("failed", "blocked"):
        failure = "%s was not rolled back (%s): %s" % (options["project"], told.reason, told.detail)
    return Report(outcome, failure, warnings_of([told], site))


def main() -> None:
    spec = {
        "root": {"type": "path", "required": True},
        "project": {"type": "str", "required": True},
        "to": {"type": "str"},
        **OPTIONS,
    }
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), go_back)


if __name__ == "__main__":
    main()
