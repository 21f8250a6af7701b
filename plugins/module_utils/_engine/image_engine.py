# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deployment of an image asks of the container engine: every request is waited for, and what is refused is raised with its words.

Nothing here repeats a request by itself. `patiently` does a whole step again when the engine was away meanwhile; each step looks first at
what stands there, so that what was done already is not done twice.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Optional, Tuple, TypeVar

from .._actuators import container_state as states
from .._actuators.base import Timed, Work
from .._actuators.container_make import conflict
from .._actuators.container_past import being_stopped
from .._actuators.container_state import Told, of
from .._core.containers import OWNER
from .._core.reasons import Reason
from .._host import Host, Outcome
from .._proc import Pause
from .deploy_run import PhaseFailed, drive
from .resources import container_engine

T = TypeVar("T")
WITHIN = 30.0
DONE_WITHIN = 90.0
"""A busy host takes long to make, start or stop a container, and an engine that is at work on it is not away."""
BACK_WITHIN = 60.0
"""An engine that is restarted is back within so many seconds, or the step has failed."""
ASK_AGAIN = 0.5


class Containers:
    """The containers of this host's engine, for one deployment. Everything raises PhaseFailed."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.engine = container_engine()
        self.podman = ""
        """Its version, once it has answered, if it is Podman."""

    # -- looking

    def find(self, name: str) -> Optional[Told]:
        """What bears exactly this name (or id), None if nothing does."""
        outcome = self._ask("GET", "/containers/%s/json" % name)
        if outcome.reason is Reason.NO_SUCH_CONTAINER:
            return None
        told: Told = must(outcome).data["body"]
        return told if name in (states.name_of(told), told.get("Id")) else None

    def ours(self, name: str, owner: str) -> Optional[Told]:
        """As `find`; somebody else's container of that name is `name_conflict`, and is described."""
        told = self.find(name)
        if told is not None and label(told, OWNER) != owner:
            raise PhaseFailed(Reason.NAME_CONFLICT, "%s. Nothing was touched." % conflict(told))
        return told

    def image(self, reference: str) -> Optional[Mapping[str, Any]]:
        """What the engine says of an image, None where it has none of that name."""
        outcome = self._ask("GET", "/images/%s/json" % reference)
        if outcome.reason is Reason.NO_SUCH_CONTAINER:
            return None
        found: Mapping[str, Any] = must(outcome).data["body"]
        return found

    def stays(self, told: Told) -> bool:
        """Does it live, and has nobody asked for its end? A stop goes on when whoever asked for it is dead."""
        return of(told, "State", "Status") in states.LIVES and not self._being_stopped(told)

    # -- acting

    def create(self, name: str, body: Mapping[str, Any]) -> Told:
        made = must(self._ask("POST", "/containers/create", (("name", name),), body))
        told = self.find(str(of(made.data["body"], "Id")))
        if told is None:
            raise PhaseFailed(Reason.ACTION_FAILED, "container %s was made and is gone" % name)
        return told

    def start(self, told: Told) -> Outcome:
        """Not raised: whoever starts it may know what to do about a port that is taken. What is being stopped ends first."""
        if self._being_stopped(told):
            self.stop(told)
        return self._ask("POST", "/containers/%s/start" % told["Id"])

    def stop(self, told: Told) -> None:
        """By its own stop signal, within its own stop timeout; then the engine kills it. What does not run stays so."""
        if of(told, "State", "Status") == "paused":
            must(self._ask("POST", "/containers/%s/unpause" % told["Id"]))
        must(self._ask("POST", "/containers/%s/stop" % told["Id"], within=states.stop_timeout(told) + DONE_WITHIN))

    def rename(self, told: Told, name: str) -> None:
        if states.name_of(told) != name:
            must(self._ask("POST", "/containers/%s/rename" % told["Id"], (("name", name),)))

    def policy(self, told: Told, wanted: Mapping[str, Any]) -> None:
        """What the engine does when it ends, or when the engine itself starts."""
        name, retries = str(wanted.get("Name") or "no"), int(wanted.get("MaximumRetryCount") or 0)
        if states.policy(told) != name or int(of(told, "HostConfig", "RestartPolicy", "MaximumRetryCount") or 0) != retries:
            body = {"RestartPolicy": {"Name": name, "MaximumRetryCount": retries}}
            must(self._ask("POST", "/containers/%s/update" % told["Id"], (), body))

    def remove(self, told: Told, volumes: bool = False) -> None:
        """volumes: with those that only this container has had and nobody has named."""
        outcome = self._ask("DELETE", "/containers/%s" % told["Id"], (("force", "1"), ("v", "1" if volumes else "0")))
        if outcome.reason is not Reason.NO_SUCH_CONTAINER:
            must(outcome)

    def connect(self, told: Told, network: str, endpoint: Mapping[str, Any]) -> None:
        body = {"Container": told["Id"], "EndpointConfig": dict(endpoint)}
        must(self._ask("POST", "/networks/%s/connect" % network, (), body))

    def disconnect(self, told: Told, network: str) -> None:
        must(self._ask("POST", "/networks/%s/disconnect" % network, (), {"Container": told["Id"], "Force": False}))

    def _being_stopped(self, told: Told) -> bool:
        return drive(self.host, being_stopped(self.engine, told))

    def _ask(
        self,
        method: str,
        path: str,
        query: Tuple[Tuple[str, str], ...] = (),
        body: Optional[Mapping[str, Any]] = None,
        within: Optional[float] = None,
    ) -> Outcome:
        limit = within or (WITHIN if method == "GET" else DONE_WITHIN)

        def work() -> Work[Outcome]:
            outcome = yield Timed(self.engine.call(method, path, query, body), limit)
            return outcome

        outcome = drive(self.host, work())
        self.podman = str(outcome.data.get("podman") or self.podman)
        return outcome


def must(outcome: Outcome) -> Outcome:
    """Raises PhaseFailed with the engine's own words unless it was done."""
    if outcome.status != "ok":
        raise PhaseFailed(outcome.reason or Reason.ACTION_FAILED, outcome.detail)
    return outcome


def label(told: Optional[Told], name: str) -> str:
    """The value of a label; empty where there is none."""
    labels: Dict[str, str] = (of(told, "Config", "Labels") if told is not None else None) or {}
    return str(labels.get(name) or "")


def pause(host: Host, seconds: float) -> None:
    def work() -> Work[None]:
        yield Timed(Pause(), seconds)

    drive(host, work())


def patiently(host: Host, act: Callable[[], T]) -> T:
    """Do it, and again from its beginning when the engine was away, for at most `BACK_WITHIN` seconds since it was missed first."""
    end: Optional[float] = None
    while True:
        try:
            return act()
        except PhaseFailed as error:
            now = host.monotonic()
            end = now + BACK_WITHIN if end is None else end
            if error.reason is not Reason.ENGINE_DOWN or now >= end:
                raise
        pause(host, ASK_AGAIN)


__all__ = ["BACK_WITHIN", "Containers", "label", "must", "patiently", "pause"]
