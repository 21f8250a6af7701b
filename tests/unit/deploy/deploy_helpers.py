# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A project in a directory of the test's own, deployed to for real: files, links, journals, probes and commands."""

from __future__ import annotations

import json
import os
import pathlib

from selfheal._core.model import WatchdogConfig
from selfheal._engine.deploy_site import DeploySite
from selfheal._engine.deployer import Deployer
from selfheal._probes.engine import LocalHost
from selfheal._records.journal import Journal


class Stage:
    """`root` holds the project ``web``; `version(text)` makes a source to upload; every deployment is one call."""

    def __init__(self, base, host):
        self.base = pathlib.Path(base)
        self.host = host
        self.root = self.base / "www"
        self.root.mkdir(mode=0o755)
        self.project = self.root / "web"
        self.config = WatchdogConfig("testhost", state_dir=str(self.base / "state"), run_dir=str(self.base / "run"))
        (self.base / "etc").mkdir()

    def site(self, source="module"):
        return DeploySite(str(self.base / "etc"), self.config, self.host, source)

    def version(self, text, name=None):
        place = self.base / "uploads" / (name or text)
        place.mkdir(parents=True)
        (place / "version").write_text(text)
        (place / "public").mkdir()
        (place / "public" / "index.html").write_text("<p>%s</p>" % text)
        return place

    def request(self, identity, path, **options):
        return {"root": str(self.root), "project": "web", "id": identity, "source": {"upload": {"path": str(path)}}, **options}

    def deployer(self, **options):
        return Deployer(self.site(), str(self.root), "web", **options)

    def deploy(self, identity, path=None, check=False, wait=0.0, **options):
        source = path or self.version(identity)
        return self.deployer(check=check, wait=wait).start(self.request(identity, source, **options))

    def rollback(self, to=None, check=False, **options):
        return self.deployer(check=check).rollback(to, **options)

    def resume(self, stuck_after=0.0, check=False):
        return self.deployer(check=check).resume(stuck_after)

    @property
    def current(self):
        """What `current` says; None when there is no such link."""
        try:
            return os.readlink(self.project / "current")
        except FileNotFoundError:
            return None

    def serves(self):
        """The version that a reader of `current` sees."""
        return (self.project / "current" / "version").read_text()

    def journal(self, identity):
        return json.loads((self.project / ".selfheal" / "deployments" / (identity + ".json")).read_text())

    def entries(self):
        return {entry.id: entry for entry in Journal(str(self.project / ".selfheal" / "deployments")).all()}

    def events(self):
        lines = []
        for path in sorted((self.base / "state" / "timeline").glob("*.jsonl")):
            lines += [json.loads(line) for line in path.read_text().splitlines()]
        return lines

    def releases(self):
        return sorted(path.name for path in (self.project / "deployments").iterdir())

    def own(self, *parts):
        return self.project.joinpath(".selfheal", *parts)


__all__ = ["LocalHost", "Stage"]
