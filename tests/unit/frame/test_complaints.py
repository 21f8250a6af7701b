# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/complaints.md says of each fault of other healers which test holds it, and says no more than the tests do."""

from __future__ import annotations

import ast
import importlib.util
import pathlib
import re
import types

import pytest


@pytest.fixture(scope="module")
def generator(repository: pathlib.Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("complaints", repository / "tests" / "tools" / "complaints.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_lists_are_current(repository: pathlib.Path, generator: types.ModuleType) -> None:
    """Whoever reads that a complaint is held finds the test that holds it."""
    text = (repository / "docs" / "complaints.md").read_text(encoding="utf-8")
    assert text == generator.render(text, generator.claims(repository)), "run: make docs"


def test_every_complaint_has_its_line(repository: pathlib.Path) -> None:
    """68 complaints, each once and in order, whether held or not."""
    text = (repository / "docs" / "complaints.md").read_text(encoding="utf-8")
    assert re.findall(r"^\*\*(C\d\d)\*\*", text, re.MULTILINE) == ["C%02d" % number for number in range(1, 69)]


def test_an_id_counts_where_a_test_says_what_it_holds(generator: types.ModuleType) -> None:
    """The first line of a documentation and the beginning of a row's name count; an id further down does not."""
    source = (
        '"""C10: of the file."""\nROWS = ["C11 C12 a row", "not C13"]\ndef test_it():\n    """C14: this.\n\n    C15 is told.\n    """\n'
    )
    found = {claim: text for text, claim in generator._in_source(ast.parse(source), "a.py")}
    assert sorted(found) == ["`a.py::test_it`", "`a.py`", "`a.py`: a row"]


def test_rendering_twice_changes_nothing(generator: types.ModuleType) -> None:
    """Old lists are replaced and counted anew, and the words around them stay."""
    text = "Held by a test so far: 9 of 9.\n\n**C01** one.\n- old\n\n**C02** two.\n- old\n"
    once = generator.render(text, {"C02": ["`a.py`: new"]})
    assert once == "Held by a test so far: 1 of 2.\n\n**C01** one.\n\n**C02** two.\n- `a.py`: new\n"
    assert generator.render(once, {"C02": ["`a.py`: new"]}) == once
