# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes below each complaint of docs/complaints.md which tests hold it; ``--check`` says whether the file is current.

A test holds a complaint when the first line of its documentation names the id (``C28``), or a row in one of its tables begins with it. What
a complaint is stands in the document itself, in the line that begins with its id in bold; only the list below it is written here.
"""

from __future__ import annotations

import ast
import pathlib
import re
import sys
from typing import Iterator

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = ROOT / "docs" / "complaints.md"
SUMMARY = "Held by a test so far: "
IDS = re.compile(r"(?<![0-9A-Za-z])C(\d\d)(?![0-9A-Za-z])")
LEADING = re.compile(r"^(?:C\d\d[ ,:]+)+(?=\S)")
WIDTH = 100


def claims(root: pathlib.Path) -> dict[str, list[str]]:
    """For each id the tests that carry it, in the order of the files."""
    found: dict[str, list[str]] = {}
    for path in sorted((root / "tests").rglob("test_*.py")):
        where = path.relative_to(root / "tests").as_posix()
        for text, claim in _in_source(ast.parse(path.read_text(encoding="utf-8")), where):
            for number in IDS.findall(text.strip().splitlines()[0]):
                held = found.setdefault("C" + number, [])
                if claim not in held:
                    held.append(claim)
    return found


def _in_source(tree: ast.Module, where: str) -> Iterator[tuple[str, str]]:
    """Yields (text with ids, what to print) for documentation of the file and its functions, and for rows of tables."""
    seen = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                seen.add(id(first.value))
            text = ast.get_docstring(node)
            if text and IDS.search(text.splitlines()[0]):
                name = "" if isinstance(node, ast.Module) else "::" + node.name
                yield text, "`%s%s`" % (where, name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in seen and LEADING.match(node.value):
            yield node.value, "`%s`: %s" % (where, _short(LEADING.sub("", node.value)))


def _short(text: str) -> str:
    line = text.strip().splitlines()[0]
    return line if len(line) <= WIDTH else line[:WIDTH].rsplit(" ", 1)[0] + " …"


def render(text: str, held: dict[str, list[str]]) -> str:
    """The document with its lists and its count written anew."""
    lines = []
    known = re.findall(r"^\*\*(C\d\d)\*\*", text, re.MULTILINE)
    for line in text.splitlines():
        if line.startswith("- "):
            continue
        if line.startswith(SUMMARY):
            line = "%s%d of %d." % (SUMMARY, sum(1 for name in known if name in held), len(known))
        lines.append(line)
        complaint = re.match(r"\*\*(C\d\d)\*\*", line)
        if complaint:
            lines += ["- " + claim for claim in held.get(complaint.group(1), [])]
    return "\n".join(lines) + "\n"


def main() -> None:
    before = TARGET.read_text(encoding="utf-8")
    after = render(before, claims(ROOT))
    if sys.argv[1:] == ["--check"]:
        if before != after:
            sys.exit("%s is not what the tests say; run: make docs" % TARGET.relative_to(ROOT))
    else:
        TARGET.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
