# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployments of kind ``image``: a release is a small directory that names an image by its id, and current is what the container is of.

So the journal, the link ``current``, manifests, rollback and pruning are those of files. The container is made anew beside the old one and
takes its name; the old one stays, stopped, as ``<name>.selfheal-old`` until the next deployment. A rollback goes to the image of the
release before, by its id. Only a container that a deployment of ours made is ever replaced.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

from .._actuators import container_state as states
from .._actuators import manifest
from .._actuators.base import Timed, Work
from .._actuators.container_engine import ContainerEngine
from .._actuators.container_make import Maker, conflict
from .._actuators.container_state import Told, of
from .._core.containers import OLD, OWNER, RELEASE, REPLACES
from .._core.deployment_request import Source
from .._core.reasons import Reason
from .._host import Host, Outcome
from .._proc import Pause
from .._records.files import make_directory, read_file, replace_file
from .deploy_run import PhaseFailed, Run, drive
from .phases import Proof, TreeStrategy, away
from .resources import container_engine

RECORD = "image.json"
WITHIN = 30.0
_POLL = 0.25
_LIMIT = 1024 * 1024
_KEYS = ("reference", "container", "definition")


class Wanted(NamedTuple):
    """reference: an image of the engine. container: its name. definition: what it is made of, as ``POST /containers/create`` takes it."""

    reference: str
    container: str
    definition: Mapping[str, Any] = {}


def wanted_of(source: Source) -> Wanted:
    """What ``source.image`` says. Raises PhaseFailed."""
    options = {key: value for key, value in (source.options or {}).items() if value is not None}
    unknown = sorted(set(options) - set(_KEYS))
    if unknown:
        raise PhaseFailed(Reason.UNSUPPORTED, "source.image: unknown key %s; expected %s" % (unknown[0], ", ".join(_KEYS)))
    for key in ("reference", "container"):
        if not isinstance(options.get(key), str) or not options[key]:
            raise PhaseFailed(Reason.UNSUPPORTED, "source.image.%s: is required, a name" % key)
    if not isinstance(options.get("definition", {}), Mapping):
        raise PhaseFailed(Reason.UNSUPPORTED, "source.image.definition: expected a mapping")
    return Wanted(options["reference"], options["container"], options.get("definition", {}))


def identified(host: Host, source: Source, pinned: Optional[str] = None) -> Dict[str, Any]:
    """The source's identity: the image's id on this engine. Raises PhaseFailed where it has none, before anything is touched."""
    wanted = wanted_of(source)
    outcome = _ask(host, container_engine(), "GET", "/images/%s/json" % (pinned or wanted.reference))
    if outcome.reason is Reason.NO_SUCH_CONTAINER:
        words = "image %s is not on this engine; pull or load it first. Nothing was touched." % (pinned or wanted.reference)
        raise PhaseFailed(Reason.IMAGE_MISSING, words)
    _must(outcome)
    image = str(of(outcome.data["body"], "Id") or "")
    return {"kind": "image", "reference": wanted.reference, "image": image, "container": wanted.container}


class ImageStrategy(TreeStrategy):
    """A container of an image."""

    def pull(self, run: Run) -> Proof:
        wanted = wanted_of(run.request.source)
        if run.request.build or run.request.shared:
            raise PhaseFailed(Reason.UNSUPPORTED, "build and shared are for trees of files; an image brings its own")
        identity = identified(run.host, run.request.source, run.entry.source.get("image"))
        self._ours(run, wanted)
        run.keep(source=identity)
        return identity

    def build(self, run: Run) -> Proof:
        run.project.empty_trash()
        wanted, folder = wanted_of(run.request.source), run.project.build(run.entry.id)
        record = {**run.entry.source, "definition": dict(wanted.definition)}
        make_directory(folder, 0o755)
        replace_file(os.path.join(folder, RECORD), json.dumps(record, sort_keys=True).encode("ascii"), 0o600)
        made = manifest.scan(folder, sync=True)
        made.write(run.project.built(run.entry.id))
        return made.summary()

    def verify(self, run: Run) -> None:
        super().verify(run)
        record = self._record(run, run.entry.release)
        outcome = _ask(run.host, container_engine(), "GET", "/images/%s/json" % record["image"])
        if outcome.reason is Reason.NO_SUCH_CONTAINER:
            raise PhaseFailed(Reason.IMAGE_MISSING, "The image %s of release %s is gone." % (record["reference"], run.entry.release))

    def switch(self, run: Run) -> Proof:
        project, target = run.project, run.target
        before = project.current_target()
        if before != target:
            away(run)
            if run.entry.previous is None:
                run.keep(previous=before, left=project.current())
            project.switch(target)
        began = time.monotonic()
        done = self._stand(run, run.entry.release)
        took = round((time.monotonic() - began) * 1000.0, 3)
        return {"current": target, "before": run.entry.previous, "took_ms": took, "restarted": done}

    def switch_back(self, run: Run) -> List[str]:
        entry = run.entry
        if entry.previous is None:
            return []  # nothing was swapped yet
        if run.project.current_target() == run.target:
            run.project.switch(entry.previous)
        record = self._record(run, entry.release)
        release = run.project.release_of(entry.previous) if entry.previous else None
        try:
            self._back(run, record, release)
        except PhaseFailed as error:
            return ["putting the container before back: %s" % error]
        return []

    # -- the container

    def _back(self, run: Run, record: Mapping[str, Any], before: Optional[str]) -> None:
        """Let the container before serve again. Raises PhaseFailed."""
        engine, name = container_engine(), str(record["container"])
        here, old = self._inspect(run, name), self._inspect(run, name + OLD)
        if old is not None and here is not None and of(here, "Config", "Labels", REPLACES) == old["Id"]:
            maker = Maker(engine, name)
            maker.taken_up(here, old)
            _must(run.drive(maker.undo()))
        elif before is not None:
            self._stand(run, before)
        elif here is not None and of(here, "Config", "Labels", RELEASE) == run.entry.release:
            _must(_ask(run.host, engine, "DELETE", "/containers/%s" % here["Id"], (("force", "1"), ("v", "0"))))

    def _stand(self, run: Run, release: str) -> str:
        """The container of that release runs, and its own health check has passed. Done again it does nothing. Raises PhaseFailed."""
        record = self._record(run, release)
        engine, name = container_engine(), str(record["container"])
        here = self._ours(run, Wanted(record["reference"], name))
        labels = {OWNER: name, RELEASE: release}
        if here is None:
            self._create(run, record, {**labels, REPLACES: ""})
        elif of(here, "Config", "Labels", RELEASE) != release or here.get("Image") != record["image"]:
            maker = Maker(engine, name, record["image"], labels, definition=record.get("definition") or {})
            _must(run.drive(maker.make(here)))
        elif of(here, "State", "Status") != "running":
            _must(_ask(run.host, engine, "POST", "/containers/%s/start" % here["Id"]))
        run.drive(self._healthy(run, engine, name))
        return "container %s runs image %s" % (name, str(record["image"])[7:19])

    def _create(self, run: Run, record: Mapping[str, Any], labels: Mapping[str, str]) -> None:
        engine, name = container_engine(), str(record["container"])
        definition = dict(record.get("definition") or {})
        body = {**definition, "Image": record["image"], "Labels": {**(definition.get("Labels") or {}), **labels}}
        made = _must(_ask(run.host, engine, "POST", "/containers/create", (("name", name),), body))
        _must(_ask(run.host, engine, "POST", "/containers/%s/start" % of(made.data["body"], "Id")))

    def _healthy(self, run: Run, engine: ContainerEngine, name: str) -> Work[None]:
        """Wait for its own health check, where it has one. Raises PhaseFailed."""
        end = run.host.monotonic() + run.request.health_within
        while True:
            outcome = yield Timed(engine.call("GET", "/containers/%s/json" % name), WITHIN)
            told = _must(outcome).data["body"]
            if of(told, "State", "Status") != "running":
                raise PhaseFailed(Reason.UNHEALTHY, "%s: %s" % (states.describe(told), states.health_said(told)))
            if states.health(told) in (None, "healthy"):
                return None
            if states.health(told) == "unhealthy" or run.host.monotonic() >= end:
                raise PhaseFailed(Reason.UNHEALTHY, "%s %s" % (states.describe(told), states.health_said(told)))
            yield Timed(Pause(), _POLL)

    def _ours(self, run: Run, wanted: Wanted) -> Optional[Told]:
        """What bears the name, None if nothing does. Raises PhaseFailed (name_conflict) when it is somebody else's."""
        told = self._inspect(run, wanted.container)
        if told is not None and of(told, "Config", "Labels", OWNER) != wanted.container:
            raise PhaseFailed(Reason.NAME_CONFLICT, "%s. Nothing was touched." % conflict(told))
        return told

    def _inspect(self, run: Run, name: str) -> Optional[Told]:
        outcome = _ask(run.host, container_engine(), "GET", "/containers/%s/json" % name)
        if outcome.reason is Reason.NO_SUCH_CONTAINER:
            return None
        told: Told = _must(outcome).data["body"]
        return told if states.name_of(told) == name else None

    def _record(self, run: Run, release: str) -> Dict[str, Any]:
        path = os.path.join(run.project.release(release), RECORD)
        try:
            found = json.loads(read_file(path, _LIMIT))
        except (OSError, ValueError) as error:
            raise PhaseFailed(Reason.FILES_MISSING, "%s: %s" % (path, error)) from error
        if not isinstance(found, dict) or not all(isinstance(found.get(key), str) for key in ("image", "reference", "container")):
            raise PhaseFailed(Reason.TAMPERED, "%s names no image and container" % path)
        return found


def _ask(host: Host, engine: ContainerEngine, method: str, path: str, *more: Any) -> Outcome:
    """One request, waited for."""

    def work() -> Work[Outcome]:
        outcome = yield Timed(engine.call(method, path, *more), WITHIN)
        return outcome

    return drive(host, work())


def _must(outcome: Outcome) -> Outcome:
    """Raises PhaseFailed with the engine's own words unless it was done."""
    if outcome.status != "ok":
        raise PhaseFailed(outcome.reason or Reason.ACTION_FAILED, outcome.detail)
    return outcome


__all__ = ["ImageStrategy", "identified", "wanted_of"]
