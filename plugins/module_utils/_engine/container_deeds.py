# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``container_heal`` can do to a container, by the words of its decisions. Requests go to the id that was looked at."""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from .._actuators import container_state as states
from .._actuators.base import Timed, Work
from .._actuators.container_engine import ContainerEngine
from .._actuators.container_make import Maker
from .._actuators.container_state import Told, of
from .._core.containers import Want
from .._core.reasons import Reason
from .._host import Outcome
from .._proc import Pause

MARGIN = 30.0
GONE_POLL = 0.5
NO_UPDATE = (
    "this engine (Podman before 5) cannot change the restart policy of a container that stands; with another label, image or variable "
    "container %s is made anew, with that policy"
)


class Deeds:
    """The actions on one container. `made_anew`: a new one stands in its place, and is to be kept or taken back."""

    def __init__(self, engine: ContainerEngine, want: Want) -> None:
        self.engine = engine
        self.want = want
        self.maker: Optional[Maker] = None

    @property
    def made_anew(self) -> bool:
        return self.maker is not None

    def simple(
        self, verb: str, told: Told, query: Tuple[Tuple[str, str], ...] = (), body: Optional[Mapping[str, Any]] = None
    ) -> Work[Outcome]:
        """One POST, within the container's own stop timeout and a margin."""
        step = self.engine.call("POST", "/containers/%s/%s" % (told["Id"], verb), query, body)
        outcome = yield Timed(step, states.stop_timeout(told) + MARGIN)
        return outcome

    def start(self, told: Told) -> Work[Outcome]:
        return self.simple("start", told)

    def unpause(self, told: Told) -> Work[Outcome]:
        return self.simple("unpause", told)

    def restart(self, told: Told) -> Work[Outcome]:
        # In the pauses of its policy nothing lives that could be stopped gently.
        return self.simple("restart", told, (("t", "1"),) if of(told, "State", "Status") == "restarting" else ())

    def stop(self, told: Told) -> Work[Outcome]:
        if of(told, "State", "Status") == "paused":
            outcome = yield from self.simple("unpause", told)
            if outcome.status != "ok":
                return outcome
        return (yield from self.simple("stop", told))

    def remove(self, told: Told) -> Work[Outcome]:
        """Stop it in its own time, then remove it; never a volume."""
        stopped = yield from self.stop(told)
        if stopped.status != "ok" and stopped.reason is not Reason.NO_SUCH_CONTAINER:
            return stopped
        step = self.engine.call("DELETE", "/containers/%s" % told["Id"], (("v", "0"),))
        outcome = yield Timed(step, MARGIN)
        if outcome.status == "bad" and of(told, "HostConfig", "AutoRemove"):
            outcome = yield from self._gone(told, outcome)
        return Outcome("ok", None, "it was gone already") if outcome.reason is Reason.NO_SUCH_CONTAINER else outcome

    def _gone(self, told: Told, refused: Outcome) -> Work[Outcome]:
        """With --rm the engine removes it by itself once it has stopped, and refuses to do it twice: what it says when that is over."""
        for _look in range(int(MARGIN / GONE_POLL)):
            looked = yield Timed(self.engine.call("GET", "/containers/%s/json" % told["Id"]), MARGIN)
            if looked.status != "ok":
                return looked
            yield Timed(Pause(), GONE_POLL)
        return refused

    def update(self, told: Told) -> Work[Outcome]:
        policy = {"Name": self.want.restart_policy, "MaximumRetryCount": self.want.retries}
        outcome = yield from self.simple("update", told, (), {"RestartPolicy": policy})
        if outcome.reason is not Reason.NO_SUCH_CONTAINER:
            return outcome
        there = yield Timed(self.engine.call("GET", "/containers/%s/json" % told["Id"]), MARGIN)
        return Outcome("bad", Reason.UNSUPPORTED, NO_UPDATE % self.want.name) if there.status == "ok" else outcome

    def recreate(self, told: Told) -> Work[Outcome]:
        want = self.want
        policy = None if want.restart_policy is None else (want.restart_policy, want.retries)
        maker = Maker(self.engine, want.name, want.image, want.labels, policy, env=want.env)
        outcome = yield from maker.make(told)
        if outcome.status == "ok":
            self.maker = maker
        return outcome

    def keep(self) -> Work[Outcome]:
        """What was made anew has proven itself."""
        maker, self.maker = self.maker, None
        return (yield from maker.keep()) if maker is not None else Outcome("ok")

    def undo(self) -> Work[Outcome]:
        """It has not: the old one comes back."""
        maker, self.maker = self.maker, None
        return (yield from maker.undo()) if maker is not None else Outcome("ok")


DEEDS: Dict[str, Callable[[Deeds, Told], Work[Outcome]]] = {
    "start": Deeds.start,
    "unpause": Deeds.unpause,
    "restart": Deeds.restart,
    "stop": Deeds.stop,
    "keep": Deeds.stop,
    "remove": Deeds.remove,
    "update": Deeds.update,
    "recreate": Deeds.recreate,
}

__all__ = ["DEEDS", "Deeds"]
