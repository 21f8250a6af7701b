# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a probe asks and how often, as frozen data. Apart from the rest of the contract, so that a module that only probes loads only this.

All times are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional, Tuple, Union


@dataclass(frozen=True)
class HttpTarget:
    """`status` holds inclusive ranges; `json` pairs of dotted path and expected value; `secret_headers` names headers never shown."""

    url: str
    method: str = "GET"
    headers: Tuple[Tuple[str, str], ...] = ()
    status: Tuple[Tuple[int, int], ...] = ((200, 299),)
    body: Optional[str] = None
    body_text: Optional[str] = None
    body_regex: Optional[str] = None
    json: Tuple[Tuple[str, Any], ...] = ()
    body_limit: int = 10240
    redirects: int = 10
    tls_verify: bool = True
    tls_ca: Optional[str] = None
    tls_server_name: Optional[str] = None
    kind: str = field(default="http", init=False)


@dataclass(frozen=True)
class TcpTarget:
    host: str
    port: int
    kind: str = field(default="tcp", init=False)


@dataclass(frozen=True)
class ExecTarget:
    argv: Tuple[str, ...]
    user: Optional[str] = None
    cwd: Optional[str] = None
    environment: Tuple[Tuple[str, str], ...] = ()
    kind: str = field(default="exec", init=False)


@dataclass(frozen=True)
class UnitTarget:
    name: str
    kind: str = field(default="unit", init=False)


@dataclass(frozen=True)
class ProcessTarget:
    """`pidfile` None: the process the service's own resource keeps."""

    pidfile: Optional[str] = None
    kind: str = field(default="process", init=False)


Target = Union[HttpTarget, TcpTarget, ExecTarget, UnitTarget, ProcessTarget]


@dataclass(frozen=True)
class Probe:
    """role: liveness, readiness or startup; a dependency's is ``dependency``, the network reference's ``reference``."""

    name: str
    role: str
    target: Target
    period: float = 10.0
    timeout: float = 4.0
    failure_threshold: int = 2
    success_threshold: int = 1
    initial_delay: float = 0.0

    @property
    def kind(self) -> str:
        return self.target.kind


__all__ = ["ExecTarget", "HttpTarget", "Probe", "ProcessTarget", "Target", "TcpTarget", "UnitTarget"]
