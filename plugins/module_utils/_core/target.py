# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a probe asks and how often, as frozen data. Apart from the rest of the contract, so that a module that only probes loads only this.

All times are seconds. Targets are named tuples, as a data class takes six times as long to make and every task of a play makes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Optional, Tuple, Union


class HttpTarget(NamedTuple):
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

    @property
    def kind(self) -> str:
        return "http"


class TcpTarget(NamedTuple):
    host: str
    port: int

    @property
    def kind(self) -> str:
        return "tcp"


class ExecTarget(NamedTuple):
    argv: Tuple[str, ...]
    user: Optional[str] = None
    cwd: Optional[str] = None
    environment: Tuple[Tuple[str, str], ...] = ()

    @property
    def kind(self) -> str:
        return "exec"


class UnitTarget(NamedTuple):
    name: str

    @property
    def kind(self) -> str:
        return "unit"


class ProcessTarget(NamedTuple):
    """`pidfile` None: the process the service's own resource keeps."""

    pidfile: Optional[str] = None

    @property
    def kind(self) -> str:
        return "process"


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
