# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deployment of an image that failed: the container before serves again, and the new one is kept, stopped, for inspection.

First what was there before runs again, then routes go back to it (`reverting`), and only then the new one loses its name and is stopped.
Each step can be done again after a death anywhere.
"""

from __future__ import annotations

from typing import List, Optional, Tuple

from .._actuators import container_state as states
from .._actuators.container_state import Told, of
from .._core.containers import DEPLOYMENT, FAILED, NEW, OLD, RAN, RELEASE, REPLACES, TRY
from .._core.image_request import Switch
from .._core.reasons import Reason
from .deploy_run import PhaseFailed
from .image_drain import drain
from .image_engine import label, must
from .image_gate import gate
from .image_stand import NO_POLICY, Recorded, Stand


class Back:
    """`before`: what the release says that the container before is of; None where there was none, or nobody can tell."""

    def __init__(self, stand: Stand, before: Optional[Recorded]) -> None:
        self.stand = stand
        self.before = before
        self.containers = stand.containers

    def first(self) -> List[str]:
        """Where both can run, the container before does, before anything leads there again. Returns problems, in words."""
        mine, displaced = self._found()
        if mine is None or displaced is None or self.stand.switch is Switch.SWAP:
            return []
        return self._serve(mine, displaced)

    def then(self) -> List[str]:
        """The container before has its name and runs; the new one is set aside. Returns problems, in words."""
        stand, containers, problems = self.stand, self.containers, []
        rehearsal = stand.named(TRY)
        if rehearsal is not None:
            containers.remove(rehearsal, volumes=True)
        mine, displaced = self._found()
        if mine is None:
            return []
        swap, served = stand.switch is Switch.SWAP, states.name_of(mine) == stand.name
        if swap and of(mine, "State", "Status") in states.LIVES:
            containers.policy(mine, NO_POLICY)
            containers.stop(mine)
        if displaced is None and label(mine, REPLACES):
            problems.append("the container before, %s, is gone; nothing serves as %s" % (label(mine, REPLACES)[:12], stand.name))
        if displaced is not None and states.name_of(displaced) != stand.name:
            if served:
                containers.rename(mine, stand.name + NEW)
            containers.rename(displaced, stand.name)
        if displaced is not None and swap:
            problems += self._serve(mine, displaced)
        self._set_aside(str(mine["Id"]), served and not swap)
        return problems

    def _found(self) -> Tuple[Optional[Told], Optional[Told]]:
        """The container that this deployment made, and the one that it replaces."""
        stand = self.stand
        here, new, old = stand.named(), stand.named(NEW), stand.named(OLD)
        mine = next((each for each in (here, new) if each is not None and label(each, DEPLOYMENT) == stand.run.entry.id), None)
        if mine is None:
            return None, None
        replaces = label(mine, REPLACES)
        return mine, next((each for each in (old, here) if each is not None and each["Id"] == replaces), None)

    def _serve(self, mine: Told, displaced: Told) -> List[str]:
        """It is as it was before it was touched. What the engine refuses is told; that it is away is raised."""
        stand = self.stand
        known = self.before if self.before is not None and self.before.release == label(displaced, RELEASE) else None
        try:
            if known is not None:
                if stand.switch is Switch.ALIAS:
                    stand.attach(displaced, known.wanted)
                self.containers.policy(displaced, known.wanted.host_config.get("RestartPolicy") or NO_POLICY)
            if label(mine, RAN) != "1" or self.containers.stays(displaced):
                return []
            must(self.containers.start(displaced))
            gate(self.containers, str(displaced["Id"]), (), stand.run.request.health_within, fresh=False)
        except PhaseFailed as error:
            if error.reason is Reason.ENGINE_DOWN:
                raise
            return ["letting the container before serve again: %s" % error]
        return []

    def _set_aside(self, identity: str, served: bool) -> None:
        """Stopped, under a name that says so: whoever wants to know what was wrong finds its files and its log."""
        containers = self.containers
        mine = containers.find(identity)
        if mine is None:
            return
        if of(mine, "State", "Status") == "created":
            containers.remove(mine)  # it never ran
            return
        if of(mine, "State", "Status") in states.LIVES:
            if served:
                drain(self.stand.run.host, mine, self.stand.wanted.drain)
            containers.policy(mine, NO_POLICY)
            containers.stop(mine)
        failed = self.stand.named(FAILED)
        if failed is not None and failed["Id"] != identity:
            containers.remove(failed)
        containers.rename(mine, self.stand.name + FAILED)


__all__ = ["Back"]
