# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A root with projects in a fresh directory, and reconciling in it."""

from __future__ import annotations

import os
import pathlib
from typing import Any, Optional

from selfheal._core.deployment import Deployment, Phase, Standing
from selfheal._engine.reconcile import Reconciler, Surroundings, summarise
from selfheal._engine.survey import Policy
from selfheal._records import journal
from selfheal._records.holds import Holds
from selfheal._records.lease_batch import ManyLeases
from selfheal._records.read import scan
from selfheal._records.timeline import Timeline


class Site:
    """A root with projects, and a host's records beside it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.root = folder / "www"
        self.root.mkdir()
        self.holds = Holds(str(folder / "state"), str(folder / "etc"))
        self.leases = ManyLeases(str(folder / "run" / "leases"))
        self.warnings: list[str] = []

    def project(
        self, name: str, *releases: str, active: Optional[str] = None, current: Optional[str] = None, public: bool = False
    ) -> pathlib.Path:
        """`active`: the release the journal says; None: there is no journal. `current`: the link's text."""
        place = self.root / name
        place.mkdir()
        for release in releases:
            (place / "deployments" / release).mkdir(parents=True)
            if public:
                (place / "deployments" / release / "public").mkdir()
        if active is not None:
            for number, release in enumerate(sorted(releases, key=lambda release: release == active)):
                self.journal(name, release, number)
        if current is not None:
            (place / "current").symlink_to(current)
        return place

    def journal(self, project: str, release: str, minute: int, **more: Any) -> None:
        folder = self.root / project / ".selfheal" / "deployments"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        at = "2026-11-21T21:%02d:00.000Z" % minute
        fields: dict[str, Any] = {"phase": Phase.ACTIVE, "activated_at": at, "standing": Standing("good", "active", at), **more}
        entry = Deployment(release, project, "deploy", fields.pop("release", release), at, at, **fields)
        (folder / ("%s.json" % release)).write_bytes(journal.dump(entry))

    def run(self, check: bool = False, services: Any = (), **options: Any) -> dict[str, dict[str, Any]]:
        """The results by project, and `summary`."""
        timeline = Timeline(str(self.folder / "state" / "timeline"), "web1")
        surroundings = Surroundings(self.holds, self.leases, timeline, services, check=check)
        reconciler = Reconciler(Policy(**{"root": str(self.root), **options}), surroundings)
        results = reconciler.run()
        self.warnings = reconciler.warnings
        found = {result.look.project: result.as_data(check, options.get("webroot") is not None) for result in results}
        found["summary"] = summarise(results)
        return found

    def current(self, project: str) -> str:
        return os.readlink(self.root / project / "current")

    def events(self) -> list[dict[str, Any]]:
        return list(scan(str(self.folder / "state" / "timeline"))) if (self.folder / "state" / "timeline").exists() else []
