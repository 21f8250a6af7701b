# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generated files are what their sources say."""

from __future__ import annotations

import importlib.util
import pathlib


def test_the_state_diagrams_are_current(repository: pathlib.Path) -> None:
    """A reader of docs/state-machines.md sees the machines that run."""
    spec = importlib.util.spec_from_file_location("state_machines", repository / "tests" / "tools" / "state_machines.py")
    assert spec is not None and spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    machines = [name for name, _summary, _table in generator.tables()]
    assert {"incident", "breaker"} <= set(machines)
    assert (repository / "docs" / "state-machines.md").read_text(encoding="utf-8") == generator.render(), "run: make docs"
