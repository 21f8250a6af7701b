# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a container anew from what its engine tells of it, beside the old one, which is kept until the new one is proven.

Killed at any instant it leaves a container under one of three names: the name itself, the name with `OLD`, the name with `NEW`; `mend` puts
that right. Volumes are never removed: anonymous ones go over to the new container. What the old one only had from its image is left to
the new image. Source of what is taken over: ``GET /containers/{id}/json`` against the body of ``POST /containers/create``.
"""

from __future__ import annotations

import copy
import math
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

from .._core.containers import DEPLOYMENT, NEW, OLD, OWNER, REPLACES
from .._core.reasons import Reason
from .._host import Outcome
from .base import Timed, Work
from .container_engine import ContainerEngine
from .container_past import being_stopped, story_of
from .container_state import LIVES, Told, by_hand, describe, moment, name_of, of, stop_timeout

WITHIN = 15.0
MARGIN = 30.0
OURS_FOR = 300.0
"""What ended later than so many seconds, and its own stop timeout, after the next one was made was not stopped for that."""
_FROM_IMAGE = ("Cmd", "Entrypoint", "WorkingDir", "User", "Healthcheck", "ExposedPorts", "Volumes", "StopSignal", "Shell")


class Maker:
    """Makes one container anew. `image`: a reference, None: as it is; `labels`, `restart_policy`, `env`, `definition` (keys
    of the request that makes a container): what is changed besides."""

    def __init__(
        self,
        engine: ContainerEngine,
        name: str,
        image: Optional[str] = None,
        labels: Optional[Mapping[str, str]] = None,
        restart_policy: Optional[Tuple[str, int]] = None,
        definition: Optional[Mapping[str, Any]] = None,
        env: Optional[Mapping[str, str]] = None,
    ) -> None:
        self.engine = engine
        self.name = name
        self._image = image
        self._labels = dict(labels or {})
        self._policy = restart_policy
        self._definition = definition or {}
        self._env = env or {}
        self._old: Optional[Told] = None
        self._ran = False
        self._new = ""

    # -- the whole

    def make(self, old: Told) -> Work[Outcome]:
        """Put a new one in the place of `old`, and start it. When that fails the old one is back in its place."""
        body = yield from self._body(old)
        if isinstance(body, Outcome):
            return body
        for name in (self.name + NEW, self.name + OLD):
            free = yield from self._free(name)
            if free is not None:
                return free
        made = yield from self._ask("POST", "/containers/create", (("name", self.name + NEW),), body)
        if made.status != "ok":
            return made
        self._new = str(of(made.data["body"], "Id") or "")
        joined = yield from self._join(old)
        if joined is not None:
            yield from self._remove(self._new)
            return joined
        self._old, self._ran = old, of(old, "State", "Status") in LIVES
        return (yield from self._swap(old))

    def keep(self) -> Work[Outcome]:
        """The new one is proven: remove the old one. Its volumes stay."""
        if self._old is None:
            return Outcome("ok")
        return (yield from self._remove(str(self._old["Id"])))

    def undo(self) -> Work[Outcome]:
        """The new one does not do: put the old one back, and start it if it ran. While that fails the new one stays, as a sign.

        It loses the name before it stops: one that bears the name and does not run was stopped by somebody else (`mend`).
        """
        if self._old is None:
            return Outcome("bad", Reason.NO_SUCH_CONTAINER, "it was dead, and is removed")
        old = str(self._old["Id"])
        yield from self._rename(self._new, self.name + NEW)
        back = yield from self._rename(old, self.name)
        if back.status == "ok":
            yield from self._stop(self._new, stop_timeout(self._old))
            back = yield from self._up(old) if self._ran else _done()
        if back.status == "ok":
            yield from self._remove(self._new)
        return back

    def _swap(self, old: Told) -> Work[Outcome]:
        identity = str(old["Id"])
        if of(old, "State", "Status") in ("dead", "removing"):
            gone = yield from self._remove(identity)
            if gone.status != "ok" and gone.reason is not Reason.NO_SUCH_CONTAINER:
                yield from self._remove(self._new)
                return gone
            self._old = None
        else:
            stopped = yield from self._stop(identity, stop_timeout(old)) if self._ran else _done()
            moved = yield from self._rename(identity, self.name + OLD) if stopped.status == "ok" else _as(stopped)
            if moved.status != "ok":
                back = yield from self._up(identity) if self._ran else _done()
                if back.status == "ok":  # else the new one stays, as a sign
                    yield from self._remove(self._new)
                return moved
        named = yield from self._rename(self._new, self.name)
        started = yield from self._start(self._new) if named.status == "ok" else _as(named)
        if started.status == "ok":
            return Outcome("ok", None, "container %s was made anew" % self.name, {"id": self._new})
        back = yield from self.undo()
        word = "; the old one is back" if back.status == "ok" else "; and the old one could not be put back: %s" % back.detail
        return Outcome(started.status, started.reason, (started.detail + word)[:500], started.data)

    # -- single requests

    def _ask(
        self,
        method: str,
        path: str,
        query: Tuple[Tuple[str, str], ...] = (),
        body: Optional[Mapping[str, Any]] = None,
        within: float = WITHIN,
    ) -> Work[Outcome]:
        outcome = yield Timed(self.engine.call(method, path, query, body), within)
        return outcome

    def _stop(self, identity: str, timeout: float) -> Work[Outcome]:
        return (yield from self._ask("POST", "/containers/%s/stop" % identity, within=timeout + MARGIN))

    def _start(self, identity: str) -> Work[Outcome]:
        return (yield from self._ask("POST", "/containers/%s/start" % identity, within=MARGIN))

    def _up(self, identity: str) -> Work[Outcome]:
        """Start it. What is being stopped ends first, or it would end after that."""
        asked = yield from self._ask("GET", "/containers/%s/json" % identity)
        if asked.status == "ok" and (yield from being_stopped(self.engine, asked.data["body"])):
            asked = yield from self._stop(identity, stop_timeout(asked.data["body"]))
        return (yield from self._start(identity)) if asked.status == "ok" else asked

    def _rename(self, identity: str, name: str) -> Work[Outcome]:
        return (yield from self._ask("POST", "/containers/%s/rename" % identity, (("name", name),)))

    def _remove(self, identity: str) -> Work[Outcome]:
        return (yield from self._ask("DELETE", "/containers/%s" % identity, (("force", "1"), ("v", "0")), within=MARGIN))

    def _free(self, name: str) -> Work[Optional[Outcome]]:
        """None once no container bears that name; one that we left there goes, anybody else's is described."""
        there = yield from self._ask("GET", "/containers/%s/json" % name)
        if there.reason is Reason.NO_SUCH_CONTAINER:
            return None
        if there.status != "ok":
            return there
        told = there.data["body"]
        if name_of(told) != name:
            return None
        if of(told, "Config", "Labels", OWNER) == self.name and REPLACES in of(told, "Config", "Labels"):
            gone = yield from self._remove(str(told["Id"]))
            return None if gone.status == "ok" else gone
        return Outcome("bad", Reason.NAME_CONFLICT, conflict(told))

    def _found(self, name: str) -> Work[Optional[Told]]:
        """What bears exactly that name; None where nothing does, or nobody can tell."""
        there = yield from self._ask("GET", "/containers/%s/json" % name)
        return there.data["body"] if there.status == "ok" and name_of(there.data["body"]) == name else None

    def _join(self, old: Told) -> Work[Optional[Outcome]]:
        """The other networks of the old one, as an engine takes only one when a container is made."""
        networks = _networks(old)
        for name in list(networks)[1:]:
            body = {"Container": self._new, "EndpointConfig": networks[name]}
            outcome = yield from self._ask("POST", "/networks/%s/connect" % name, (), body)
            if outcome.status != "ok":
                return outcome
        return None

    # -- what the new one is made of

    def _body(self, old: Told) -> Work[Union[Dict[str, Any], Outcome]]:
        if of(old, "HostConfig", "AutoRemove"):
            return Outcome("bad", Reason.UNSUPPORTED, "container %s goes when it stops (--rm), so it could not be put back" % self.name)
        reference = self._image or str(of(old, "Config", "Image"))
        wanted = yield from self._ask("GET", "/images/%s/json" % reference)
        if wanted.reason is Reason.NO_SUCH_CONTAINER:
            missing = "image %s is not on this engine; pull or load it first. Container %s was not touched" % (reference, self.name)
            return Outcome("bad", Reason.IMAGE_MISSING, missing)
        if wanted.status != "ok":
            return wanted
        had = yield from self._ask("GET", "/images/%s/json" % old.get("Image"))
        inherited = of(had.data["body"], "Config") if had.status == "ok" else None
        body = create_body(old, reference, inherited or {}, {**self._labels, OWNER: self.name, REPLACES: str(old["Id"])}, self._policy)
        kept = [each for each in body["Env"] if each.partition("=")[0] not in self._env]
        body["Env"] = kept + ["%s=%s" % item for item in sorted(self._env.items())]
        body["Labels"].pop(DEPLOYMENT, None)  # it is not that deployment's any more
        own = {key: value for key, value in self._definition.items() if key not in ("HostConfig", "Labels", "Image")}
        host = {**body["HostConfig"], **(self._definition.get("HostConfig") or {})}
        return {**body, **own, "HostConfig": host, "Labels": {**(self._definition.get("Labels") or {}), **body["Labels"]}}

    def taken_up(self, new: Told, old: Told, runs: bool) -> None:
        """What another process has made: `new` stands in the place of `old`, which runs when it is back."""
        self._new, self._old, self._ran = str(new["Id"]), old, runs


def _done() -> Work[Outcome]:
    yield from ()
    return Outcome("ok")


def _as(outcome: Outcome) -> Work[Outcome]:
    yield from ()
    return outcome


def create_body(
    old: Told, image: str, inherited: Mapping[str, Any], labels: Mapping[str, str], policy: Optional[Tuple[str, int]] = None
) -> Dict[str, Any]:
    """The body of a request that makes a container like `old` from `image`. inherited: the ``Config`` of the image `old` is made of."""
    config: Dict[str, Any] = copy.deepcopy(dict(of(old, "Config") or {}))
    host: Dict[str, Any] = copy.deepcopy(dict(of(old, "HostConfig") or {}))
    for key in _FROM_IMAGE:
        if key in config and config[key] == inherited.get(key):
            del config[key]
    given = inherited.get("Env") or ()
    config["Env"] = [each for each in config.get("Env") or () if each not in given]
    own = {key: value for key, value in (config.get("Labels") or {}).items() if (inherited.get("Labels") or {}).get(key) != value}
    config["Labels"] = {**own, **labels}
    config["Image"] = image
    mode = str(host.get("NetworkMode") or "")
    if str(config.get("Hostname") or "") == str(old.get("Id", ""))[:12] or mode.startswith("container:"):
        config.pop("Hostname", None)
    if mode.startswith("container:"):
        for key in ("Domainname", "ExposedPorts"):
            config.pop(key, None)
    config.pop("MacAddress", None)
    host["Binds"] = list(host.get("Binds") or ()) + anonymous_volumes(old, host)
    if policy is not None:
        host["RestartPolicy"] = {"Name": policy[0], "MaximumRetryCount": policy[1]}
    networks = _networks(old)
    first = dict(list(networks.items())[:1])
    return {**config, "HostConfig": host, "NetworkingConfig": {"EndpointsConfig": first}}


def anonymous_volumes(old: Told, host: Mapping[str, Any]) -> List[str]:
    """Volumes that only the engine has named: bound by name, they go over to the new container."""
    bound = {str(bind).split(":")[1] for bind in host.get("Binds") or () if ":" in str(bind)}
    bound |= {str(mount.get("Target")) for mount in host.get("Mounts") or ()}
    found = []
    for mount in of(old, "Mounts") or ():
        if mount.get("Type") == "volume" and mount.get("Name") and mount.get("Destination") not in bound:
            found.append("%s:%s%s" % (mount["Name"], mount["Destination"], "" if mount.get("RW", True) else ":ro"))
    return found


def _networks(old: Told) -> Dict[str, Dict[str, Any]]:
    """Networks with what somebody chose of them, that of the container's network mode first; none where it shares another's."""
    mode = str(of(old, "HostConfig", "NetworkMode") or "")
    if mode in ("host", "none") or mode.startswith("container:"):
        return {}
    identity = str(old.get("Id", ""))[:12]
    found: Dict[str, Dict[str, Any]] = {}
    for name, told in sorted((of(old, "NetworkSettings", "Networks") or {}).items(), key=lambda item: item[0] != mode):
        chosen = {key: told[key] for key in ("IPAMConfig", "Links", "DriverOpts") if told.get(key)}
        aliases = [alias for alias in told.get("Aliases") or () if alias != identity]
        found[name] = {**chosen, **({"Aliases": aliases} if aliases else {})}
    return found


def conflict(told: Told) -> str:
    """Whose container bears a name that is needed, for people."""
    image, created = of(told, "Config", "Image"), str(told.get("Created", ""))[:19]
    return "the name %s is taken by container %s (%s), made at %s from %s, which is not ours; rename or remove it" % (
        name_of(told),
        str(told.get("Id", ""))[:12],
        describe(told),
        created,
        image,
    )


def unfinished(name: str, there: Mapping[str, Tuple[str, Mapping[str, str]]]) -> bool:
    """Did a run that made a container anew end in the middle? there: id and labels of every container, by name.

    What a deployment left in the middle is its own: it is taken up by `deployment_resume`.
    """
    before = {there[each][0] for each in (name, name + OLD) if each in there}
    for each in (name, name + NEW):
        labels = there[each][1] if each in there else {}
        alone = each == name + NEW and not before and labels.get(OWNER) == name
        if REPLACES in labels and (labels[REPLACES] in before or alone) and DEPLOYMENT not in labels:
            return True
    return False


def mend(engine: ContainerEngine, name: str, runs: bool = True) -> Work[Union[Maker, Outcome, None]]:
    """Put that right; runs: what was stopped for it is started again. None where there is nothing to be done, as when somebody has stopped
    or paused the new one. A maker where the new one runs, and has still to be proven or undone. Not ok where the old one does not come up:
    then the new one stays beside it, by which the next run knows that it was stopped by us and by nobody else."""
    maker = Maker(engine, name)
    here, new, old = (yield from maker._found(name)), (yield from maker._found(name + NEW)), (yield from maker._found(name + OLD))
    there = {name_of(each): (str(each["Id"]), of(each, "Config", "Labels") or {}) for each in (here, new, old) if each is not None}
    if not unfinished(name, there):
        return None
    if here is not None and old is not None and of(here, "Config", "Labels", REPLACES) == old["Id"]:
        maker.taken_up(here, old, runs)
        if runs and of(here, "State", "Status") == "running":
            return maker
        if runs and (yield from left_to_somebody(engine, here)):
            return None
        return (yield from maker.undo())  # it never came up: the old one takes its place again
    return (yield from _unswapped(maker, here, new, old, runs)) if new is not None else None


def _unswapped(maker: Maker, here: Optional[Told], new: Told, old: Optional[Told], runs: bool) -> Work[Outcome]:
    """The new one has not got the name, or has lost it again."""
    identity = str(new["Id"])
    before = next((each for each in (here, old) if each is not None and each["Id"] == of(new, "Config", "Labels", REPLACES)), None)
    done = yield from _done()
    if here is None:
        # What it was to replace was dead, and is removed, when it is all that there is.
        done = yield from maker._rename(str((before or new)["Id"]), maker.name)
    elif before is not here:
        before = None  # somebody has made another one meanwhile: it is theirs
    if done.status != "ok":
        return done
    if before is None and here is None:
        return (yield from maker._start(identity)) if runs else done
    if of(new, "State", "Status") in LIVES:
        yield from maker._stop(identity, stop_timeout(new))
    if before is not None and runs and _stopped_for(new, before):
        done = yield from maker._up(str(before["Id"]))
    return (yield from maker._remove(identity)) if done.status == "ok" else done


def _stopped_for(new: Told, old: Told) -> bool:
    """Does it live, or was it, as far as times tell, stopped to make room? Whoever stopped it long after that is somebody else."""
    made, ended = moment(new.get("Created")), moment(of(old, "State", "FinishedAt"))
    lives = of(old, "State", "Status") in LIVES
    return lives or made is None or ended is None or ended <= made + OURS_FOR + stop_timeout(old)


def left_to_somebody(engine: ContainerEngine, told: Told) -> Work[bool]:
    """Has somebody stopped or paused it, beyond doubt?"""
    if of(told, "State", "Status") in ("paused", "stopping"):
        return True
    return by_hand(told, (yield from story_of(engine, told, math.inf))) is True


__all__ = ["Maker", "anonymous_volumes", "conflict", "create_body", "left_to_somebody", "mend", "unfinished"]
