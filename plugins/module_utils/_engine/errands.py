# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The healer's side of redeploy and rollback: an order, and the process that carries it out (`rungs`). Light, for the watchdog imports it.

The order goes over standard input, so that nothing of it stands on a command line. Where we are the installed archive, the errand is its
command line's, ``selfheal deployment redeploy``; elsewhere (in a module) a bare interpreter is shown where this library lies.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Dict, List, Tuple

from .._actuators.released import Errand
from .._core.model import Service, WatchdogConfig
from .._core.resource import resource_data
from .._host import Step
from .._records.files import Owner
from .._transient import OperatorCommand

# Importing by relative names only, the library can be called selfheal wherever it lies.
_BOOT = (
    "import sys, types; package = types.ModuleType('selfheal'); package.__path__ = [sys.argv.pop(1)]; sys.modules['selfheal'] = package; "
    "from selfheal._engine.errands import main; main()"
)


class Errands:
    """Makes the errands of one healer's services. `source` is what their events say: watchdog, module, operator."""

    def __init__(self, etc: str, config: WatchdogConfig, source: str) -> None:
        self._etc = etc
        self._config = config
        self._source = source

    def of(self, service: Service) -> Errand:
        def step(action: str, limit: float) -> Step:
            order = json.dumps(self.order(service, action)).encode("ascii")
            return OperatorCommand(self.argv(service, action), limit, stdin=order)

        return step

    def order(self, service: Service, action: str) -> Dict[str, Any]:
        """All that the errand must know."""
        release = service.release
        if release is None:
            raise ValueError("%s has no release" % service.name)
        config = self._config
        return {
            "action": action,
            "root": release.root,
            "project": release.project,
            "suspect_for": release.suspect_for,
            "service": service.name,
            "resource": resource_data(service.resource),
            "owner": Owner.current().as_data(),
            "source": self._source,
            "etc": self._etc,
            "host": config.host,
            "state_dir": config.state_dir,
            "run_dir": config.run_dir,
            "retention": config.retention,
        }

    def argv(self, service: Service, action: str) -> Tuple[str, ...]:
        release = service.release
        library = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        archive = os.path.dirname(library)
        if os.path.basename(library) == "selfheal" and os.path.isfile(archive) and release is not None:
            own = ("--etc", self._etc, "deployment", action, "--root", release.root, "--project", release.project, "--under", "-", "--json")
            return (sys.executable, "-I", archive, *own)
        return (sys.executable, "-I", "-c", _BOOT, library)


def main() -> None:
    """An errand in a bare interpreter: the order comes on standard input, the answer goes to standard output."""
    from .rungs import answer, obey

    parts: List[bytes] = []
    while True:
        part = os.read(0, 65536)
        if not part:
            break
        parts.append(part)
    os.write(1, (answer(obey(json.loads(b"".join(parts)))) + "\n").encode("ascii"))


__all__ = ["Errands", "main"]
