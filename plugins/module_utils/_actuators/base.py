# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine asks of a kind of resource.

Whatever takes time is a generator: it yields one timed step after another, is sent each step's outcome, and returns its
result. It can be abandoned after any step (the daemon died there) and is then started again from `look`.
"""

from __future__ import annotations

import abc
import enum
from dataclasses import dataclass
from typing import Any, Generator, Mapping, NamedTuple, Optional, Tuple, TypeVar

from .._core.reasons import Reason
from .._host import Outcome, Step

T = TypeVar("T")


class Timed(NamedTuple):
    """A step and the seconds it may take."""

    step: Step
    within: float


# Yields timed steps, is sent their outcomes, returns T.
Work = Generator[Timed, Outcome, T]


@dataclass(frozen=True)
class Instance:
    """One life of a service. `id` never repeats (boot, pid and start time); `since` is its real start in monotonic seconds."""

    id: str
    pid: int
    since: float


class State(str, enum.Enum):
    """starting, stopping: a job is pending. gone: nobody starts it. stopped: a person did it. never: not yet started on this boot."""

    RUNNING = "running"
    STARTING = "starting"
    STOPPING = "stopping"
    GONE = "gone"
    STOPPED = "stopped"
    NEVER = "never"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Presence:
    """What stands there now. `instance` is given while running or stopping. `detail` is one line for people (exit status, signal).

    `again`: seconds after which to look again unasked; None: as is usual in that state. `revived`: the instance before died of itself, and
    its own supervisor (systemd's Restart=, Docker's restart policy) starts it again or just has. `pending`: it runs, but its own start
    is not over yet (a container's health check has not passed): an attempt's window waits for that.
    """

    state: State
    instance: Optional[Instance] = None
    detail: str = ""
    again: Optional[float] = None
    revived: bool = False
    pending: bool = False


class Evidence(NamedTuple):
    """What tells why a resource failed. told: what it last said of itself, before anything was started again, as plain data.

    unit: the systemd unit whose journal is its log; log: the file it writes. commands: further ones worth asking, by a name for what they
    print; each is run as it is, without a shell.
    """

    told: Mapping[str, Any] = {}
    unit: Optional[str] = None
    log: Optional[str] = None
    commands: Tuple[Tuple[str, Tuple[str, ...]], ...] = ()


class Actuator(abc.ABC):
    """One resource. Its outcomes: ok (done and proven), bad (tried and failed), unknown (could not be tried)."""

    key: str
    """What a lease on it is called: ``process:web``, ``unit:web.service``."""

    @abc.abstractmethod
    def look(self) -> Work[Presence]:
        """Find out what stands there."""

    @abc.abstractmethod
    def watch(self, instance: Instance) -> Optional[Step]:
        """A step that ends as soon as that instance is gone; None where only probes can tell."""

    @abc.abstractmethod
    def start(self) -> Work[Outcome]:
        """Start what is gone."""

    @abc.abstractmethod
    def restart(self) -> Work[Outcome]:
        """Stop what stands there, within its own stop timeout and proven gone, then start."""

    def probe(self, instance: Optional[Instance]) -> Optional[Step]:
        """How a probe of kind ``process`` without a pidfile asks after it; None where that is a process of this host."""
        return None

    def away(self) -> Optional[str]:
        """Why nothing can be told of it or done about it at present, as what keeps it does not answer; None while it does."""
        return None

    def interrupted(self, at: float) -> None:
        """An action on it was under way, begun at that wall time, when whoever did it died: what it had asked for may have been done."""
        del at

    def cannot(self, rung: str) -> Optional[Reason]:
        """Why this rung (restart, redeploy, rollback) cannot help here; None when it can be tried."""
        return None if rung == "restart" else Reason.UNSUPPORTED

    def evidence(self) -> Evidence:
        """What is known of its last end, and where its log is. Answers at once, from memory."""
        return Evidence()

    def redeploy(self) -> Work[Outcome]:
        """Build the current release again."""
        return _unsupported(self.key, "redeploy")

    def rollback(self) -> Work[Outcome]:
        """Go back to the newest good release."""
        return _unsupported(self.key, "rollback")

    def window(self, rung: str) -> float:
        """Seconds that an attempt on this rung needs at least, whatever the contract says."""
        return 0.0

    def proven(self, rung: str) -> Optional[Work[Outcome]]:
        """What is to be put on record when an attempt on this rung is proven to have healed; None: nothing."""
        return None


class Around(Actuator):
    """Another actuator with something changed about it: whatever is not changed is `inner`'s."""

    def __init__(self, inner: Actuator) -> None:
        self.key = inner.key
        self._inner = inner

    def look(self) -> Work[Presence]:
        return self._inner.look()

    def watch(self, instance: Instance) -> Optional[Step]:
        return self._inner.watch(instance)

    def start(self) -> Work[Outcome]:
        return self._inner.start()

    def restart(self) -> Work[Outcome]:
        return self._inner.restart()

    def probe(self, instance: Optional[Instance]) -> Optional[Step]:
        return self._inner.probe(instance)

    def away(self) -> Optional[str]:
        return self._inner.away()

    def interrupted(self, at: float) -> None:
        self._inner.interrupted(at)

    def cannot(self, rung: str) -> Optional[Reason]:
        return self._inner.cannot(rung)

    def evidence(self) -> Evidence:
        return self._inner.evidence()

    def redeploy(self) -> Work[Outcome]:
        return self._inner.redeploy()

    def rollback(self) -> Work[Outcome]:
        return self._inner.rollback()

    def window(self, rung: str) -> float:
        return self._inner.window(rung)

    def proven(self, rung: str) -> Optional[Work[Outcome]]:
        return self._inner.proven(rung)


def _unsupported(key: str, rung: str) -> Work[Outcome]:
    yield from ()
    return Outcome("unknown", Reason.UNSUPPORTED, "%s cannot %s" % (key, rung))


__all__ = ["Actuator", "Around", "Evidence", "Instance", "Presence", "State", "Timed", "Work"]
