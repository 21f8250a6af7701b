# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container engine tells about a container, and what that means to a healer. Pure; its tests' tables are recorded from engines.

How an operator's stop is told from a crash. ``docker stop`` and ``docker kill`` go through the engine, which says so by an event ``kill``
(with the signal) before the event ``die``, and ``stop`` after it; a process that dies of itself, of the kernel or of somebody's kill(1) has
only ``die``. Podman tells of ``podman kill`` alike, and of a stop nothing. Where nobody heard the events and the engine has forgotten them,
a restart policy that would have started it again says that it was stopped on purpose; without one, an exit code that a stop leaves
behind counts as a stop. In doubt nothing is started.
"""

from __future__ import annotations

import calendar
import re
import signal
from dataclasses import dataclass, replace
from typing import Any, Mapping, NamedTuple, Optional, Tuple

from .base import Presence, State

RESTARTING_FOR = 5.0
"""Docker doubles its pause before each restart, from 0.1 s to 60 s, until a life has lasted 10 s. A pause longer than this is the seventh
in a row or later: its own policy does not heal it."""
LASTING = 10.0
"""A life of so many seconds has succeeded: by Docker's own measure, which then forgets its pauses."""
SOON = 3.0
"""Podman calls what its policy is about to start exited, for as long as it cleans up after the life before."""
CREATED_FOR = 10.0
"""So long a container may stand created, as whoever makes it is about to start it."""
KILL_GRACE = 10.0
"""Seconds beyond the container's own stop timeout in which a death still counts as that of the signal before."""
RELOOK_PENDING = 0.2
RELOOK_UNHEARD = 2.0
"""Where no events are heard, a container is looked at every so many seconds."""
RELOOK_HEARD = 300.0
RELOOK_ABSENT = 30.0
DEFAULT_STOP = 10.0
RESTARTS_ALL = ("always", "unless-stopped")
LIVES = ("running", "restarting", "paused", "stopping")
"""Something of it lives, or will at once. Only Podman tells of the last."""
_STOP_CODES = (0, 130, 137, 143)
_ENDING = frozenset((signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, signal.SIGTERM))
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(\.\d+)?(?:Z|([+-])(\d\d):(\d\d))\Z")

Told = Mapping[str, Any]


class Clock(NamedTuple):
    """The same instant by both clocks, in seconds."""

    monotonic: float
    wall: float

    def when(self, wall: float) -> float:
        """A wall time on the monotonic clock; what lies in the future is now."""
        return self.monotonic - max(0.0, self.wall - wall)


@dataclass(frozen=True)
class Story:
    """What events have told of one container since it last started; times are the engine's, in seconds. `killed`: by which signal."""

    killed: int = 0
    killed_at: Optional[float] = None
    stopped: bool = False
    died_at: Optional[float] = None
    oom: bool = False
    code: Optional[int] = None
    silent: bool = False
    """Is the engine one that tells of no stop (Podman up to 4.3)? Then a death without a word before it may have been one."""
    away: bool = False
    """The engine itself went down in that life: what it told its containers meanwhile was nobody's wish for them."""

    def after(self, action: str, attributes: Mapping[str, Any], at: float) -> Story:
        """The story after one more event."""
        if action == "start":
            return Story()
        if action == "kill":
            # Podman does not say which signal it was: in doubt one that ends.
            number = signal_number(str(attributes["signal"])) if "signal" in attributes else int(signal.SIGKILL)
            return replace(self, killed=number, killed_at=at) if number else self
        if action == "die":
            silent = "containerExitCode" in attributes
            return replace(self, died_at=at, code=_number(str(attributes.get("exitCode", ""))), silent=silent)
        if action == "stop":
            return replace(self, stopped=True)
        return replace(self, oom=True) if action == "oom" else self


def _number(text: str) -> Optional[int]:
    """Docker mixes a container's labels into its events, so that anybody may have written it."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def signal_number(text: str) -> int:
    """The number behind ``15``, ``TERM`` or ``SIGTERM``; 0 where there is none."""
    number = _number(text)
    if number is not None:
        return number
    name = text.upper()
    return int(getattr(signal, name if name.startswith("SIG") else "SIG" + name, 0) or 0)


def moment(text: Any) -> Optional[float]:
    """An engine's time in seconds since the epoch; None where it says that there was none (year 1)."""
    found = _TIME.match(text) if isinstance(text, str) else None
    if found is None or found.group(1) == "0001":
        return None
    at = float(calendar.timegm(tuple(int(part) for part in found.groups()[:6]) + (0, 0, 0)))
    if found.group(8):
        offset = int(found.group(9)) * 3600 + int(found.group(10)) * 60
        at -= offset if found.group(8) == "+" else -offset
    return at + float(found.group(7) or 0)


def of(told: Told, *path: str) -> Any:
    """What stands at a path of an answer, None where anything on the way is missing."""
    found: Any = told
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def name_of(told: Told) -> str:
    return str(told.get("Name") or told.get("Id", "")[:12]).lstrip("/")


def policy(told: Told) -> str:
    return str(of(told, "HostConfig", "RestartPolicy", "Name") or "no")


def stop_timeout(told: Told) -> float:
    """Seconds that the container gives itself between its stop signal and KILL."""
    given = of(told, "Config", "StopTimeout")
    return float(given) if isinstance(given, (int, float)) else DEFAULT_STOP


def health(told: Told) -> Optional[str]:
    """starting, healthy or unhealthy by its own HEALTHCHECK; None where it has none."""
    said = of(told, "State", "Health", "Status") or of(told, "State", "Healthcheck", "Status")
    return said if said in ("starting", "healthy", "unhealthy") else None


def health_since(told: Told, good: bool) -> Optional[float]:
    """Wall time at which the check began that began the present unbroken run of good, or of bad, answers; None when that is not known."""
    since = None
    for entry in reversed(of(told, "State", "Health", "Log") or ()):
        if (entry.get("ExitCode") == 0) is not good:
            break
        since = moment(entry.get("Start"))
    return since


def health_said(told: Told) -> str:
    """The last line of its health check's last answer, for people."""
    log = of(told, "State", "Health", "Log") or ()
    lines = str(log[-1].get("Output", "")).split("\n") if log else []
    said = [" ".join(line.split()) for line in lines if line.strip()]
    return _printable(said[-1])[:200] if said else ""


def life(told: Told) -> str:
    """Names one life of a container: it changes with every start."""
    return "%s:%s" % (str(told.get("Id", ""))[:12], str(of(told, "State", "StartedAt") or "").replace(":", ""))


def by_hand(told: Told, story: Story) -> Optional[bool]:
    """Did somebody stop it through the engine? None where that cannot be known."""
    if story.died_at is None:
        return None
    if story.away:
        return False
    if story.stopped:
        return True
    killed = told_to_end(told, story) and story.killed_at is not None and story.died_at - story.killed_at <= stop_timeout(told) + KILL_GRACE
    return True if killed else (None if story.silent else False)


def told_to_end(told: Told, story: Story) -> bool:
    """Was the last signal that the engine sent one that ends a container, by itself or by the container's own word?"""
    return story.killed in _ENDING or story.killed == (signal_number(str(of(told, "Config", "StopSignal") or "")) or -1)


def describe(told: Told) -> str:
    """One line for people: ``container web is exited: exit code 137; restarted 4 times by its policy``."""
    state = of(told, "State") or {}
    text = "container %s is %s" % (name_of(told), state.get("Status"))
    if state.get("Status") in ("exited", "dead", "restarting"):
        text += ": exit code %s" % state.get("ExitCode")
        if state.get("OOMKilled"):
            text += ", the kernel killed it for want of memory"
    if health(told) is not None and state.get("Status") == "running":
        text += " (%s)" % health(told)
    if state.get("Error"):
        text += "; %s" % " ".join(str(state["Error"]).split())
    count = told.get("RestartCount")
    if count:
        text += "; restarted %s time%s by its policy" % (count, "" if count == 1 else "s")
    return _printable(text)[:500]


def _printable(text: str) -> str:
    """What a container or its engine says is read on terminals: nothing in it plays tricks."""
    return text if text.isprintable() else ascii(text)[1:-1]


def stands(told: Told, story: Story, clock: Clock) -> Tuple[State, str, Optional[float]]:
    """What stands there when it does not run: the state, a line for people, and when to look again (None: as usual)."""
    status, detail = of(told, "State", "Status"), describe(told)
    if status == "paused":
        return State.STOPPED, "%s by somebody; docker unpause %s lets it go on" % (detail, name_of(told)), None
    if status == "restarting":
        ended = moment(of(told, "State", "FinishedAt"))
        if ended is not None and clock.wall - ended > RESTARTING_FOR:
            return State.GONE, "%s; its policy's pauses have grown past %g s" % (detail, RESTARTING_FOR), 1.0
        return State.STARTING, detail, RELOOK_PENDING
    if status in ("created", "configured", "initialized"):
        age = clock.wall - (moment(told.get("Created")) or 0.0)
        if of(told, "State", "Error"):
            return State.GONE, detail, None
        return (State.STARTING, detail, 1.0) if age < CREATED_FOR else (State.NEVER, detail, None)
    if status in ("removing", "stopping"):
        return State.STOPPING, detail, 1.0
    if status == "dead":
        return State.GONE, "%s; only making it anew helps" % detail, None
    if status in ("exited", "stopped"):
        return _exited(told, story, detail, clock)
    return State.UNKNOWN, "%s: that is no state that is known here" % detail, None


def ended(told: Told, story: Story) -> Optional[Told]:
    """What an inspection would tell of a container that ran when it was last inspected, once the event of its death is heard; None where
    its restart policy may start it again. An engine answers no inspection while it cleans up after a death, which takes a tenth of a
    second or more.
    """
    began = moment(of(told, "State", "StartedAt"))
    if policy(told) != "no" or story.died_at is None or story.code is None or began is None or story.died_at < began:
        return None
    known = {
        "Status": "exited",
        "Running": False,
        "Pid": 0,
        "ExitCode": story.code,
        "OOMKilled": story.oom,
        "Error": "",
        "FinishedAt": None,
    }
    return {**told, "State": {**(of(told, "State") or {}), **known}}


def _exited(told: Told, story: Story, detail: str, clock: Clock) -> Tuple[State, str, Optional[float]]:
    hand = by_hand(told, story)
    if hand is None and story.silent and policy(told) != "no" and clock.wall - (story.died_at or 0.0) < SOON:
        return State.STARTING, "%s; policy %s may be about to start it" % (detail, policy(told)), RELOOK_PENDING
    if hand is True:
        return State.STOPPED, "%s; somebody stopped it" % detail, None
    if hand is False or of(told, "State", "Error") or of(told, "State", "OOMKilled"):
        return State.GONE, detail, None
    if policy(told) in RESTARTS_ALL:
        return State.STOPPED, "%s; policy %s would have started it again, so somebody stopped it" % (detail, policy(told)), None
    if of(told, "State", "ExitCode") in _STOP_CODES:
        return State.STOPPED, "%s; nobody heard whether somebody stopped it, so it is left alone" % detail, None
    return State.GONE, detail, None


def relook(found: Presence, heard: bool) -> Presence:
    """When to look again where the state itself does not say: what events tell is not asked for."""
    if found.again is not None or found.state in (State.STARTING, State.STOPPING, State.UNKNOWN):
        return found
    return replace(found, again=RELOOK_HEARD if heard else RELOOK_UNHEARD)


__all__ = [
    "Clock",
    "LASTING",
    "LIVES",
    "RELOOK_ABSENT",
    "RELOOK_HEARD",
    "RELOOK_PENDING",
    "RELOOK_UNHEARD",
    "RESTARTING_FOR",
    "RESTARTS_ALL",
    "Story",
    "Told",
    "by_hand",
    "describe",
    "ended",
    "health",
    "health_said",
    "health_since",
    "life",
    "moment",
    "name_of",
    "of",
    "policy",
    "relook",
    "signal_number",
    "stands",
    "stop_timeout",
    "told_to_end",
]
