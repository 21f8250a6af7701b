# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redeploy and rollback as the ladder's rungs: orders of a healer, carried out in a process of their own under the healer's leases."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, Mapping, Optional

from .._core.errors import SelfhealError
from .._core.model import WatchdogConfig
from .._core.reasons import Reason
from .._core.resource import resource_from
from .._core.times import parse_time
from .._records.files import Owner
from .._records.state import StateStore, incident_in
from .deploy_report import refused
from .deploy_site import DeploySite, Under
from .deployer import Deployer, Told
from .targets import Refused

WAIT = 30.0
"""Seconds that an errand waits for another deployment of the same project."""


def obey(order: Mapping[str, Any]) -> Told:
    """Carry out an order of a healer. Everything raised on purpose becomes an ending."""
    from .._probes.engine import LocalHost

    config = WatchdogConfig(
        host=str(order["host"]), state_dir=str(order["state_dir"]), run_dir=str(order["run_dir"]), retention=int(order["retention"])
    )
    with LocalHost() as host:
        site = DeploySite(str(order["etc"]), config, host, str(order["source"]))
        try:
            return _carry_out(site, order)
        except SelfhealError as error:
            return refused(error)
        finally:
            site.close()


def _carry_out(site: DeploySite, order: Mapping[str, Any]) -> Told:
    root, project = str(order["root"]), str(order["project"])
    if order["action"] == "proven":
        left = Deployer(site, root, project, WAIT).proven()
        return Told("changed" if left else "unchanged", None, "%s is bad" % left if left else "no rollback of the ladder is in force")
    name = str(order["service"])
    under = Under(name, resource_from(order["resource"]), Owner.from_data(order["owner"]), _incident(site, name))
    deployer = Deployer(site, root, project, WAIT, under=under)
    settled = settled_since(deployer, float(order["suspect_for"]))
    if settled is not None:
        raise Refused(Reason.RELEASE_SETTLED, settled)
    if order["action"] == "redeploy":
        return deployer.redeploy()
    return deployer.rollback(by="ladder")


def settled_since(deployer: Deployer, suspect_for: float) -> Optional[str]:
    """Why the current release cannot be the cause, in words; None when it may be."""
    from .._core.deployment import first_active

    current = deployer.project.current()
    since = first_active(deployer.journal.all(), current) if current is not None else None
    if since is None:
        return None
    age = deployer.site.host.wall() - parse_time(since)
    if age <= suspect_for:
        return None
    return "release %s has been active since %s, longer than suspect_for (%g s): old code is not the cause" % (current, since, suspect_for)


def _incident(site: DeploySite, service: str) -> Optional[str]:
    """The incident in which we act, by what the healer has saved."""
    saved = StateStore(os.path.join(site.config.state_dir, "state")).peek(service) or {}
    incident = incident_in(saved)
    found = incident.get("id")
    return found if isinstance(found, str) else None


def answer(ended: Told) -> str:
    """One line of JSON: what the healer reads."""
    shown: Dict[str, Any] = {"outcome": ended.outcome, "reason": ended.reason, "detail": ended.detail}
    shown.update(before=ended.before, after=ended.after)
    shown["deployment"] = ended.entry.id if ended.entry is not None else None
    shown["warnings"] = list(ended.warnings)
    return json.dumps(shown)


__all__ = ["answer", "obey", "settled_since"]
