#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: symlink_reconcile
short_description: Make the links of any number of projects lead to the releases they should
version_added: 0.1.0
author:
  - The faultline.selfheal maintainers (@faultline-selfheal)
description:
  - Looks at the link C(current) of every project, and at its link in a webroot if there is one, and repairs those that are missing, lead
    nowhere, or lead elsewhere than they should. A link is swapped by one rename, so there is no instant without it.
  - Where a project has a journal of deployments, the link leads to the release that was activated last and is good, by the time of its
    activation, never by its name. A rollback is an activation, too. A link that leads elsewhere, is absolute, or takes a detour is wrong.
  - Trees without such a journal, like those of Capistrano (C(releases)), are looked after as well. There a link that leads to a release is
    left alone even when that is not the newest, because somebody may have rolled back on purpose. See O(enforce).
  - One project that cannot be repaired does not keep the others from it. The task then fails, with all results.
  - A project that is being deployed or healed is left alone, and so is one that somebody holds. Both are skipped, with the reason.
  - Each repair is recorded in the host's timeline as C(symlink_repair) before it is done. Services are not restarted.
options:
  root:
    description:
      - The directory that holds the projects.
      - It is refused when anyone may write to it, and so is a project.
    type: path
    required: true
  projects:
    description:
      - Names of projects, directories right below O(root). Each may hold any characters but a slash.
      - If absent, every directory below O(root) is a project, except those whose names begin with a dot, and O(webroot).
      - An empty list means none.
      - A name that no directory has is an error.
    type: list
    elements: str
  deployments_dir:
    description: The directory of a project that holds its releases.
    type: str
    default: deployments
  current:
    description: The name of the link in a project.
    type: str
    default: current
  active_by:
    description:
      - What tells which release should be current.
      - V(journal), the journal that M(faultline.selfheal.deployment_start) and its kin write below C(.selfheal) of the project. A project
        that has none is treated as by V(name).
      - V(name), the highest name. Digits count as numbers, so V(v10) is higher than V(v9).
      - V(marker), the release in which a file C(.active) was written last. Releases without one are not considered.
    type: str
    choices: [journal, name, marker]
    default: journal
  enforce:
    description:
      - What is repaired where no journal tells which release should be current.
      - V(broken), a link that is missing, leads nowhere, or leads out of O(deployments_dir).
      - V(newest), every link that does not lead to the newest release.
    type: str
    choices: [broken, newest]
    default: broken
  webroot:
    description:
      - A directory that holds a link of each project's name to the directory O(public_dir) of its current release.
      - If absent, there is none. Projects whose release has no such directory are left alone there.
    type: path
  public_dir:
    description: The directory of a release that is linked into O(webroot).
    type: str
    default: public
  on_obstruction:
    description:
      - What happens when a directory or file stands where a link should be.
      - V(fail), it stays, and the project is an error.
      - V(backup), it is kept beside the link, as C(NAME.backup-TIME), and exchanged for it at once where the file system can.
    type: str
    choices: [fail, backup]
    default: fail
extends_documentation_fragment:
  - faultline.selfheal.places
attributes:
  check_mode:
    description: Looks and decides by the same code, changes nothing, takes no lease and records nothing.
    support: full
  diff_mode:
    description: Shows each link before and after.
    support: full
  idempotent:
    description: Links that are right are left alone.
    support: full
seealso:
  - module: faultline.selfheal.deployment_start
  - module: faultline.selfheal.deployment_resume
  - module: faultline.selfheal.deployment_rollback
notes:
  - A deployment that was cut off after it had swapped the link is not judged here; M(faultline.selfheal.deployment_resume) comes first.
  - An ordinary user may run it for trees of its own, with O(state_dir) and O(run_dir) where it may write.
requirements:
  - Linux
  - python >= 3.9
"""

EXAMPLES = r"""
- name: Every project below /var/www
  faultline.selfheal.symlink_reconcile:
    root: /var/www

- name: See what would be done, and change nothing
  faultline.selfheal.symlink_reconcile:
    root: /var/www
  check_mode: true
  diff: true

- name: Two projects, with their links in the webroot
  faultline.selfheal.symlink_reconcile:
    root: /var/www
    projects:
      - web
      - shop
    webroot: /var/www/webroot
    public_dir: public

- name: A tree that Capistrano deploys, where only broken links are repaired
  faultline.selfheal.symlink_reconcile:
    root: /srv/apps
    deployments_dir: releases

- name: The same, and the newest release is always the one
  faultline.selfheal.symlink_reconcile:
    root: /srv/apps
    deployments_dir: releases
    active_by: name
    enforce: newest

- name: Put aside what stands where a link should be
  faultline.selfheal.symlink_reconcile:
    root: /var/www
    on_obstruction: backup

- name: Only look, and decide in the play
  faultline.selfheal.symlink_reconcile:
    root: /var/www
  check_mode: true
  register: links
  failed_when: links.summary.errors > 2

- name: Trees of an ordinary user
  faultline.selfheal.symlink_reconcile:
    root: ~/sites
    state_dir: ~/selfheal/state
    run_dir: ~/selfheal/run
"""

RETURN = r"""
summary:
  description: How many projects there are of each kind.
  returned: always, unless an argument was wrong or O(root) cannot be worked in
  type: dict
  contains:
    fixed:
      description: One or both links were repaired, or would be in check mode.
      type: int
      sample: 1
    verified:
      description: Everything is as it should be, or is left alone with a reason.
      type: int
      sample: 41
    errors:
      description: Something could not be looked at or repaired.
      type: int
      sample: 0
    skipped:
      description: It has no release, is a link itself, is held, or somebody else is at work on it.
      type: int
      sample: 2
results:
  description: One entry for each project, in the order of O(projects), or by name.
  returned: always, unless an argument was wrong or O(root) cannot be worked in
  type: list
  elements: dict
  contains:
    name:
      description: The project's name.
      type: str
      sample: web
    action:
      description: What was done or tried. One of V(repair), V(verify) and V(skip).
      type: str
      sample: repair
    outcome:
      description: One of V(changed), V(unchanged), V(planned), V(blocked) and V(failed).
      type: str
      sample: changed
    reason:
      description:
        - Why, in one word. For a repair V(link_missing), V(link_broken), V(link_wrong), V(link_absolute), V(link_indirect), V(link_outside)
          or V(obstructed). For what was left alone V(not_newest), V(no_public_directory), V(no_release), V(no_good_release),
          V(project_is_link), V(hold), V(lease_held) or V(interrupted).
        - For an error V(obstructed), V(no_such_project), V(no_good_release), V(garbled), V(unsafe_directory), V(no_permission),
          V(records_unwritable) or V(action_failed).
        - V(null) if everything is as it should be.
      type: str
      sample: link_broken
    detail:
      description: One sentence for people; empty if there is nothing to say.
      type: str
      sample: current leads to deployments/20261121210330, which is not there
    before:
      description: What C(current) was, V(null) if there was none. What stood there in parentheses if it was no link.
      type: str
      sample: deployments/20261121210330
    after:
      description: What C(current) is now, or would be.
      type: str
      sample: deployments/20261120190012
    webroot_before:
      description: The same of the link in O(webroot).
      returned: if O(webroot) was given
      type: str
      sample: /var/www/web/current/public
    webroot_after:
      description: The same of the link in O(webroot).
      returned: if O(webroot) was given
      type: str
      sample: /var/www/web/current/public
  sample:
    - name: web
      action: verify
      outcome: unchanged
      reason: null
      detail: ""
      before: deployments/20261121210330
      after: deployments/20261121210330
"""

import gc
import os
import platform
from dataclasses import replace
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._core.contract import parse_watchdog
from ..module_utils._core.errors import ContractError, Problem
from ..module_utils._core.links import ACTIVE_BY, ENFORCE, ON_OBSTRUCTION
from ..module_utils._core.model import Service, WatchdogConfig
from ..module_utils._engine.etc import Etc, Unreadable, load_services, read_json
from ..module_utils._engine.reconcile import Reconciler, Result, Surroundings, changes, summarise
from ..module_utils._engine.survey import Policy
from ..module_utils._module import Report, listed, run
from ..module_utils._records.holds import Holds
from ..module_utils._records.lease_batch import ManyLeases
from ..module_utils._records.timeline import Timeline

PLACES = ("etc", "state_dir", "run_dir")


def check_options(options: Dict[str, Any]) -> None:
    """Refuse what cannot be meant. Raises ContractError."""
    wrong = [Problem(key, "is empty") for key in (*PLACES, "root", "webroot") if options[key] is not None and not options[key]]
    for key in ("root", "webroot"):
        if options[key] and not os.path.isabs(options[key]):
            wrong.append(Problem(key, "expected an absolute path, found %r" % options[key]))
    public = options["public_dir"]
    if not public or os.path.isabs(public) or ".." in public.split("/") or "\0" in public:
        wrong.append(Problem("public_dir", "expected a path below the release, found %r" % public))
    for key in ("deployments_dir", "current"):
        if not options[key] or "/" in options[key] or options[key] in (".", ".."):
            wrong.append(Problem(key, "expected a name without a slash, found %r" % options[key]))
    if wrong:
        raise ContractError("options", wrong)


def configuration(options: Dict[str, Any], etc: Etc) -> WatchdogConfig:
    """The host's configuration, with what the task says instead. Raises ContractError, Unreadable."""
    if os.path.lexists(etc.watchdog):
        config = parse_watchdog(read_json(etc.watchdog), etc.watchdog)
    else:
        config = WatchdogConfig(platform.node() or "localhost")
    return replace(config, **{key: options[key] for key in ("state_dir", "run_dir") if options[key] is not None})


def contracts(etc: Etc) -> Tuple[Optional[Sequence[Service]], List[str]]:
    """The host's contracts, none without a file, None when they cannot be read; and what is to be warned about."""
    if not os.path.lexists(etc.contracts):
        return (), []
    try:
        return load_services(etc.contracts), []
    except (ContractError, Unreadable) as error:
        return None, ["A hold of any service holds every project, as nothing tells which is whose: %s" % error]


def failure_of(results: Sequence[Result]) -> Optional[str]:
    wrong = [result for result in results if result.status == "error"]
    if not wrong:
        return None
    return "The links of %d of %d projects are not as they should be: %s. The first: %s" % (
        len(wrong),
        len(results),
        listed([result.look.project for result in wrong]),
        wrong[0].detail,
    )


def diff_of(results: Sequence[Result]) -> Dict[str, str]:
    found = list(changes(results))
    before = "".join("%s%s\n" % (path, " -> %s" % was if was else ": nothing") for path, was, _now in found)
    return {"before": before, "after": "".join("%s -> %s\n" % (path, now) for path, _was, now in found)}


def reconcile(module: Any) -> Report:
    options = module.params
    check_options(options)
    etc = Etc(options["etc"])
    config = configuration(options, etc)
    services, warnings = contracts(etc)
    policy = Policy(**{key: value for key, value in options.items() if key not in PLACES})
    surroundings = Surroundings(
        holds=Holds(config.state_dir, etc.path),
        leases=ManyLeases(os.path.join(config.run_dir, "leases")),
        timeline=Timeline(os.path.join(config.state_dir, "timeline"), config.host, retention=config.retention),
        services=services,
        check=module.check_mode,
    )
    reconciler = Reconciler(policy, surroundings)
    results = reconciler.run()
    result = {
        "changed": any(one.done for one in results),
        "results": [one.as_data(module.check_mode, policy.webroot is not None) for one in results],
        "summary": summarise(results),
    }
    if module._diff:
        result["diff"] = diff_of(results)
    return Report(result, failure_of(results), [*warnings, *reconciler.warnings])


def main() -> None:
    spec = {
        "root": {"type": "path", "required": True},
        "projects": {"type": "list", "elements": "str"},
        "deployments_dir": {"type": "str", "default": "deployments"},
        "current": {"type": "str", "default": "current"},
        "active_by": {"type": "str", "choices": list(ACTIVE_BY), "default": "journal"},
        "enforce": {"type": "str", "choices": list(ENFORCE), "default": "broken"},
        "webroot": {"type": "path"},
        "public_dir": {"type": "str", "default": "public"},
        "on_obstruction": {"type": "str", "choices": list(ON_OBSTRUCTION), "default": "fail"},
        "etc": {"type": "path", "default": "/etc/selfheal"},
        "state_dir": {"type": "path"},
        "run_dir": {"type": "path"},
    }
    # Thousands of results grow and none of them goes before the end: looking through them for garbage finds nothing.
    gc.disable()
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), reconcile)


if __name__ == "__main__":
    main()
