# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a contract says, as frozen data. Only `contract.py` makes these from outside input.

All times are seconds. Every default is applied by the parser, so that the rest of the library never asks "was it given?".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Tuple, Union

from .target import ExecTarget, HttpTarget, Probe, ProcessTarget, Target, TcpTarget, UnitTarget


@dataclass(frozen=True)
class UnitResource:
    name: str
    kind: str = field(default="unit", init=False)


@dataclass(frozen=True)
class ContainerResource:
    name: str
    kind: str = field(default="container", init=False)


@dataclass(frozen=True)
class ProcessResource:
    argv: Tuple[str, ...]
    user: Optional[str] = None
    cwd: Optional[str] = None
    environment_file: Optional[str] = None
    pidfile: Optional[str] = None
    stop_signal: str = "TERM"
    stop_timeout: float = 10.0
    kind: str = field(default="process", init=False)


Resource = Union[UnitResource, ContainerResource, ProcessResource]


@dataclass(frozen=True)
class Command:
    argv: Tuple[str, ...]
    timeout: float = 60.0
    user: Optional[str] = None


@dataclass(frozen=True)
class HttpCall:
    """A call to a platform's API; `token_file` is sent as a bearer token and never recorded."""

    url: str
    method: str = "POST"
    headers: Tuple[Tuple[str, str], ...] = ()
    json: Any = None
    token_file: Optional[str] = None
    status: Tuple[Tuple[int, int], ...] = ((200, 299),)
    timeout: float = 30.0


@dataclass(frozen=True)
class Rung:
    """rung: restart, redeploy, rollback or page (attempts 1, timeout 0). `timeout` is an attempt's window."""

    rung: str
    attempts: int
    timeout: float
    command: Optional[Command] = None
    http: Optional[HttpCall] = None


@dataclass(frozen=True)
class Slow:
    after: float
    window: int = 100
    predict: bool = False


@dataclass(frozen=True)
class Fallback:
    """kind: haproxy (socket, backend, primary, backup), agent_check (port) or command (argv_open, argv_close)."""

    kind: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Release:
    root: str
    project: str
    suspect_for: float = 86400.0


@dataclass(frozen=True)
class Dependency:
    name: str
    probe: Probe
    failure_threshold: int = 5
    reset_timeout: float = 60.0
    success_threshold: int = 3
    half_open_limit: float = 60.0
    fallback: Optional[Fallback] = None


@dataclass(frozen=True)
class KeepWarm:
    http: HttpTarget
    period: float = 30.0


@dataclass(frozen=True)
class GuardLimits:
    """At most `actions` in any `per` seconds; `peers` are URLs of other instances' readiness."""

    actions: int = 10
    per: float = 3600.0
    cooldown: float = 0.0
    backoff_cap: float = 300.0
    min_available: int = 1
    peers: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Notify:
    """kind: webhook (url, token_file, hmac_file), alertmanager (url) or command (argv)."""

    kind: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Service:
    """One contract. `ladder` always ends with the page; `probes` has at least one entry; `notify` None means the host's."""

    name: str
    resource: Resource
    probes: Tuple[Probe, ...]
    mode: str = "auto"
    desired: str = "by_admin"
    confirm_period: float = 0.5
    failing_for: float = 5.0
    recovered_after: float = 10.0
    ladder_reset_after: float = 600.0
    retry_every: float = 300.0
    slow: Slow = Slow(after=3.0)
    ladder: Tuple[Rung, ...] = ()
    fallback: Optional[Fallback] = None
    release: Optional[Release] = None
    dependencies: Tuple[Dependency, ...] = ()
    keep_warm: Optional[KeepWarm] = None
    guard: GuardLimits = GuardLimits()
    notify: Optional[Tuple[Notify, ...]] = None

    def probe(self, name: str) -> Optional[Probe]:
        """The probe of that name, else the only one of that role, else None."""
        for probe in self.probes:
            if probe.name == name:
                return probe
        of_role = [probe for probe in self.probes if probe.role == name]
        return of_role[0] if len(of_role) == 1 else None


@dataclass(frozen=True)
class Storm:
    services: int = 5
    percent: float = 50.0
    window: float = 60.0


@dataclass(frozen=True)
class WatchdogConfig:
    """``/etc/selfheal/watchdog.json``. `listen`: host and port; `retention`: bytes of timeline; `mode_ceiling` caps every mode;
    `metrics_file`: where the metrics are written, too, for the node exporter."""

    host: str
    listen: Tuple[str, int] = ("127.0.0.1", 9877)
    token_file: Optional[str] = None
    state_dir: str = "/var/lib/selfheal"
    run_dir: str = "/run/selfheal"
    notify: Tuple[Notify, ...] = ()
    storm: Storm = Storm()
    network_reference: Optional[Probe] = None
    retention: int = 268435456
    mode_ceiling: str = "auto"
    metrics_file: Optional[str] = None


__all__ = [
    "Command",
    "ContainerResource",
    "Dependency",
    "ExecTarget",
    "Fallback",
    "GuardLimits",
    "HttpCall",
    "HttpTarget",
    "KeepWarm",
    "Notify",
    "Probe",
    "ProcessResource",
    "ProcessTarget",
    "Release",
    "Resource",
    "Rung",
    "Service",
    "Slow",
    "Storm",
    "Target",
    "TcpTarget",
    "UnitResource",
    "UnitTarget",
    "WatchdogConfig",
]
