# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container engine in memory on a clock of its own, and a host that dies at a given effect: for thousands of runs of container_heal.

What it does as engines do (tried with Docker 20.10 and 26.1, Podman 4.3): a stop goes on when whoever asked for it is dead. Docker calls
the container running until it has ended, and starts nothing that runs; Podman calls it stopping, refuses to start it, and tells no signal.
"""

from __future__ import annotations

import copy
import heapq
import json
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from selfheal._actuators.container_api import Call, answered
from selfheal._core.reasons import Reason
from selfheal._host import Handle, Host, Outcome, Step
from selfheal._proc import Pause

EPOCH = 1.8e9
VOLUME = "f" * 64


class Killed(BaseException):
    """The healer was killed at this effect."""


class Refused(Exception):
    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


def stamp(now: float) -> str:
    whole = int(EPOCH + now)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + ".%09dZ" % round((EPOCH + now - whole) * 1e9)


class Dock:
    """flavour: docker or podman. Images: well, ill (never gets well), crash (ends at once), slow (3 s until it is healthy).

    stops_in: seconds that a container takes to end. halves: it is killed itself in the middle of a restart, and starts nothing then.
    updates: can it change a restart policy in place? Podman 4 cannot.
    """

    def __init__(self, flavour: str = "docker") -> None:
        self.flavour = flavour
        self.stops_in = 2.0
        self.halves = False
        self.updates = True
        self.now = 0.0
        self.all: Dict[str, Dict[str, Any]] = {}
        self.volumes = {VOLUME}
        self.told: List[Dict[str, Any]] = []
        self.asked: List[str] = []
        self._serial = 0
        self._due: List[Tuple[float, int, Callable[[], None]]] = []

    # -- what stands there

    def add(self, name: str, status: str = "running", code: int = 0, image: str = "well", **config: Any) -> Dict[str, Any]:
        self._serial += 1
        identity = "%064x" % self._serial
        before = stamp(self.now - 600)
        state = {"Status": status, "Pid": 0, "ExitCode": code, "StartedAt": before, "FinishedAt": "0001-01-01T00:00:00Z", "Error": ""}
        if status in ("exited", "restarting", "dead"):
            state["FinishedAt"] = stamp(self.now - 60)
        self.all[identity] = {
            "Id": identity,
            "Name": "/" + name,
            "Created": before,
            "State": state,
            "Config": {"Labels": {}, "Image": image, "StopTimeout": 10, "Env": [], **config},
            "HostConfig": {"RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "NetworkMode": "bridge", "Binds": None},
            "Image": "sha256:" + image,
            "RestartCount": 0,
            "Mounts": [{"Type": "volume", "Name": VOLUME, "Destination": "/data", "RW": True}],
            "NetworkSettings": {"Networks": {"bridge": {}}},
        }
        return self.all[identity]

    def named(self) -> Dict[str, Dict[str, Any]]:
        return {told["Name"][1:]: told for told in self.all.values()}

    def find(self, name: str) -> Dict[str, Any]:
        found = self.all.get(name) or self.named().get(name)
        if found is None:
            raise Refused(404, "No such container: %s" % name)
        return found

    # -- time

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        self._serial += 1
        heapq.heappush(self._due, (self.now + seconds, self._serial, act))

    def advance(self, until: float) -> None:
        while self._due and self._due[0][0] <= until:
            at, _serial, act = heapq.heappop(self._due)
            self.now = max(self.now, at)
            act()
        self.now = max(self.now, until)

    # -- requests: seconds until the answer, its status, its body

    def answer(self, call: Call) -> Tuple[float, int, Any]:
        self.asked.append("%s %s" % (call.method, call.path))
        parts, query = call.path.strip("/").split("/"), dict(call.query)
        try:
            if call.method == "GET":
                return 0.001, 200, self._get(parts, query)
            if call.method == "DELETE":
                return self._delete(self.find(parts[1]), query)
            if parts[1] == "create":
                return 0.01, 201, {"Id": self._create(query["name"], dict(call.body or {}))}
            if parts[0] == "networks":
                return 0.01, 200, None
            told = self.find(parts[1])
            wait = getattr(self, "_" + parts[2])(told, query, call.body)
            return (0.01, 304, None) if wait is None else (wait, 204, None)
        except Refused as error:
            return 0.001, error.status, {"message": str(error)}

    def _get(self, parts: List[str], query: Mapping[str, str]) -> Any:
        if parts == ["containers", "json"]:
            return [self._listed(told) for told in self.all.values()]
        if parts == ["events"]:
            wanted = json.loads(query["filters"])
            since, until = float(query["since"]) * 1e9, float(query["until"]) * 1e9
            found = [each for each in self.told if each["Actor"]["ID"] in wanted["container"] and since <= each["timeNano"] <= until]
            return "".join(json.dumps(each) + "\n" for each in found) or None
        if parts[0] == "images":
            return {"Id": "sha256:" + parts[1].replace("sha256:", ""), "Config": {}}
        return copy.deepcopy(self.find(parts[1]))

    def _listed(self, told: Dict[str, Any]) -> Dict[str, Any]:
        status, health = told["State"]["Status"], (told["State"].get("Health") or {}).get("Status")
        said = "Up 2 hours%s" % ("" if health is None else " (%s)" % health) if status == "running" else status
        names, labels, mode = [told["Name"]], dict(told["Config"]["Labels"]), told["HostConfig"]["NetworkMode"]
        return {
            "Id": told["Id"],
            "Names": names,
            "State": status,
            "Status": said,
            "Labels": labels,
            "Created": 1,
            "HostConfig": {"NetworkMode": mode if self.flavour == "docker" else ""},
        }

    def _create(self, name: str, body: Dict[str, Any]) -> str:
        if name in self.named():
            raise Refused(409, 'Conflict. The container name "/%s" is already in use' % name)
        told = self.add(name, "created", image=body["Image"])
        host = body.pop("HostConfig")
        body.pop("NetworkingConfig")
        bound = [bind.split(":")[0] for bind in host.get("Binds") or ()]
        told["Created"], told["State"]["StartedAt"] = stamp(self.now), "0001-01-01T00:00:00Z"
        told["Config"].update(copy.deepcopy(body))
        told["HostConfig"].update(copy.deepcopy(host))
        told["Mounts"] = [{"Type": "volume", "Name": volume, "Destination": "/data", "RW": True} for volume in bound]
        return str(told["Id"])

    def _delete(self, told: Dict[str, Any], query: Mapping[str, str]) -> Tuple[float, int, Any]:
        if told["State"]["Status"] == "removing":
            raise Refused(409, "removal of container %s is already in progress" % told["Id"])
        if told["State"]["Status"] in ("running", "paused", "restarting", "stopping") and query.get("force") != "1":
            raise Refused(409, "You cannot remove a running container")
        if query.get("v") != "0":
            self.volumes -= {mount["Name"] for mount in told["Mounts"]}
        del self.all[told["Id"]]
        return 0.05, 204, None

    def _rename(self, told: Dict[str, Any], query: Mapping[str, str], _body: Any) -> float:
        if query["name"] in self.named():
            raise Refused(409, 'Conflict. The container name "/%s" is already in use' % query["name"])
        told["Name"] = "/" + query["name"]
        return 0.01

    def _update(self, told: Dict[str, Any], _query: Any, body: Mapping[str, Any]) -> float:
        if not self.updates:
            raise Refused(404, "Not Found")
        told["HostConfig"].update(body)
        return 0.01

    def _unpause(self, told: Dict[str, Any], _query: Any, _body: Any) -> float:
        if told["State"]["Status"] != "paused":
            raise Refused(500, "it is not paused")
        told["State"]["Status"] = "running"
        return 0.01

    def _start(self, told: Dict[str, Any], _query: Any = None, _body: Any = None) -> Optional[float]:
        state = told["State"]
        if state["Status"] in ("paused", "dead", "stopping"):
            raise Refused(500, "cannot start a container that is %s" % state["Status"])
        if state["Status"] == "running":
            return None
        if told["Config"]["Image"] == "unstartable":
            raise Refused(400, "exec: no such file or directory")
        state.update(Status="running", StartedAt=stamp(self.now), ExitCode=0)
        self._event(told, "start")
        image, life = told["Config"]["Image"], state["StartedAt"]
        if image in ("ill", "slow"):
            state["Health"] = {"Status": "starting", "Log": []}
            self.after(3.0, lambda: self._judged(told, life, "healthy" if image == "slow" else "unhealthy"))
        elif image == "well" and "Health" in state:
            state["Health"] = {"Status": "healthy", "Log": []}
        elif image == "crash":
            self.after(0.2, lambda: self._end(told, life, 3))
        return 0.1

    def _stop(self, told: Dict[str, Any], _query: Any = None, _body: Any = None) -> Optional[float]:
        state = told["State"]
        if state["Status"] == "paused":
            raise Refused(500, "it is paused")
        if state["Status"] == "restarting":
            self._signal(told)
            self._end(told, state["StartedAt"], state["ExitCode"])
            return 0.01
        if state["Status"] not in ("running", "stopping"):
            return None
        if state.get("EndsAt", 0.0) > self.now:  # being stopped already: this one waits for the same end
            return float(state["EndsAt"] - self.now)
        self._signal(told)
        life = state["StartedAt"]
        state["EndsAt"] = self.now + self.stops_in
        self.after(self.stops_in, lambda: self._end(told, life, 143, "stop"))
        return self.stops_in

    def _restart(self, told: Dict[str, Any], _query: Any, _body: Any) -> float:
        wait = self._stop(told) or 0.0
        if not self.halves:
            self.after(wait + 0.01, lambda: self._started_again(told))
        return wait + 0.2

    # -- what follows from them

    def _started_again(self, told: Dict[str, Any]) -> None:
        if told["Id"] in self.all and told["State"]["Status"] in ("exited", "created"):
            self._start(told)

    def _signal(self, told: Dict[str, Any]) -> None:
        if self.flavour == "docker":
            self._event(told, "kill", signal="15")
        elif told["State"]["Status"] == "running":
            told["State"]["Status"] = "stopping"

    def _end(self, told: Dict[str, Any], life: str, code: int, *more: str) -> None:
        state = told["State"]
        if told["Id"] not in self.all or state["StartedAt"] != life or state["Status"] not in ("running", "stopping", "restarting"):
            return
        state.update(Status="exited", ExitCode=code, FinishedAt=stamp(self.now))
        state.pop("EndsAt", None)
        self._event(told, "die", **{"exitCode" if self.flavour == "docker" else "containerExitCode": str(code)})
        for each in more if self.flavour == "docker" else ():
            self._event(told, each)
        if told["HostConfig"].get("AutoRemove"):
            state["Status"] = "removing"
            self.after(2.0, lambda: self.all.pop(told["Id"]))

    def _judged(self, told: Dict[str, Any], life: str, health: str) -> None:
        if told["State"]["StartedAt"] == life and told["State"]["Status"] == "running":
            told["State"]["Health"]["Status"] = health

    def _event(self, told: Dict[str, Any], action: str, **attributes: str) -> None:
        actor = {"ID": told["Id"], "Attributes": {"name": told["Name"][1:], **attributes}}
        self.told.append({"Type": "container", "Action": action, "Actor": actor, "timeNano": int((EPOCH + self.now) * 1e9)})


class Healer(Host):
    """The host of one run. It is killed at its effect number `at`, before it came about or after it was begun; 0: it lives."""

    def __init__(self, dock: Dock, at: int = 0, when: str = "before") -> None:
        self.dock = dock
        self.effects: List[str] = []
        self._at, self._when = at, when
        self._serial = 0
        self._ends: List[Tuple[float, int, Handle]] = []

    def effect(self, what: str, act: Callable[[], Any]) -> Any:
        """Something that is still there when the healer is not: a change on the engine, a file, an event on record."""
        self.effects.append(what)
        here = len(self.effects) == self._at
        if here and self._when == "before":
            raise Killed(what)
        done = act()
        if here:
            raise Killed(what)
        return done

    def monotonic(self) -> float:
        return self.dock.now

    def wall(self) -> float:
        return EPOCH + self.dock.now

    def start(self, step: Step, deadline: float, owner: Any = None) -> Handle:
        handle = Handle(step, owner, self.dock.now, deadline)
        if isinstance(step, Pause):
            self._end(handle, deadline, Outcome("ok"))
        elif isinstance(step, Call):
            if step.method == "GET":
                wait, status, body = self.dock.answer(step)
            else:
                wait, status, body = self.effect(step.shown, lambda: self.dock.answer(step))
            data = b"" if body is None else (body if isinstance(body, str) else json.dumps(body)).encode()
            at, told = self.dock.now + wait, answered(step.shown, status, data, "4.3.1" if self.dock.flavour == "podman" else "")
            late = Outcome("unknown", Reason.ENGINE_DOWN, "%s: no answer in time" % step.shown)
            self._end(handle, min(at, deadline), told if at <= deadline else late)
        else:
            raise TypeError(type(step).__name__)
        return handle

    def _end(self, handle: Handle, at: float, outcome: Outcome) -> None:
        self._serial += 1
        handle.outcome = outcome
        heapq.heappush(self._ends, (at, self._serial, handle))

    def cancel(self, handle: Handle) -> None:
        self._ends = [each for each in self._ends if each[2] is not handle]
        heapq.heapify(self._ends)

    def poll(self, until: float) -> List[Handle]:
        self.dock.advance(max(self.dock.now, min(until, self._ends[0][0] if self._ends else until)))
        ended: List[Handle] = []
        while self._ends and self._ends[0][0] <= self.dock.now:
            when, _serial, handle = heapq.heappop(self._ends)
            handle.ended = when
            ended.append(handle)
        return ended
