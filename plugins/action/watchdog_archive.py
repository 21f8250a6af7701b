# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the watchdog's one file on the controller; see plugins/modules/watchdog_archive.py for its documentation."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.faultline.selfheal.plugins.plugin_utils._archive import ArchiveError, build


class ActionModule(ActionBase):
    """Runs on the controller only: the sources are there, and a managed host never sees them."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        del tmp  # no longer used by Ansible
        unused, arguments = self.validate_argument_spec({"dest": {"type": "path", "required": True}})
        del unused
        dest = self._loader.path_dwim(arguments["dest"])
        try:
            built = build(dest, check_mode=self._task.check_mode)
        except ArchiveError as exc:
            raise AnsibleActionFail(str(exc)) from None  # Ansible appends a cause to the message, which has it already
        except OSError as exc:
            raise AnsibleActionFail("building selfheal.pyz at %s: %s; check the path and its permissions" % (dest, exc)) from None
        result.update(changed=built.changed, path=built.path, checksum=built.sha256, size=built.size)
        if self._task.diff:
            before = "" if built.previous is None else "sha256:%s\n" % built.previous
            result["diff"] = {
                "before_header": built.path,
                "after_header": built.path,
                "before": before,
                "after": "sha256:%s\n" % built.sha256,
            }
        return result
