# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How deployments are told by modules and the command line: one shape, and a difference that a person can read."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from dataclasses import replace
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence

from .._core.contract import parse_watchdog
from .._core.errors import ContractError, LeaseHeld, SelfhealError
from .._core.model import WatchdogConfig
from .._core.reasons import Reason
from .._core.redact import secret_key
from .._probes.engine import LocalHost
from .._probes.http_request import HARMLESS, SHORTEST_SECRET
from .._records.journal import shown
from .deploy_run import reason_of
from .deploy_site import DeploySite, Forbidden
from .deployer import Told
from .etc import Etc, read_json

OUTCOMES = ("changed", "unchanged", "planned", "blocked", "failed")
OPTIONS: Dict[str, Dict[str, Any]] = {
    "wait": {"type": "float", "default": 0},
    "override": {"type": "list", "elements": "str", "default": [], "choices": ["hold"]},
    "etc": {"type": "path", "default": "/etc/selfheal"},
    "state_dir": {"type": "path"},
    "run_dir": {"type": "path"},
    "host": {"type": "str"},
}
"""What every module about deployments has among its options; `site_of` reads all but the first two."""


def configuration(etc: Etc, host: Optional[str] = None, state_dir: Optional[str] = None, run_dir: Optional[str] = None) -> WatchdogConfig:
    """The host's configuration, with what was given instead. Raises ContractError, Unreadable."""
    if os.path.lexists(etc.watchdog):
        config = parse_watchdog(read_json(etc.watchdog), etc.watchdog)
    else:
        config = WatchdogConfig(platform.node() or "localhost")
    return replace(config, host=host or config.host, state_dir=state_dir or config.state_dir, run_dir=run_dir or config.run_dir)


@contextlib.contextmanager
def site_of(options: Mapping[str, Any]) -> Iterator[DeploySite]:
    """The site that a module's options name, for as long as it is needed. Raises ContractError, Unreadable."""
    etc = Etc(options["etc"])
    config = configuration(etc, options["host"], options["state_dir"], options["run_dir"])
    with LocalHost() as host:
        site = DeploySite(etc.path, config, host, "module")
        try:
            yield site
        finally:
            site.close()


def attempted(errand: Callable[[], Told]) -> Told:
    """How an errand ended, also where it was not begun. Raises ContractError: what was asked for is wrong."""
    try:
        return errand()
    except ContractError:
        raise
    except SelfhealError as error:
        return refused(error)


def ending(project: str, action: str, told: Told) -> Dict[str, Any]:
    """What a module about one project returns."""
    results = [result(project, action, told)]
    outcome = {
        "changed": told.outcome in ("changed", "planned") or (told.outcome == "failed" and told.before != told.after),
        "results": results,
        "summary": {word: int(told.outcome == word) for word in OUTCOMES},
        "diff": difference(results, [told]),
    }
    shown_entry = journal(told)
    return outcome if shown_entry is None else {**outcome, "deployment": shown_entry}


def new_id(wall: float) -> str:
    """The id of a deployment to which nobody gave one: UTC to the second."""
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(wall))


def secrets(options: Mapping[str, Any]) -> Iterator[str]:
    """Texts in what is asked for that nobody may be shown: values of environments and headers that are secret by their names."""
    for step in options.get("build") or ():
        environment = step.get("environment") or {}
        yield from (str(value) for name, value in environment.items() if secret_key(str(name)) and len(str(value)) >= SHORTEST_SECRET)
    definition = ((options.get("source") or {}).get("image") or {}).get("definition") or {}
    for name, mark, value in (str(each).partition("=") for each in definition.get("Env") or ()):
        if mark and secret_key(name) and len(value) >= SHORTEST_SECRET:
            yield value
    for probe in options.get("health") or ():
        headers = (probe.get("http") or {}).get("headers") if isinstance(probe.get("http"), dict) else None
        for name, value in (headers or {}).items() if isinstance(headers, dict) else ():
            if str(name).lower() not in HARMLESS and len(str(value)) >= SHORTEST_SECRET:
                yield str(value)


def refused(error: SelfhealError) -> Told:
    """What was not begun, as an ending: blocked where somebody else must let go first, failed otherwise."""
    if isinstance(error, LeaseHeld):
        return Told("blocked", Reason.LEASE_HELD.value, str(error))
    if isinstance(error, Forbidden):
        return Told("blocked", Reason.HOLD.value, str(error))
    reason = reason_of(error)
    blocked = reason in (Reason.OWNER_ALIVE, Reason.OWNER_UNKNOWN)
    return Told("blocked" if blocked else "failed", reason.value, str(error))


def result(name: str, action: str, told: Told) -> Dict[str, Any]:
    """One item in the shape that all modules share."""
    found: Dict[str, Any] = {"name": name, "action": action, "outcome": told.outcome, "reason": told.reason, "detail": told.detail}
    found.update(before=told.before or None, after=told.after or None)
    return found


def journal(told: Told) -> Optional[Dict[str, Any]]:
    """The deployment's journal without secrets; what is planned where none was begun."""
    if told.entry is not None:
        return shown(told.entry)
    return dict(told.planned) or None


def difference(items: Sequence[Mapping[str, Any]], endings: Sequence[Told]) -> Dict[str, str]:
    """Before and after as text: the link, and the phases that were or would be gone through."""
    before: List[str] = []
    after: List[str] = []
    for item, told in zip(items, endings):
        before.append("%s: current -> %s\n" % (item["name"], told.before or "(none)"))
        lines = ["%s: current -> %s\n" % (item["name"], told.after or told.before or "(none)")]
        if told.outcome in ("changed", "failed") and told.entry is not None:
            lines += ["  %s%s\n" % (done.phase, "" if done.ended else " (not ended)") for done in told.entry.phases]
            lines.append("  %s\n" % told.entry.phase)
        elif told.outcome == "planned":
            lines += ["  %s\n" % phase for phase in told.planned.get("phases", ())]
            lines += ["  route %s\n" % route["path"] for route in told.planned.get("routes", ()) if route["changed"]]
        after += lines
    return {"before": "".join(before), "after": "".join(after)}


def warnings_of(endings: Sequence[Told], site: DeploySite) -> List[str]:
    """What people should know although it changed no outcome."""
    found = list(dict.fromkeys([*site.warnings, *(warning for told in endings for warning in told.warnings)]))
    if site.recorder.problem:
        found.append("What was done could not be written to the timeline: %s" % site.recorder.problem)
    return found


__all__ = [
    "OPTIONS",
    "OUTCOMES",
    "attempted",
    "configuration",
    "difference",
    "ending",
    "journal",
    "new_id",
    "refused",
    "result",
    "secrets",
    "site_of",
    "warnings_of",
]
