# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks contracts and the watchdog's configuration on the controller and puts them onto a host; see plugins/modules/watchdog_config.py."""

from __future__ import annotations

import json
from typing import Any, Mapping

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.faultline.selfheal.plugins.module_utils._core.contract import load_json, parse_services, parse_watchdog
from ansible_collections.faultline.selfheal.plugins.module_utils._core.errors import ContractError, SelfhealError
from ansible_collections.faultline.selfheal.plugins.module_utils._core.model import ProcessResource, ProcessTarget, Service
from ansible_collections.faultline.selfheal.plugins.module_utils._engine.resources import not_acted_on, unsupported
from ansible_collections.faultline.selfheal.plugins.plugin_utils._covered import difference

ARGUMENTS = {
    "services": {"type": "list", "elements": "dict"},
    "configuration": {"type": "dict"},
    "dest": {"type": "path"},
    "validate": {"type": "str"},
    "mode": {"type": "str", "default": "0640"},
}
COPY = "ansible.legacy.copy"


class ActionModule(ActionBase):
    """The check needs no host. The file is copied by the copy action: atomic, with its validate, in check mode, with a diff of our own."""

    TRANSFERS_FILES = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        del tmp  # no longer used by Ansible
        variables = task_vars or {}
        unused, arguments = self.validate_argument_spec(
            ARGUMENTS, required_one_of=[("services", "configuration")], required_by={"validate": "dest"}
        )
        del unused
        # Names and numbers as they were written: the argument parser above only looks at the outermost layer.
        given = {key: _plain(self._task.args[key], key) for key in ("services", "configuration") if arguments[key] is not None}
        dest = arguments["dest"]
        if dest is not None and not dest.startswith(("/", "~")):
            raise AnsibleActionFail("watchdog_config: dest: expected an absolute path, found %r; leave it out to check only" % dest)
        if dest is not None and len(given) != 1:
            raise AnsibleActionFail("watchdog_config: dest takes one file; give services or configuration, not both")
        host = str(variables.get("inventory_hostname", "this host"))
        result.update(changed=False, services=[], notes={}, paths=[], rights=[])
        for problem in self._check(given, host, result):
            raise AnsibleActionFail(problem)
        if dest is not None:
            whole = {"services": given["services"]} if "services" in given else given["configuration"]
            text = json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
            result.update(self._copy(text, arguments, variables))
        return result

    @staticmethod
    def _check(given: Mapping[str, Any], host: str, result: dict[str, Any]) -> list[str]:
        """Fills services, notes and paths; returns what is wrong, everything at once."""
        problems = []
        for key, value in given.items():
            what = "%s for %s" % ("contracts" if key == "services" else "configuration", host)
            try:
                whole = load_json(json.dumps({"services": value} if key == "services" else value).encode(), what)
                if key == "services":
                    result.update(_facts(parse_services(whole, what)))
                else:
                    parse_watchdog(whole, what)
            except ContractError as error:
                problems.append(str(error))
            except SelfhealError as error:
                problems.append("%s: %s" % (what, error))
        return ["\n".join(problems)] if problems else []

    def _copy(self, text: str, arguments: Mapping[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        task = self._task.copy()
        task.args = {"content": text, "dest": arguments["dest"], "owner": "root", "group": "root", "mode": arguments["mode"]}
        if arguments["validate"]:
            task.args["validate"] = arguments["validate"]
        copy = self._shared_loader_obj.action_loader.get(
            COPY,
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        copied: dict[str, Any] = copy.run(task_vars=variables)
        copied.pop("invocation", None)
        shown = copied.pop("diff", None)
        if self._task.diff and shown is not None:
            copied["diff"] = [_covered(each, arguments["dest"]) for each in (shown if isinstance(shown, list) else [shown])]
        return copied


def _covered(diff: dict[str, Any], dest: str) -> dict[str, Any]:
    """A diff of contents without its secrets; one of modes and owners as it stands."""
    before, after = diff.get("before"), diff.get("after")
    if not isinstance(after, str):
        return diff
    old, new = difference(before if isinstance(before, str) else "", after)
    return {"before_header": dest, "after_header": dest, "before": old, "after": new}


def _facts(services: tuple[Service, ...]) -> dict[str, Any]:
    """What a role wants to know before it makes room for them."""
    notes, paths, rights = {}, set(), set()
    for service in services:
        problem = unsupported(service)
        lines = ([] if problem is None else ["not watched: %s" % problem]) + not_acted_on(service)
        if lines:
            notes[service.name] = lines
        pidfiles = {each.target.pidfile for each in service.probes if isinstance(each.target, ProcessTarget) and each.target.pidfile}
        if isinstance(service.resource, ProcessResource) and service.resource.pidfile is not None:
            # It went into the background on its own, so no systemd unit holds it and it is signalled directly.
            pidfiles.add(service.resource.pidfile)
            rights.add("signal")
        roots = set() if service.release is None else {service.release.root}
        paths |= pidfiles | roots
        fallbacks = (service.fallback, *(each.fallback for each in service.dependencies))
        if pidfiles or roots or any(each is not None and each.kind == "haproxy" for each in fallbacks):
            rights.add("files")
    return {"services": [service.name for service in services], "notes": notes, "paths": sorted(paths), "rights": sorted(rights)}


def _plain(value: Any, path: str) -> Any:
    """Plain data of JSON. Raises AnsibleActionFail for anything else, such as the dates YAML makes of unquoted text."""
    if isinstance(value, dict):
        return {str(key): _plain(item, "%s.%s" % (path, key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, "%s[%d]" % (path, place)) for place, item in enumerate(value)]
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise AnsibleActionFail(
        "watchdog_config: %s is a %s; expected text, a number, a list or a dict. Quote it." % (path, type(value).__name__)
    )
