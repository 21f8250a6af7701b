# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the frame read: the committed files, and the Python sources among them."""

from __future__ import annotations

import ast
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
NEVER = {".git", ".venv", "dist", "output", ".ansible", "__pycache__", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache"}


def _files() -> list[pathlib.Path]:
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"], capture_output=True, check=False)
    if listed.returncode == 0:
        found = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    else:  # no git here, or not a checkout
        found = [path for path in ROOT.rglob("*") if not NEVER & set(path.relative_to(ROOT).parts)]
    return sorted(path for path in found if path.is_file() and not path.is_symlink())


class Source:
    """One Python file: its path relative to the checkout, its text and its syntax tree, read as Python 3.9 where hosts run it."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path.relative_to(ROOT)
        self.text = path.read_text(encoding="utf-8")
        self.tree = ast.parse(self.text, filename=str(self.path))

    def __str__(self) -> str:
        return self.path.as_posix()

    def below(self, *folders: str) -> bool:
        return str(self).startswith(tuple(folder + "/" for folder in folders))


@pytest.fixture(scope="session")
def committed() -> list[pathlib.Path]:
    """Every committed or new file, ignored ones left out."""
    return _files()


@pytest.fixture(scope="session")
def sources() -> list[Source]:
    """Every Python file of them."""
    return [Source(path) for path in _files() if path.suffix == ".py"]
