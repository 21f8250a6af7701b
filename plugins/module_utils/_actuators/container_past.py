# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the last life of a container ended: by whom, as far as anybody can tell. In doubt it was somebody's wish (see `container_state`)."""

from __future__ import annotations

import json
import time
from typing import Any, Dict, List, Optional

from .._records.files import read_file
from . import container_state as states
from .base import Timed, Work
from .container_engine import ContainerEngine
from .container_state import Story, Told, of

ASK_WITHIN = 10.0
_LOG_BEFORE = 20.0
_NOTE_LIMIT = 4 * 1024 * 1024
_SAME_END = 2.0
"""The event of a death and its time on record lie no further apart."""


def story_of(engine: ContainerEngine, told: Told, ours_since: float) -> Work[Story]:
    """The story of the life that an inspection tells of. ours_since: a stop asked for by us at that wall time is nobody's wish."""
    identity = str(told["Id"])
    story = engine.story(identity)
    ended = states.moment(of(told, "State", "FinishedAt"))
    if of(told, "State", "Status") not in ("exited", "stopped") or ended is None:
        return story
    began = states.moment(of(told, "State", "StartedAt")) or 0.0
    if ended >= ours_since:
        return Story(died_at=ended)
    if engine.returning is not None and engine.returning[0] <= ended <= engine.returning[1]:
        return Story(died_at=ended, away=True)
    heard = story.died_at is not None and story.died_at > began and abs(story.died_at - ended) < _SAME_END
    noted = manually_stopped(told) if engine.local is not False else None
    if noted is False or (noted and (story.away or not heard)):
        # An engine that goes down itself sends its containers the same signals as a person does, and does not note them.
        return Story(died_at=ended, stopped=noted)
    if heard:
        return story
    logged = yield from _logged(engine, identity, ended - states.stop_timeout(told) - _LOG_BEFORE, min(ended + _LOG_BEFORE, time.time()))
    if logged is not None:
        engine.learn(identity, logged)
    return logged or Story()


def being_stopped(engine: ContainerEngine, told: Told) -> Work[bool]:
    """Has the engine been asked to end what still lives of it? It goes on with that when whoever asked is dead.

    Podman calls it stopping. Docker calls it running until it has ended; its note is true of a ``kill -s HUP`` as well, so its events tell.
    """
    status = of(told, "State", "Status")
    if status != "running":
        return bool(status == "stopping")
    if engine.local is not False and manually_stopped(told) is False:
        return False
    now = time.time()
    story = yield from _logged(engine, str(told["Id"]), now - states.stop_timeout(told) - states.KILL_GRACE, now)
    return story is not None and states.told_to_end(told, story) and story.died_at is None


def _logged(engine: ContainerEngine, identity: str, since: float, until: float) -> Work[Optional[Story]]:
    """What the engine's log of events tells of a container; None where it cannot be asked. since, until: wall seconds."""
    names = {"type": ["container"], "container": [identity], "event": ["start", "kill", "die", "stop", "oom"]}
    query = (("since", "%.9f" % since), ("until", "%.9f" % until), ("filters", json.dumps(names)))
    outcome = yield Timed(engine.call("GET", "/events", query), ASK_WITHIN)
    if outcome.status != "ok":
        return None
    story = Story()
    try:
        events = _lines(outcome.data["body"])
    except ValueError:
        return None  # half an answer tells nothing: in doubt it was somebody's wish
    for event in events:
        actor = event.get("Actor") or {}
        at = float(event.get("timeNano") or 0) / 1e9
        story = story.after(str(event.get("Action")), actor.get("Attributes") or {}, at)
    return story


def manually_stopped(told: Told) -> Optional[bool]:
    """Docker's own note, beside the container's files, of whether somebody stopped or killed it since it last started; its restart policies
    go by that. None where there is no such note that we may read: another host's engine, another user, Podman.

    Its interface does not tell, and it forgets events after the last 256. Source: moby, container.HasBeenManuallyStopped in config.v2.json.
    """
    folder, _slash, last = str(told.get("HostnamePath") or "").rpartition("/")
    if last != "hostname" or not folder.endswith("/" + str(told["Id"])):
        return None
    try:
        noted = json.loads(read_file(folder + "/config.v2.json", _NOTE_LIMIT))
        same = of(noted, "State", "FinishedAt") == of(told, "State", "FinishedAt")
    except (OSError, ValueError):
        return None
    found = noted.get("HasBeenManuallyStopped")
    return found if same and isinstance(found, bool) else None


def _lines(body: Any) -> List[Dict[str, Any]]:
    """Events as one answer: one JSON object a line, which is no JSON document unless there is just one."""
    if isinstance(body, dict):
        return [body]
    found = [json.loads(line) for line in str(body or "").splitlines() if line.strip()]
    return [each for each in found if isinstance(each, dict)]


__all__ = ["ASK_WITHIN", "being_stopped", "manually_stopped", "story_of"]
