# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the report of a fleet on the controller: see plugins/modules/fleet_report.py for its documentation."""

from __future__ import annotations

import contextlib
import csv
import os
import time
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.faultline.selfheal.plugins.module_utils._core.errors import RecordError
from ansible_collections.faultline.selfheal.plugins.module_utils._core.times import parse_since
from ansible_collections.faultline.selfheal.plugins.plugin_utils import _report_files as files
from ansible_collections.faultline.selfheal.plugins.plugin_utils._mirror import Mirror
from ansible_collections.faultline.selfheal.plugins.plugin_utils._report import Fleet, as_data
from ansible_collections.faultline.selfheal.plugins.plugin_utils._report_page import page


class ActionModule(ActionBase):
    """Runs on the controller only."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        del tmp  # no longer used by Ansible
        spec = {
            "mirror": {"type": "path", "required": True},
            "dest": {"type": "path", "required": True},
            "hosts": {"type": "list", "elements": "str", "required": True},
            "unreached": {"type": "dict", "default": {}},
            "since": {"type": "str", "default": "30d"},
            "title": {"type": "str", "default": "Self-healing report"},
        }
        unused, options = self.validate_argument_spec(spec)
        del unused
        now = time.time()
        try:
            begin = parse_since(options["since"], now)
        except ValueError as error:
            raise AnsibleActionFail("since: %s" % error) from None  # Ansible appends a cause to the message, which has it already
        if begin >= now:
            raise AnsibleActionFail("since: %s is not in the past" % options["since"])
        try:
            made = _make(options, begin, now, bool(self._task.check_mode))
        except RecordError as error:
            raise AnsibleActionFail(str(error)) from None  # Ansible appends a cause to the message, which has it already
        except OSError as error:
            raise AnsibleActionFail("Writing the report into %s: %s" % (options["dest"], error)) from None
        result.update(changed=True, **made)
        return result


def _make(options: dict[str, Any], begin: float, now: float, check: bool) -> dict[str, Any]:
    dest = options["dest"]
    names = {name: os.path.join(dest, name) for name in ("report.json", "services.csv", "incidents.csv", "index.html")}
    with contextlib.ExitStack() as stack:
        if check:
            fleet = _read(options, begin, now, lambda incident: None)
            return _told(as_data(fleet, now, options["title"]), names)
        os.makedirs(dest, mode=0o750, exist_ok=True)
        rows = csv.writer(stack.enter_context(files.Output(names["incidents.csv"])))
        rows.writerow(files.COLUMNS)
        fleet = _read(options, begin, now, lambda incident: rows.writerow(files.incident_row(incident)))
        data = as_data(fleet, now, options["title"])
        files.write_services(stack.enter_context(files.Output(names["services.csv"])), fleet)
        files.write_json(stack.enter_context(files.Output(names["report.json"])), data)
        stack.enter_context(files.Output(names["index.html"])).write(page(data, fleet))
        return _told(data, names)


def _read(options: dict[str, Any], begin: float, now: float, heard: Any) -> Fleet:
    fleet = Fleet(begin, now, heard)
    unreached = options["unreached"] or {}
    for host in dict.fromkeys(options["hosts"]):
        mirror = Mirror(options["mirror"], host, lambda: now)
        fleet.add(mirror, str(unreached.get(host) or ""))
    return fleet


def _told(data: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    tampered = [host["host"] for host in data["hosts"] if host["chain"] == "tampered"]
    return {"total": data["total"], "services": data["services"], "tampered": tampered, "paths": names}
