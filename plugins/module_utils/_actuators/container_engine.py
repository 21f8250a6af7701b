# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of one container engine, shared by everybody in this process who acts on its containers.

Whoever hears its events (`_engine/containers.py`) tells them here; who only looks finds an engine of which nothing was heard, and asks it.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Any, Dict, Mapping, Optional, Set, Tuple

from .. import _proc
from .container_api import Call, Place, place_of
from .container_state import Story

EVENTS = ("start", "die", "oom", "kill", "stop", "pause", "unpause", "health_status", "rename", "destroy", "create")
AWAY_BEFORE = 60.0
"""A container that died within so many seconds before its engine went down was taken along by it."""


class ContainerEngine:
    """`address`: as in ``DOCKER_HOST``. Raises BadAddress.

    `problem`: why the engine cannot be asked at present, None while it can. `heard`: are its events heard now, and since when (wall time,
    `heard_since`)? `local`: are its containers' processes those of this host (None: not seen yet)? `ours`: containers, by id, that an
    action of this process is stopping or starting. `asked`: since when (wall time), until they have started: one that has ended since was
    stopped by that action, and by nobody else, also if the action failed half way. `returning`: from when to when (wall time) a new process
    of the engine's came up, if one did while we listened: whoever wanted something of it had to wait.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.place: Place = place_of(address)
        self.problem: Optional[str] = None
        self.heard = False
        self.heard_since = 0.0
        self.local: Optional[bool] = None if address.startswith("unix://") else False
        self.names: Set[str] = set()
        """The containers somebody here watches; of others nothing is kept."""
        self.ours: Set[str] = set()
        self.asked: Dict[str, float] = {}
        self.returning: Optional[Tuple[float, float]] = None
        self._process: Optional[_proc.Stat] = None
        self._listening_since = time.time()
        self._stories: Dict[str, Story] = {}
        self._health: Dict[str, Tuple[str, str]] = {}

    def call(self, method: str, path: str, query: Tuple[Tuple[str, str], ...] = (), body: Optional[Mapping[str, Any]] = None) -> Call:
        """A request to this engine."""
        return Call(self.place, method, path, query, body)

    def story(self, identity: str) -> Story:
        """What events have told of the present life of a container."""
        return self._stories.get(identity, Story())

    def learn(self, identity: str, story: Story) -> None:
        """What the engine's own log of events has told, asked for afterwards."""
        self._stories[identity] = story

    def take(self, event: Mapping[str, Any]) -> Optional[Tuple[str, str]]:
        """Take one event in: (the container's name, what happened), or None for what concerns nobody here."""
        actor = event.get("Actor")
        actor = actor if isinstance(actor, dict) else {}
        attributes = actor.get("Attributes") or {}
        name, identity = str(attributes.get("name", "")), str(actor.get("ID") or event.get("id") or "")
        action, _colon, said = str(event.get("Action") or event.get("status") or "").partition(":")
        if event.get("Type", "container") != "container" or action not in EVENTS:
            return None
        if action == "rename":
            name = name if name in self.names else str(attributes.get("oldName", "")).lstrip("/")
        if name not in self.names:
            return None
        if action == "start":
            self.asked.pop(identity, None)
        if action == "destroy":
            self.forget(identity)
        elif action == "health_status":
            self._health[identity] = (name, said.strip() or str(event.get("HealthStatus") or attributes.get("health_status", "")))
        elif identity not in self.ours or action == "start":
            nanoseconds = event.get("timeNano")
            at = nanoseconds / 1e9 if isinstance(nanoseconds, int) and nanoseconds > 0 else float(event.get("time") or 0)
            self._stories[identity] = self.story(identity).after(action, attributes, at)
        return name, action

    def forget(self, identity: str) -> None:
        """That container is no more."""
        self._stories.pop(identity, None)
        self._health.pop(identity, None)
        self.asked.pop(identity, None)

    def went_away(self, at: float) -> None:
        """The engine has gone down, at this wall time: containers that died shortly before were not stopped by anybody."""
        for identity, story in self._stories.items():
            if story.died_at is not None and at - story.died_at < AWAY_BEFORE:
                self._stories[identity] = replace(story, away=True)

    def came_back(self, at: float) -> None:
        """It answers again, at this wall time.

        An engine that was killed finds its containers alive when it starts, ends them, and notes that as a stop by hand (moby,
        daemon.restore without live-restore). It serves nobody before it is done with that.
        """
        process = self._own_process()
        if process is not None and process != self._process:
            began = _proc.started_wall(process.start_time)
            if self._process is not None or began > self._listening_since:
                self.returning = (began, at)
        self._process = process

    def _own_process(self) -> Optional[_proc.Stat]:
        """By the pid file that Docker keeps beside its socket; None where there is none that can be read."""
        if not self.address.startswith("unix://"):
            return None
        try:
            with open(os.path.join(os.path.dirname(self.address[len("unix://") :]), "docker.pid"), encoding="ascii") as file:
                found = _proc.stat(int(file.read(16)))
        except (OSError, ValueError):
            return None
        return None if found is None else found._replace(state="", threads=0)

    def fresh(self) -> None:
        """Events were missed: what was heard of states that may have passed since is worth nothing."""
        self._health.clear()


__all__ = ["AWAY_BEFORE", "ContainerEngine", "EVENTS"]
