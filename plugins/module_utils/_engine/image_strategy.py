# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployments of kind ``image``: a release is a small directory that names an image by its id, and current is what the container is of.

So the journal, the link ``current``, manifests, rollback and pruning are those of files. How a container takes the place of the one before
stands in `image_stand`, how that is undone in `image_back`. A rollback goes to the image of the release before, by its id. Only a container
that a deployment of ours made is ever replaced.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from typing import Any, Dict, List, Mapping, Sequence

from .._actuators import manifest
from .._core.containers import BESIDE
from .._core.deployment_request import Route, Source
from .._core.image_request import Wanted, joined, rendered
from .._core.reasons import Reason
from .._core.targets import NamedTarget
from .._host import Host
from .._records.files import make_directory, read_file, replace_file
from .deploy_run import PhaseFailed, Run
from .image_back import Back
from .image_bodies import own_port
from .image_engine import Containers, patiently
from .image_gate import targets
from .image_source import identified, wanted_of
from .image_stand import Recorded, Stand, recorded_of
from .strategy import Proof
from .tree_strategy import TreeStrategy

RECORD = "image.json"
_LIMIT = 4 * 1024 * 1024


def foreseen(host: Host, source: Source) -> Dict[str, Any]:
    """As `identified`, when every name that is needed is free or ours. Raises PhaseFailed."""
    identity = identified(host, source)
    _names_free(host, wanted_of(source))
    return identity


class ImageStrategy(TreeStrategy):
    """A container of an image."""

    def pull(self, run: Run) -> Proof:
        wanted = wanted_of(run.request.source)
        if run.request.build or run.request.shared:
            raise PhaseFailed(Reason.UNSUPPORTED, "build and shared are for trees of files; an image brings its own")
        identity = identified(run.host, run.request.source, run.entry.source.get("image"))
        _names_free(run.host, wanted)
        run.keep(source=identity)
        return identity

    def build(self, run: Run) -> Proof:
        run.project.empty_trash()
        wanted, folder = wanted_of(run.request.source), run.project.build(run.entry.id)
        record = {**wanted._asdict(), **run.entry.source}
        make_directory(folder, 0o755)
        replace_file(os.path.join(folder, RECORD), json.dumps(record, sort_keys=True).encode("ascii"), 0o600)
        made = manifest.scan(folder, sync=True)
        made.write(run.project.built(run.entry.id))
        return made.summary()

    def verify(self, run: Run) -> None:
        super().verify(run)
        record = self._record(run, run.entry.release)
        if Containers(run.host).image(str(record["image"])) is None:
            words = "The image %s (%s) of release %s is gone from this engine; load it again."
            raise PhaseFailed(Reason.IMAGE_MISSING, words % (record["reference"], str(record["image"])[7:19], run.entry.release))

    def switch(self, run: Run) -> Proof:
        return patiently(run.host, lambda: self._switch(run))

    def _switch(self, run: Run) -> Proof:
        project, target = run.project, run.target
        before = project.current_target()
        if before != target and run.entry.previous is None:
            run.keep(previous=before, left=project.current())
        stand = self._stand(run)
        began = time.monotonic()
        stand.ready()
        proven = time.monotonic()
        project.switch(target)
        done = stand.take()
        took = {"ready_ms": _milliseconds(proven - began), "took_ms": _milliseconds(time.monotonic() - proven)}
        return {"current": target, "before": run.entry.previous, **took, "restarted": done, "switch": str(stand.switch)}

    def routes(self, run: Run) -> Sequence[Route]:
        """Leading to the container that now bears the name."""
        if not run.request.routes:
            return ()
        stand = self._stand(run)
        told = patiently(run.host, stand.named)
        if told is None:
            raise PhaseFailed(Reason.ROUTE_FAILED, "there is no container %s any more to which a route could lead" % stand.name)
        return [replace(each, content=rendered(each.content, lambda port: joined(*own_port(told, port)))) for each in run.request.routes]

    def targets(self, run: Run) -> Sequence[NamedTarget]:
        stand = self._stand(run)
        told = patiently(run.host, stand.named)
        if told is None:
            raise PhaseFailed(Reason.UNHEALTHY, "there is no container %s any more" % stand.name)
        return targets(told, run.request.health)

    def settle(self, run: Run) -> Proof:
        """The container before has had its time. What cannot be done about it changes nothing about the new one, which is proven."""
        try:
            return patiently(run.host, lambda: self._stand(run).retire())
        except PhaseFailed as error:
            if error.reason is Reason.ENGINE_DOWN:
                raise
            run.note("the container before could not be stopped: %s" % error)
            return {}

    def before_back(self, run: Run) -> List[str]:
        if run.entry.previous is None:
            return []
        return patiently(run.host, lambda: self._back(run).first())

    def switch_back(self, run: Run) -> List[str]:
        entry = run.entry
        if entry.previous is None:
            return []  # nothing was begun that serves
        if run.project.current_target() == run.target:
            run.project.switch(entry.previous)
        return patiently(run.host, lambda: self._back(run).then())

    # -- what releases say

    def _stand(self, run: Run) -> Stand:
        release = run.entry.release
        return Stand(run, recorded_of(release, run.project.release(release), self._record(run, release)))

    def _back(self, run: Run) -> Back:
        # By the journal: the release itself may be in quarantine already, when whoever undoes it was killed in the middle.
        recorded = Recorded(run.entry.release, str(run.entry.source.get("image") or ""), wanted_of(run.request.source))
        release = run.project.release_of(run.entry.previous) if run.entry.previous else None
        if release is None or release == run.entry.release:
            return Back(Stand(run, recorded), None)
        return Back(Stand(run, recorded), recorded_of(release, run.project.release(release), self._record(run, release)))

    def _record(self, run: Run, release: str) -> Mapping[str, Any]:
        path = os.path.join(run.project.release(release), RECORD)
        try:
            found = json.loads(read_file(path, _LIMIT))
        except (OSError, ValueError) as error:
            raise PhaseFailed(Reason.FILES_MISSING, "%s: %s" % (path, error)) from error
        if not isinstance(found, dict):
            raise PhaseFailed(Reason.TAMPERED, "%s names no image and container" % path)
        return found


def _names_free(host: Host, wanted: Wanted) -> None:
    """Raises PhaseFailed where somebody else's container bears a name that is needed, or the engine cannot do what will be needed."""
    containers = Containers(host)
    policy = str((wanted.host_config.get("RestartPolicy") or {}).get("Name") or "no")
    if policy != "no" and containers.image(wanted.reference) is not None and 0 < int(containers.podman.partition(".")[0] or 0) < 5:
        words = "Podman %s cannot take its restart policy %s from a container that stands, as a deployment has to; deploy without one"
        raise PhaseFailed(Reason.UNSUPPORTED, words % (containers.podman, policy))
    for suffix in ("",) + BESIDE:
        containers.ours(wanted.container + suffix, wanted.container)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000.0, 3)


__all__ = ["ImageStrategy", "foreseen"]
