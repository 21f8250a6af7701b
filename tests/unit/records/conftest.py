# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A clock that only moves when told, timelines in a fresh directory, real small disks, and children that can be killed."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from typing import Any, Callable, Iterator, List

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
PRELUDE = """
import os, sys, types
for name, folder in (("selfheal", %r),):
    module = types.ModuleType(name)
    module.__path__ = [folder]
    sys.modules[name] = module
""" % str(ROOT / "plugins" / "module_utils")


class Clock:
    def __init__(self, now: float = 1795294218.123) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spawn() -> Iterator[Callable[..., Any]]:
    """Start Python children with the library importable; none survives the test."""
    children: List[Any] = []

    def start(code: str, *arguments: str, **options: Any) -> Any:
        options.setdefault("stdout", subprocess.PIPE)
        child = subprocess.Popen([sys.executable, "-I", "-c", PRELUDE + code, *arguments], **options)
        children.append(child)
        return child

    yield start
    for child in children:
        if child.poll() is None:
            child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe:
                pipe.close()


@pytest.fixture
def small_disk(tmp_path: pathlib.Path) -> Iterator[Callable[..., pathlib.Path]]:
    """Mount a tmpfs of a few pages: a disk that is really full, or really read-only."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    mounted: List[pathlib.Path] = []

    def mount(options: str) -> pathlib.Path:
        target = tmp_path / ("disk%d" % len(mounted))
        target.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(target)], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip("mounting a tmpfs is not allowed here: %s" % done.stderr.strip())
        mounted.append(target)
        return target

    yield mount
    for target in mounted:
        subprocess.run(["umount", "-l", str(target)], check=True)
