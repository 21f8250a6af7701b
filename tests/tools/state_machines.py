# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes docs/state-machines.md from the tables in ``_core``; ``--check`` says whether the file is current.

A table is a module's ``TRANSITIONS``: {(state, trigger): next state}, states and triggers being enumerations.
"""

from __future__ import annotations

import importlib
import os
import pathlib
import pkgutil
import sys
import types
from typing import Any, Iterator

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = ROOT / "docs" / "state-machines.md"
HEAD = """# State machines

Generated from the transition tables in `plugins/module_utils/_core` by `make docs`; a test holds it current. A pair of state and trigger
that is not listed is refused with an error and changes nothing.
"""


def library(root: pathlib.Path) -> None:
    """Makes the library at `root` importable as ``selfheal``, its name on the hosts."""
    if "selfheal" not in sys.modules:
        package = types.ModuleType("selfheal")
        package.__path__ = [str(root / "plugins" / "module_utils")]
        sys.modules["selfheal"] = package


def tables() -> Iterator[tuple[str, str, dict[tuple[Any, Any], Any]]]:
    """Yields (module name, first line of its documentation, table), in the modules' order."""
    core = importlib.import_module("selfheal._core")
    for found in sorted(pkgutil.iter_modules(core.__path__), key=lambda module: module.name):
        module = importlib.import_module("selfheal._core." + found.name)
        table = module.__dict__.get("TRANSITIONS")
        if table:
            yield found.name, (module.__doc__ or "").strip().splitlines()[0], table


def render() -> str:
    parts = [HEAD]
    for name, summary, table in tables():
        parts.append("\n## %s\n\n%s\n\n```mermaid\nstateDiagram-v2\n" % (name, summary))
        parts += ["    %s --> %s: %s\n" % (state.value, target.value, trigger.value) for (state, trigger), target in table.items()]
        parts.append("```\n\n| state | trigger | next state |\n|---|---|---|\n")
        parts += ["| %s | %s | %s |\n" % (state.value, trigger.value, target.value) for (state, trigger), target in table.items()]
    return "".join(parts + roles() + guards())


def roles() -> list[str]:
    """What each role of probe is taken to be before its first answer."""
    health = importlib.import_module("selfheal._core.health")
    words = {True: "passing", False: "failing", None: "undecided"}
    parts = ["\n## probes\n\n| role | before its first answer |\n|---|---|\n"]
    return parts + ["| %s | %s |\n" % (role, words[initial.passing]) for role, initial in health.INITIAL.items()]


def guards() -> list[str]:
    """The guards, in the order in which they are asked; the first that says no counts."""
    table = importlib.import_module("selfheal._core.guards").GUARDS
    parts = ["\n## guards\n\nAsked in this order before every action; the first that says no counts.\n\n| reason | meaning |\n|---|---|\n"]
    return parts + ["| %s | %s |\n" % (reason.value, " ".join(guard.__doc__.split())) for reason, guard in table]


def main() -> None:
    library(pathlib.Path(os.environ.get("SELFHEAL_COLLECTION_ROOT") or ROOT))
    text = render()
    if sys.argv[1:] == ["--check"]:
        if not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text:
            sys.exit("%s is not what the transition tables say; run: make docs" % TARGET.relative_to(ROOT))
    else:
        TARGET.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
