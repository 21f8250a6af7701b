# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployments of a tree of files: a release is a directory below ``deployments/``, complete and proven by its manifest."""

from __future__ import annotations

import os
import time
from typing import Any, List, Mapping

from .._actuators import manifest
from .._core.deployment import Phase
from .._core.reasons import Reason
from .deploy_run import PhaseFailed, Run
from .deploy_traffic import away
from .sources import build_commands, pulled, unpacked
from .strategy import Proof, Strategy


class TreeStrategy(Strategy):
    """A directory of files below ``deployments/``, current by a symbolic link."""

    def pull(self, run: Run) -> Proof:
        identity = pulled(run)
        run.keep(source=identity)
        return identity

    def build(self, run: Run) -> Proof:
        run.project.empty_trash()
        unpacked(run)
        outputs = build_commands(run)
        made = manifest.scan(run.project.build(run.entry.id), sync=True)
        if not made.entries:
            reason = Reason.BUILD_FAILED if run.request.build else Reason.SOURCE_MISSING
            raise PhaseFailed(reason, "There is no file in what would be released. See what the source holds, and deploy again.")
        made.write(run.project.built(run.entry.id))
        return {**made.summary(), **outputs}

    def copy(self, run: Run) -> Proof:
        project, identity = run.project, run.entry.id
        if project.stands(identity):
            self.verify(run)
            return dict(run.entry.manifest)
        built = run.project.build(identity)
        known = run.entry.proof(Phase.BUILDING)
        if not os.path.isdir(built):
            raise PhaseFailed(Reason.FILES_MISSING, "The build %s is gone, and no release was made of it yet. Deploy again." % built)
        before = manifest.load(project.built(identity), str(known.get("sha256")))
        if run.entry.resumed:
            problems = manifest.verify(built, before, but=[each.path for each in run.request.shared])
            if problems:
                raise PhaseFailed(Reason.TAMPERED, "The build %s has changed since: %s. Deploy again." % (built, _some(problems)))
        linked = project.link_shared(built, run.request.shared)
        made = before.with_links(linked)
        made.write(project.manifest(identity))
        run.keep(manifest=made.summary())
        project.promote(identity)
        project.discard_build(identity)
        return {**made.summary(), "shared": sorted(linked)}

    def verify(self, run: Run) -> None:
        verify_release(run, run.entry.release, run.entry.manifest)

    def switch(self, run: Run) -> Proof:
        project, target = run.project, run.target
        before = project.current_target()
        took = 0.0
        if before != target:
            away(run)
            if run.entry.previous is None:
                run.keep(previous=before, left=project.current())
            began = time.monotonic()
            project.switch(target)
            took = time.monotonic() - began
        proof: Proof = {"current": target, "before": run.entry.previous, "took_ms": round(took * 1000.0, 3)}
        outcome = run.restart()
        if outcome is not None:
            if outcome.status != "ok":
                raise PhaseFailed(Reason.RESTART_FAILED, "Restarting what runs the release: %s" % outcome.detail)
            proof["restarted"] = outcome.detail
        return proof

    def switch_back(self, run: Run) -> List[str]:
        entry, problems = run.entry, []
        if entry.previous is None:
            return []  # nothing was swapped yet
        if run.project.current_target() == run.target:
            run.project.switch(entry.previous)
        if not entry.previous:
            return []  # there was no release before: nothing that could be started
        outcome = run.restart()
        if outcome is not None and outcome.status != "ok":
            problems.append("restarting on the release before: %s" % outcome.detail)
        return problems

    def clear(self, run: Run) -> List[str]:
        if run.entry.kind == "rollback":
            return []
        run.project.discard_build(run.entry.id)
        if run.project.current() == run.entry.release:
            return ["release %s stays: current leads to it" % run.entry.release]
        run.project.set_aside(run.entry.id)
        return []


def verify_release(run: Run, release: str, summary: Mapping[str, Any]) -> None:
    """Raises PhaseFailed when a release does not stand, or is not what was deployed."""
    place = run.project.release(release)
    if not run.project.stands(release):
        raise PhaseFailed(Reason.FILES_MISSING, "The release %s is missing." % place)
    if not summary:
        raise PhaseFailed(Reason.FILES_MISSING, "The release %s has no manifest: nothing proves that it is complete." % place)
    try:
        expected = manifest.load(run.project.manifest(release), str(summary.get("sha256")))
        problems = manifest.verify(place, expected)
    except manifest.TreeProblem as error:
        raise PhaseFailed(Reason.TAMPERED, str(error)) from error
    if problems:
        raise PhaseFailed(Reason.TAMPERED, "The release %s is not what was deployed: %s." % (place, _some(problems)))


def _some(problems: List[str]) -> str:
    more = ", and %d more" % (len(problems) - 3) if len(problems) > 3 else ""
    return "; ".join(problems[:3]) + more


__all__ = ["TreeStrategy"]
