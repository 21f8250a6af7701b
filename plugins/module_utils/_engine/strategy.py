# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kind of source has to bring so that it can be deployed."""

from __future__ import annotations

import abc
from typing import Any, Dict, List, Sequence

from .._core.deployment_request import Route
from .._core.targets import NamedTarget
from .deploy_run import Run

Proof = Dict[str, Any]
"""What proves the result of a phase, for the journal."""


class Strategy(abc.ABC):
    """How one kind of source becomes what serves."""

    @abc.abstractmethod
    def pull(self, run: Run) -> Proof:
        """Pin the source: what is pulled is known by commit or checksum from here on, and journalled as `source`."""

    @abc.abstractmethod
    def build(self, run: Run) -> Proof:
        """Make it anew, beside everything that serves."""

    @abc.abstractmethod
    def copy(self, run: Run) -> Proof:
        """Let the release stand, complete."""

    @abc.abstractmethod
    def switch(self, run: Run) -> Proof:
        """Make it current, and restart what runs it."""

    @abc.abstractmethod
    def verify(self, run: Run) -> None:
        """Is what stands what was deployed? Raises PhaseFailed."""

    @abc.abstractmethod
    def switch_back(self, run: Run) -> List[str]:
        """Let serve what served before. Returns what failed beside that, in words. Raises SelfhealError, OSError when it does not yet."""

    @abc.abstractmethod
    def clear(self, run: Run) -> List[str]:
        """Nothing of a failed one stays but its journal and quarantine. Returns what does, in words. Raises SelfhealError, OSError."""

    def routes(self, run: Run) -> Sequence[Route]:
        """What is written outside of the project. Raises SelfhealError."""
        return run.request.routes

    def targets(self, run: Run) -> Sequence[NamedTarget]:
        """What is asked whether the release is good. Raises SelfhealError."""
        return run.request.health

    def settle(self, run: Run) -> Proof:
        """The new one is proven, and has the traffic: what served before may end. Raises SelfhealError."""
        return {}

    def before_back(self, run: Run) -> List[str]:
        """It has failed: what served before can take traffic again, before any route leads there. As `switch_back`."""
        return []


__all__ = ["Proof", "Strategy"]
