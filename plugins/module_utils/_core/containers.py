# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do about a container that is not what it should be: pure decisions of ``container_heal``, from what its engine told.

Two rules. What a person or the container's own restart policy is doing is left to them. What has been tried `budget` times within
`BUDGET_PERIOD` is not tried again: it is stopped, if it loops, and left for inspection.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, FrozenSet, List, Mapping, Optional, Sequence, Tuple

from .reasons import Reason

STATES = ("started", "healthy", "stopped", "absent")
RECREATE = ("never", "stuck", "drifted")
POLICIES = ("no", "always", "unless-stopped", "on-failure")
BUDGET_PERIOD = 3600.0
"""An action counts against the budget for so many seconds: its reset rule."""
LOOPS_AFTER = 5.0
"""A pause of its restart policy that is longer means that the policy alone does not heal it."""
STUCK_AFTER = 60.0
"""So long a container may be on its way out."""
OWNER = "selfheal.owner"
HELPER = "selfheal.helper"
REPLACES = "selfheal.replaces"
RELEASE = "selfheal.release"
DEPLOYMENT = "selfheal.deployment"
RAN = "selfheal.replaces-running"
NEW = ".selfheal-new"
OLD = ".selfheal-old"
TRY = ".selfheal-try"
FAILED = ".selfheal-failed"
"""What stands beside a container of that name: the next one, the one before, a rehearsal, and one that failed, left for inspection."""
BESIDE = (NEW, OLD, TRY, FAILED)


@dataclass(frozen=True)
class Want:
    """What a container should be. desired: by_admin (what somebody stopped stays so) or always. image: a reference, None: any."""

    name: str
    state: str = "started"
    desired: str = "by_admin"
    image: Optional[str] = None
    labels: Mapping[str, str] = field(default_factory=dict)
    restart_policy: Optional[str] = None
    retries: int = 0
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """What stands there. status: as the engine says it. health: of its own check. by_hand: did somebody stop it (None: nobody knows)?

    pause: seconds for which its restart policy has been waiting, or the engine has been removing it. policy: (name, retries). acted:
    actions of ours within the budget's period. kept: it was left for inspection in this life. wanted_image: the id behind the
    wanted reference, None where nothing is wanted. unhealthy: a probe that the task gives has failed. undone: so often within the budget's
    period it was made anew as it is wanted now, was not well, and was put back.
    """

    name: str
    id: str
    status: str
    health: Optional[str] = None
    by_hand: Optional[bool] = None
    error: str = ""
    pause: float = 0.0
    restarts: int = 0
    image: str = ""
    wanted_image: Optional[str] = None
    labels: Mapping[str, str] = field(default_factory=dict)
    policy: Tuple[str, int] = ("no", 0)
    acted: int = 0
    kept: bool = False
    unhealthy: str = ""
    undone: int = 0
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """action: none, start, unpause, restart, recreate, update, stop, remove, or keep (stop it and leave it for inspection).

    With action none: reason says why nothing is done; blocked: something should be done and may not; wait: it is on its way, look again.
    """

    action: str
    reason: Optional[Reason] = None
    detail: str = ""
    blocked: bool = False
    wait: bool = False


@dataclass(frozen=True)
class Rules:
    """What a run may do. override: guards that a person has lifted."""

    budget: int = 3
    recreate: str = "drifted"
    override: FrozenSet[Reason] = frozenset()


FINE = Plan("none")


def plan(want: Want, found: Optional[Found], rules: Rules) -> Plan:
    """The next thing to do about one container."""
    if want.state == "absent":
        return FINE if found is None else Plan("remove", Reason.NOT_WANTED, "it is %s and should not exist" % found.status)
    if found is None:
        missing = "there is no container %s; whoever knows how it is made must create it" % want.name
        return Plan("none", Reason.NO_SUCH_CONTAINER, missing, True)
    if want.state == "stopped":
        return _stopped(found)
    return _guarded(want, found, _started(want, found, rules), rules)


def _stopped(found: Found) -> Plan:
    if found.status in ("running", "restarting", "paused"):
        return Plan("stop", Reason.NOT_WANTED, "it is %s and should be stopped" % found.status)
    return _stopping(None, found) if found.status == "stopping" else FINE


def _started(want: Want, found: Found, rules: Rules) -> Plan:
    """What it needs, whatever may forbid it."""
    stands = _BY_STATUS.get(found.status, _strange)(want, found)
    if stands.action == "recreate" and rules.recreate == "never":
        return Plan("none", Reason.UNSUPPORTED, "%s; only making it anew helps, and recreate is never" % stands.detail, True)
    if stands is FINE and want.image is not None and found.wanted_image is None and rules.recreate == "drifted":
        return Plan("none", Reason.IMAGE_MISSING, "image %s is not on this engine; pull or load it first" % want.image, True)
    if stands.action in ("none", "start", "restart") and not stands.blocked and found.status not in ("stopping", "removing"):
        drift = drifted(want, found)
        futile = found.undone >= rules.budget and Reason.BUDGET_SPENT not in rules.override
        if drift and rules.recreate == "drifted" and not futile:
            return Plan("recreate", Reason.DRIFTED, "; ".join(drift))
        if drift and rules.recreate == "drifted" and stands is FINE:
            why = "%s; made so %d times within %g s it was not well and was put back"
            return Plan("none", Reason.UNPROVEN, why % ("; ".join(drift), found.undone, BUDGET_PERIOD), True)
    if stands is FINE and want.restart_policy is not None and found.policy != (want.restart_policy, want.retries):
        expected = _policy(want.restart_policy, want.retries)
        return Plan("update", Reason.DRIFTED, "restart policy %s, expected %s" % (_policy(*found.policy), expected))
    return stands


def drifted(want: Want, found: Found) -> List[str]:
    """How it differs from what is wanted in what only making it anew can change."""
    said = []
    if want.image is not None and found.wanted_image is not None and found.image != found.wanted_image:
        said.append("image %s, expected %s (%s)" % (_short(found.image), want.image, _short(found.wanted_image)))
    for key, value in sorted(want.labels.items()):
        if found.labels.get(key) != value:
            said.append("label %s is %r, expected %r" % (key, found.labels.get(key), value))
    for key, value in sorted(want.env.items()):
        if found.env.get(key) != value:
            # Never the values: they may be secrets.
            said.append("environment variable %s %s" % (key, "has another value" if key in found.env else "is missing"))
    return said


def _running(want: Want, found: Found) -> Plan:
    if found.health == "unhealthy":
        return Plan("restart", Reason.CONTAINER_UNHEALTHY, "its own health check calls it unhealthy")
    if found.unhealthy:
        return Plan("restart", Reason.LIVENESS_FAILED, found.unhealthy)
    if found.health == "starting" and want.state == "healthy":
        return Plan("none", Reason.NOT_STARTED, "its own health check has not passed yet", wait=True)
    return FINE


def _paused(want: Want, found: Found) -> Plan:
    return Plan("unpause", Reason.GONE, "somebody paused it")


def _exited(want: Want, found: Found) -> Plan:
    return Plan("start", Reason.GONE, found.error or "it is %s" % found.status)


def _restarting(want: Want, found: Found) -> Plan:
    if found.pause <= LOOPS_AFTER:
        return Plan("none", Reason.BACKOFF, "its restart policy starts it again", wait=True)
    return Plan("restart", Reason.GONE, "its restart policy has tried %d times, and pauses for longer and longer" % found.restarts)


def _leaving(want: Want, found: Found) -> Plan:
    if found.status == "removing" and found.pause <= STUCK_AFTER:
        return Plan("none", Reason.NOT_RUNNING, "the engine is removing it", wait=True)
    return Plan("recreate", Reason.GONE, "it is stuck as %s" % found.status)


def _stopping(want: Optional[Want], found: Found) -> Plan:
    return Plan("none", Reason.NOT_RUNNING, "the engine is stopping it", wait=True)


def _strange(want: Want, found: Found) -> Plan:
    return Plan("none", Reason.UNSUPPORTED, "its state %s is not known here" % found.status, True)


_BY_STATUS: Mapping[str, Callable[[Want, Found], Plan]] = {
    "running": _running,
    "paused": _paused,
    "created": _exited,
    "configured": _exited,
    "initialized": _exited,
    "exited": _exited,
    "stopped": _exited,
    "restarting": _restarting,
    "stopping": _stopping,
    "dead": _leaving,
    "removing": _leaving,
}


def _guarded(want: Want, found: Found, wanted: Plan, rules: Rules) -> Plan:
    """What may be done of it."""
    if wanted.action in ("none", "update") or wanted.blocked:
        return wanted
    if _stopped_by_somebody(found) and want.desired != "always" and Reason.ADMIN_STOPPED not in rules.override:
        what = "paused" if found.status == "paused" else "stopped"
        return Plan("none", Reason.ADMIN_STOPPED, "somebody %s it; it stays so" % what, True)
    spent = found.kept or found.acted >= rules.budget
    if spent and wanted.action in ("start", "restart", "unpause") and Reason.BUDGET_SPENT not in rules.override:
        why = "%d of %d actions within %g s are spent" % (found.acted, rules.budget, BUDGET_PERIOD)
        if found.status == "restarting":
            return Plan("keep", Reason.BUDGET_SPENT, "%s; it is stopped and left for inspection" % why)
        return Plan("none", Reason.BUDGET_SPENT, "%s; it is left for inspection" % ("it was stopped for that" if found.kept else why), True)
    return wanted


def _stopped_by_somebody(found: Found) -> bool:
    if found.kept:
        return False  # that somebody was us
    if found.status == "paused":
        return True
    return found.status in ("exited", "stopped") and bool(found.by_hand)


def _short(image: str) -> str:
    return image.partition(":")[2][:12] if image.startswith("sha256:") else image


def _policy(name: str, retries: int) -> str:
    return "%s:%d" % (name, retries) if retries else name


# -- cleaning up


def swapping(name: str, there: Mapping[str, Tuple[str, Mapping[str, str]]]) -> bool:
    """Has the next one not got the name yet that the one before has lost already? there: id and labels of every container, by name."""
    new, old = there.get(name + NEW), there.get(name + OLD)
    return name not in there and new is not None and old is not None and new[1].get(REPLACES) == old[0]


@dataclass(frozen=True)
class Labelled:
    """A container that bears our label. created: wall seconds."""

    name: str
    id: str
    status: str
    created: float
    labels: Mapping[str, str]


def _shown(text: str) -> str:
    """What anybody may have written into a label, on one line."""
    return (text if text.isprintable() else ascii(text)[1:-1])[:100]


def orphans(
    there: Sequence[Labelled], owners: FrozenSet[str], now: float, min_age: float, most: int
) -> Tuple[List[Tuple[Labelled, str]], int]:
    """Which to remove, with why, oldest first and at most `most`; and how many more there are. owners: names that still stand."""
    found = []
    for each in sorted(there, key=lambda one: (one.created, one.name)):
        owner = each.labels.get(OWNER)
        if owner is None or owner == each.name or now - each.created < min_age:
            continue
        if owner not in owners:
            found.append((each, "its owner %s is gone" % _shown(owner)))
        elif HELPER in each.labels:
            found.append(
                (each, "a helper of %s (%s) older than %g s" % (owner, _shown(each.labels[HELPER]) or "no purpose given", min_age))
            )
    return found[:most], max(0, len(found) - most)


__all__ = [
    "BESIDE",
    "BUDGET_PERIOD",
    "DEPLOYMENT",
    "FAILED",
    "FINE",
    "Found",
    "HELPER",
    "Labelled",
    "NEW",
    "OLD",
    "OWNER",
    "POLICIES",
    "Plan",
    "RAN",
    "RECREATE",
    "RELEASE",
    "REPLACES",
    "Rules",
    "STATES",
    "TRY",
    "Want",
    "drifted",
    "orphans",
    "plan",
    "swapping",
]
