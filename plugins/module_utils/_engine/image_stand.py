# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets the container of a release take the place of the one before.

Theory of operation. The next container stands as ``NAME.selfheal-new`` until it has passed its gate. Then two renames let it have the name,
while both run, and the one before is ``NAME.selfheal-old``. It is drained and stopped only when the new one is proven, and stays, without
a restart policy, until the next deployment. Where two of them cannot run (`Switch.SWAP`) the image is rehearsed as ``NAME.selfheal-try``
first, and the old one stops just before the new one starts.

Every step looks first at what stands there, and labels say whose it is: of which deployment, and what it replaces. So each of them can be
done again after a death anywhere, of this process or of the engine.
"""

from __future__ import annotations

import os
import socket
import zlib
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Set, Tuple

from .._actuators import container_state as states
from .._actuators.container_make import anonymous_volumes
from .._actuators.container_state import Told, of
from .._core.containers import DEPLOYMENT, FAILED, NEW, OLD, RELEASE, REPLACES, TRY
from .._core.image_request import Switch, Wanted, named_ports, rehearsed, switch_of, wanted_port
from .._core.reasons import Reason
from .deploy_run import PhaseFailed, Run
from .deploy_traffic import away
from .image_bodies import attached, body_of, endpoint, labels_of, published, rehearsal_of
from .image_drain import LOOK_EVERY, drain, idle
from .image_engine import Containers, label, must, pause
from .image_gate import gate, unproven

PORTS = (20000, 29999)
"""From here a container gets a port of its own when a route is to lead to it: below those that the kernel gives to connections."""
TRIES = 5
_TAKEN = ("port is already allocated", "address already in use")
NO_POLICY = {"Name": "no"}


class Recorded(NamedTuple):
    """What a release says: the image by its id, and what the container is made of."""

    release: str
    image: str
    wanted: Wanted


class Stand:
    """The containers of one name, for one deployment."""

    def __init__(self, run: Run, recorded: Recorded) -> None:
        self.run = run
        self.recorded = recorded
        self.wanted = recorded.wanted
        self.name = recorded.wanted.container
        self.containers = Containers(run.host)
        self._texts = [route.content for route in run.request.routes]
        self.switch = switch_of(self.wanted, self._texts)
        self._gated = ""

    def named(self, suffix: str = "") -> Optional[Told]:
        return self.containers.ours(self.name + suffix, self.name)

    def is_it(self, told: Optional[Told]) -> bool:
        """Is that the container of this release?"""
        made_of = (told.get("Image"), of(told, "Config", "Image")) if told is not None else ()
        return label(told, RELEASE) == self.recorded.release and self.recorded.image in made_of

    # -- beside the old one

    def ready(self) -> None:
        """A container of the release is proven beside the one that serves; for a swap its image is. Raises PhaseFailed."""
        self._tidy()
        here = self.named()
        if self.is_it(here):
            return
        old = self._before(here)
        if self.switch is not Switch.SWAP:
            self._proven(self._candidate(old))
        elif old is not None and self._serves(old) and rehearsed(self.wanted, bool(self._anonymous(old))):
            self._rehearse()

    def take(self) -> str:
        """It bears the name, and runs. Returns a line for people. Raises PhaseFailed."""
        here = self.named()
        if not self.is_it(here):
            old = self._before(here)
            new = self._candidate(old)
            if self.switch is Switch.SWAP:
                self._make_room(old)
            if here is not None:
                self._displace(here)
            self.containers.rename(new, self.name)
            here = self.named()
        if here is None:
            raise PhaseFailed(Reason.ACTION_FAILED, "container %s was there a moment ago and is gone; deploy again" % self.name)
        if of(here, "State", "Status") != "running" or here["Id"] != self._gated:
            must(self.containers.start(here))
            gate(self.containers, str(here["Id"]), self.run.request.health, self.run.request.health_within, fresh=False)
        return "container %s runs image %s" % (self.name, self.recorded.image[7:19])

    def retire(self) -> Dict[str, Any]:
        """The one before has finished what it had, and is kept, stopped. Returns what proves it. Raises PhaseFailed."""
        here, old = self.named(), self.named(OLD)
        if here is None or old is None or label(here, REPLACES) != old["Id"]:
            return {}
        proof: Dict[str, Any] = {"kept": self.name + OLD}
        if of(old, "State", "Status") in states.LIVES:
            if self.switch is Switch.ALIAS:
                self._detach(old)
            left = drain(self.run.host, old, self.wanted.drain)
            proof.update(drained_s=left.seconds, connections_left=left.left)
            if left.left:
                self.run.note("%d connections to the container before were cut after %g s" % (left.left, self.wanted.drain))
            # Before it stops: an engine that is restarted must not start it again beside the new one.
            self.containers.policy(old, NO_POLICY)
            self.containers.stop(old)
        else:
            self.containers.policy(old, NO_POLICY)  # one that had ended before may be started by its policy as well
        return proof

    # -- steps

    def _before(self, here: Optional[Told]) -> Optional[Told]:
        """What is to be replaced, also between the two renames."""
        new, old = self.named(NEW), self.named(OLD)
        if here is None and old is not None and new is not None and label(new, REPLACES) == old["Id"]:
            return old
        return here

    def _candidate(self, old: Optional[Told]) -> Told:
        """The next container, made if it is not there. One that was left by another deployment, or that has ended, is made anew."""
        new = self.named(NEW)
        if new is not None:
            mine = label(new, DEPLOYMENT) == self.run.entry.id and label(new, REPLACES) == (str(old["Id"]) if old is not None else "")
            if mine and self.is_it(new) and of(new, "State", "Status") in ("created", "running"):
                return new
            self.containers.remove(new)
        failed = self.named(FAILED)
        if failed is not None:
            self.containers.remove(failed)
        return self._made(old)

    def _made(self, old: Optional[Told], ports: Optional[Mapping[int, Tuple[str, int]]] = None) -> Told:
        if ports is None:
            ports = self._ports(set())
        labels = labels_of(self.wanted, self.recorded.release, self.run.entry.id, old)
        made = self.containers.create(self.name + NEW, body_of(self.wanted, self.recorded.image, self.switch, labels, old, ports))
        for network in list(self.wanted.endpoints)[1:]:
            self.containers.connect(made, network, endpoint(self.wanted, network, self.switch is Switch.ALIAS))
        return made

    def _proven(self, new: Told) -> None:
        """It runs beside the old one and has passed its gate; only then others can find it by its alias."""
        new = self._started(new)
        new = gate(self.containers, str(new["Id"]), self.run.request.health, self.run.request.health_within)
        said = unproven(new, self.run.request.health)
        if said is not None:
            self.run.note(said)
        if self.switch is Switch.ALIAS and self.attach(new, self.wanted):
            gate(self.containers, str(new["Id"]), self.run.request.health, self.run.request.health_within)
        self._gated = str(new["Id"])

    def _started(self, new: Told) -> Told:
        """With another port where somebody else was quicker."""
        tried: Set[int] = set()
        for left in range(TRIES - 1, -1, -1):
            if of(new, "State", "Status") == "running":
                return new
            outcome = self.containers.start(new)
            if outcome.status == "ok":
                return new
            taken = self.switch is Switch.ROUTE and any(words in outcome.detail for words in _TAKEN)
            if not taken or not left:
                must(outcome)
            tried |= set(published(new))
            old = self._before(self.named())
            self.containers.remove(new)
            new = self._made(old, self._ports(tried))
        return new

    def _tidy(self) -> None:
        """A rehearsal that was cut off has proven nothing, and nobody may come to another one."""
        left = self.named(TRY)
        if left is not None:
            self.containers.remove(left, volumes=True)

    def _serves(self, old: Told) -> bool:
        return of(old, "State", "Status") == "running" and self.containers.stays(old)

    def _rehearse(self) -> None:
        """A first try of the image on ports of its own; nothing of it stays. Raises PhaseFailed."""
        body = rehearsal_of(self.wanted, self.recorded.image, self.recorded.release)
        made = self.containers.create(self.name + TRY, body)
        try:
            for network in list(self.wanted.endpoints)[1:]:
                self.containers.connect(made, network, {})
            must(self.containers.start(made))
            gate(self.containers, str(made["Id"]), self.run.request.health, self.run.request.health_within)
        finally:
            self.containers.remove(made, volumes=True)

    def _make_room(self, old: Optional[Told]) -> None:
        """Two cannot serve at the same time: traffic goes, then the old one. From here until the new one is up nobody serves."""
        if old is None or of(old, "State", "Status") not in states.LIVES:
            return
        if self.run.entry.traffic != "away":
            away(self.run)
        if self.run.entry.traffic == "away":
            drain(self.run.host, old, self.wanted.drain)
        self.containers.policy(old, NO_POLICY)
        self.containers.stop(old)

    def _displace(self, here: Told) -> None:
        """Only one container before is kept."""
        older = self.named(OLD)
        if older is not None and older["Id"] != here["Id"]:
            self.containers.remove(older)
        self.containers.rename(here, self.name + OLD)

    # -- networks

    def attach(self, told: Told, wanted: Wanted) -> bool:
        """It may be found: it is in its networks with its aliases. An engine gives an alias only with the network itself, and with it
        another address. Was anything to be done?"""
        missing = [network for network in wanted.endpoints if not attached(told, wanted, network)]
        for network in missing:
            if network in (of(told, "NetworkSettings", "Networks") or {}):
                self.containers.disconnect(told, network)
            self.containers.connect(told, network, endpoint(wanted, network, False))
        return bool(missing)

    def _detach(self, old: Told) -> None:
        """Nobody finds it any more. What it has is cut by that, so a moment without any is waited for."""
        networks = [each for each in of(old, "NetworkSettings", "Networks") or {} if each in self.wanted.endpoints]
        if networks:
            self._moment(old)
        for network in networks:
            self.containers.disconnect(old, network)

    def _moment(self, old: Told) -> None:
        end = self.run.host.monotonic() + self.wanted.drain
        while idle(old) is False and self.run.host.monotonic() < end:
            pause(self.run.host, LOOK_EVERY)

    # -- ports and volumes

    def _anonymous(self, old: Optional[Told]) -> List[str]:
        return anonymous_volumes(old, self.wanted.host_config) if old is not None else []

    def _ports(self, tried: Set[int]) -> Dict[int, Tuple[str, int]]:
        """A free port of this host for each that a route names. It stays the container's own, so that routes hold when it is restarted."""
        if self.switch is not Switch.ROUTE:
            return {}
        used = set(tried)
        for suffix in ("", OLD, NEW, FAILED):
            used |= set(published(self.named(suffix)))
        found: Dict[int, Tuple[str, int]] = {}
        for port in named_ports(self._texts):
            address, given = wanted_port(self.wanted, port)
            number = _free(address, given, used, self.name)
            used.add(number)
            found[port] = (address, number)
        return found


def _free(address: str, given: Optional[Tuple[int, int]], used: Set[int], name: str) -> int:
    """A port that nobody listens on. Where none is given, each name begins to search elsewhere. Raises PhaseFailed."""
    first, last = given or PORTS
    count = last - first + 1
    begin = zlib.crc32(name.encode()) % count if given is None else 0
    for step in range(max(0, count)):
        number = first + (begin + step) % count
        if number not in used and _listens_nobody(address, number):
            return number
    raise PhaseFailed(Reason.ACTION_FAILED, "no port from %d to %d is free at %s for the new container" % (first, last, address))


def _listens_nobody(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def recorded_of(release: str, folder: str, record: Mapping[str, Any]) -> Recorded:
    """What the file of a release says. Raises PhaseFailed."""
    known = {key: record[key] for key in ("reference", "container", "definition", "drain", "beside") if record.get(key) is not None}
    if not all(isinstance(known.get(key), str) for key in ("reference", "container")) or not isinstance(record.get("image"), str):
        raise PhaseFailed(Reason.TAMPERED, "%s names no image and container" % os.path.join(folder, "image.json"))
    return Recorded(release, record["image"], Wanted(**known))


__all__ = ["NO_POLICY", "PORTS", "Recorded", "Stand", "recorded_of"]
