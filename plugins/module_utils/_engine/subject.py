# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What diagnostics are gathered of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Optional, Tuple

from .._actuators.base import Evidence
from .._core.model import Service


@dataclass(frozen=True)
class Subject:
    """Who failed. failure_time: wall seconds; alive: is its main process still there? ended: what was last seen of it, in words.

    dependency: which one is down, in words. probes: what each last answered.
    """

    service: Service
    incident: str
    failure_time: float
    alive: bool
    pid: int
    ended: str
    evidence: Evidence
    dependency: Optional[str] = None
    probes: Tuple[Mapping[str, Any], ...] = ()


__all__ = ["Subject"]
