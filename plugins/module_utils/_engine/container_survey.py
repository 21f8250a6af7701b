# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands on a container engine: one list for all, and one request more for each container of which the list does not say enough."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any, Dict, Iterable, List, Mapping, Optional, Set, Tuple, Union

from .._actuators import container_state as states
from .._actuators.base import Timed, Work
from .._actuators.container import ContainerActuator, clock
from .._actuators.container_engine import ContainerEngine
from .._actuators.container_make import unfinished
from .._actuators.container_state import Told, of
from .._core.containers import BESIDE, OLD, OWNER, REPLACES, Found, Labelled, Want
from .._core.reasons import Reason
from .._host import Outcome
from .container_notes import Note

LIST_WITHIN = 30.0
ASK_WITHIN = 15.0


@dataclass(frozen=True)
class Listed:
    """One entry of the list."""

    name: str
    id: str
    status: str
    said: str
    created: float
    image: str
    labels: Mapping[str, str] = field(default_factory=dict)
    tells: bool = True
    """Does the engine's list say what a container's own health check says? Podman's does not."""
    within: str = ""
    """The container whose network it shares, by id or name, where the list says so. Podman's does not."""

    @property
    def plainly_well(self) -> bool:
        """Does the list alone say that it runs and that its own health check, where it has one, has passed?"""
        return self.tells and self.status == "running" and "(" not in self.said.replace("(healthy)", "")


def listing(engine: ContainerEngine) -> Work[Union[Tuple[Listed, ...], Outcome]]:
    """Every container of the engine, also those that do not run."""
    outcome = yield Timed(engine.call("GET", "/containers/json", (("all", "1"),)), LIST_WITHIN)
    if outcome.status != "ok":
        return outcome
    body = outcome.data["body"]
    if not isinstance(body, list) or not all(isinstance(each, dict) and each.get("Id") for each in body):
        return Outcome("unknown", Reason.ENGINE_DOWN, "the engine's list of containers is no list of containers")
    tells = "podman" not in outcome.data
    return tuple(_listed(each, tells) for each in body)


def _listed(told: Mapping[str, Any], tells: bool) -> Listed:
    # A container that others link to has a name for each of them, with more than one slash.
    names = [str(name).lstrip("/") for name in told.get("Names") or () if str(name).lstrip("/").count("/") == 0]
    identity = str(told.get("Id", ""))
    return Listed(
        names[0] if names else identity[:12],
        identity,
        str(told.get("State", "")),
        str(told.get("Status", "")),
        float(told.get("Created") or 0),
        str(told.get("ImageID", "")),
        dict(told.get("Labels") or {}),
        tells,
        network_of(told),
    )


def network_of(told: Mapping[str, Any]) -> str:
    """The container whose network it shares, by id or name; empty where it has its own, or nobody says."""
    kind, _colon, name = str(of(told, "HostConfig", "NetworkMode") or "").partition(":")
    return name if kind == "container" else ""


def selected(there: Iterable[Listed], selector: Mapping[str, Optional[str]]) -> List[str]:
    """Names of the containers that bear every label of `selector` (value None: any); an empty selector selects nothing.

    What stands beside the container that serves has the same labels, and is not meant; but where a run was killed between its renames, so
    that nobody bears the name, the name is.
    """
    if not selector:
        return []
    every = tuple(there)
    known = {each.name: (each.id, each.labels) for each in every}
    replaced = {each.labels[REPLACES] for each in every if REPLACES in each.labels}
    names: Set[str] = set()
    for each in every:
        if not all(key in each.labels and value in (None, each.labels[key]) for key, value in selector.items()):
            continue
        owner = each.labels.get(OWNER, "")
        if each.name in {owner + suffix for suffix in BESIDE}:
            names |= {owner} if unfinished(owner, known) else set()
        elif each.name.endswith(OLD) and each.id in replaced:
            names.add(each.name[: -len(OLD)])
        else:
            names.add(each.name)
    return sorted(names)


def labelled(there: Iterable[Listed]) -> List[Labelled]:
    """Those that bear our label."""
    return [Labelled(each.name, each.id, each.status, each.created, each.labels) for each in there if OWNER in each.labels]


class Survey:
    """Looks closely. Images are asked for once."""

    def __init__(self, engine: ContainerEngine) -> None:
        self.engine = engine
        self._images: Dict[str, Optional[str]] = {}

    def image(self, reference: str) -> Work[Optional[str]]:
        """The id behind an image's name; None where the engine has none of that name, empty where it does not say."""
        if reference not in self._images:
            outcome = yield Timed(self.engine.call("GET", "/images/%s/json" % reference), ASK_WITHIN)
            if outcome.status == "ok":
                self._images[reference] = str(of(outcome.data["body"], "Id") or "")
            else:
                self._images[reference] = None if outcome.reason is Reason.NO_SUCH_CONTAINER else ""
        return self._images[reference]

    def sharing(self, found: Found, there: Iterable[Listed]) -> Work[List[str]]:
        """Whose network is its network, too: by the list, or one by one where that does not say."""
        names: List[str] = []
        for each in there:
            within = each.within
            if not each.tells and each.id != found.id:
                asked = yield Timed(self.engine.call("GET", "/containers/%s/json" % each.id), ASK_WITHIN)
                within = network_of(asked.data["body"]) if asked.status == "ok" else ""
            if within == found.name or (len(within) >= 12 and found.id.startswith(within)):
                names.append(each.name)
        return sorted(names)

    def look(self, want: Want, note: Note, unhealthy: str = "") -> Work[Union[None, Outcome, Tuple[Found, Told]]]:
        """What stands there of a container, None where nothing does; an Outcome says why that cannot be known."""
        actuator = ContainerActuator(want.name, self.engine)
        if note.actions:
            actuator.interrupted(max(note.actions))  # a restart of which the engine did only half was nobody's stop
        told = yield from actuator.inspect()
        if isinstance(told, Outcome):
            return None if told.reason is Reason.NO_SUCH_CONTAINER else told
        story = yield from actuator.heard(told)
        wanted = (yield from self.image(want.image)) if want.image is not None else None
        found = found_of(told, states.by_hand(told, story), wanted, note, unhealthy)
        undone = len(note.undone) if note.undone and note.wish == wish_of(want, wanted) else 0
        return replace(found, undone=undone), told


def wish_of(want: Want, image: Optional[str]) -> str:
    """Tells one thing that a container is to be made of from another. Short, as its environment may be secret. image: the id wanted."""
    import hashlib

    text = json.dumps([image, sorted(want.labels.items()), sorted(want.env.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def found_of(told: Told, by_hand: Optional[bool], wanted_image: Optional[str], note: Note, unhealthy: str = "") -> Found:
    """What an inspection says, in the words of the decisions."""
    now, status = clock().wall, str(of(told, "State", "Status"))
    ended = states.moment(of(told, "State", "FinishedAt"))
    if by_hand is None and status in ("exited", "stopped") and not of(told, "State", "Error"):
        # As in the watchdog: in doubt nothing is started.
        state, _detail, _again = states.stands(told, states.Story(), clock())
        by_hand = state is states.State.STOPPED
    policy = of(told, "HostConfig", "RestartPolicy") or {}
    return Found(
        name=states.name_of(told),
        id=str(told["Id"]),
        status=status,
        health=states.health(told),
        by_hand=by_hand,
        error=states.describe(told),
        pause=max(0.0, now - ended) if ended is not None and status in ("restarting", "removing") else 0.0,
        restarts=int(told.get("RestartCount") or 0),
        image=str(told.get("Image", "")),
        wanted_image=wanted_image if wanted_image != "" else str(told.get("Image", "")),
        labels=dict(of(told, "Config", "Labels") or {}),
        policy=(str(policy.get("Name") or "no"), int(policy.get("MaximumRetryCount") or 0)),
        acted=len(note.actions),
        kept=note.kept is not None and note.kept == states.life(told),
        unhealthy=unhealthy,
        env=dict(str(each).partition("=")[::2] for each in of(told, "Config", "Env") or ()),
    )


__all__ = ["Listed", "Survey", "found_of", "labelled", "listing", "network_of", "selected", "wish_of"]
