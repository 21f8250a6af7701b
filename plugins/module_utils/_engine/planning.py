# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deployment would change, for check mode: everything is looked at that can be looked at, and nothing is touched."""

from __future__ import annotations

import os
from typing import Any, Dict, List

from .._actuators import git, routes
from .._actuators.release import Project
from .._core.deployment import Phase
from .._core.deployment_request import Request
from .._core.reasons import Reason
from .._core.redact import redact_text
from .._host import Host
from .deploy_run import PhaseFailed, drive
from .sources import identify
from .targets import Refused

PHASES = [phase.value for phase in Phase if phase is not Phase.FAILED]


def plan(host: Host, project: Project, wanted: Request) -> Dict[str, Any]:
    """``{phases, source, current, routes, shared, builds}``. Raises Refused where the deployment would fail for sure."""
    if project.stands(wanted.id):
        raise Refused(Reason.ID_USED, "%s stands already, and no journal knows it. Choose another id." % project.release(wanted.id))
    missing = [each.path for each in wanted.shared if not each.directory and not os.path.exists(os.path.join(project.shared, each.path))]
    if missing:
        words = "shared/%s is missing in %s: put it there before deploying, or write %s/ for a directory that is made when it is missing"
        raise Refused(Reason.FILES_MISSING, words % (missing[0], project.path, missing[0]))
    return {
        "phases": PHASES,
        "source": _source(host, wanted),
        "current": "deployments/" + wanted.id,
        "builds": [step.argv[0] for step in wanted.build],
        "shared": [each.path for each in wanted.shared],
        "routes": _routes(wanted),
    }


def _source(host: Host, wanted: Request) -> Dict[str, Any]:
    source = wanted.source
    try:
        if source.kind == "image":
            from .image_strategy import foreseen

            return foreseen(host, source)
        if source.kind == "git":
            commit = drive(host, git.look(source))
            return {"kind": "git", "repository": redact_text(source.repository), "ref": source.ref, "commit": commit}
        return identify(source)
    except (git.GitFailed, PhaseFailed) as error:
        raise Refused(error.reason, str(error)) from error
    except OSError as error:
        raise Refused(Reason.SOURCE_MISSING, "The source %s: %s" % (source.path, os.strerror(error.errno or 0))) from error


def _routes(wanted: Request) -> List[Dict[str, Any]]:
    found = []
    for each in wanted.routes:
        before = routes.look(each.path)
        data = each.content
        found.append({"path": each.path, "changed": before is None or before["content"] != data, "new": before is None})
    return found


__all__ = ["PHASES", "plan"]
