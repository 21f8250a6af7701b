# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What AWX's image is built from, read by ansible-builder itself. No image is built: that needs a registry."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest
import yaml

pytest.importorskip("ansible_builder", reason="ansible-builder is in tests/requirements-test.txt")


def _builder(folder: pathlib.Path, *words: str) -> str:
    program = pathlib.Path(sys.executable).with_name("ansible-builder")
    done = subprocess.run([str(program), *words], capture_output=True, text=True, check=False, timeout=120, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_ansible_builder_finds_what_the_collection_needs(collection: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """An image that gets the collection gets SSH, and nothing of PyPI."""
    place = tmp_path / "ansible_collections" / "faultline"
    place.mkdir(parents=True)
    os.symlink(collection, place / "selfheal")
    found = yaml.safe_load(_builder(tmp_path, "introspect", str(tmp_path)))
    assert list(found.get("python", {})) == []
    assert sorted(line.split()[0] for line in found["system"]) == ["openssh-client", "openssh-clients"]


def test_the_example_is_a_definition_with_the_versions_of_this_release(repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """ansible-builder makes a build of it; collection, ansible-core and ansible-runner are pinned to what is tested here."""
    example = repository / "docs" / "examples" / "execution-environment.yml"
    _builder(tmp_path, "create", "-f", str(example), "-c", str(tmp_path / "context"), "--output-filename", "Containerfile")
    said = yaml.safe_load(example.read_text(encoding="utf-8"))["dependencies"]
    version = yaml.safe_load((repository / "galaxy.yml").read_text(encoding="utf-8"))["version"]
    assert said["galaxy"]["collections"] == [{"name": "faultline.selfheal", "version": version}]
    tested = [path.read_text(encoding="utf-8") for path in (repository / "tests").glob("requirements-*.txt")]
    for package in (said["ansible_core"]["package_pip"], said["ansible_runner"]["package_pip"]):
        assert any(line.split(";")[0] == package for text in tested for line in text.splitlines()), package
    context = (tmp_path / "context" / "Containerfile").read_text(encoding="utf-8")
    assert said["ansible_core"]["package_pip"] in context
    assert yaml.safe_load((tmp_path / "context" / "_build" / "requirements.yml").read_text(encoding="utf-8")) == said["galaxy"]
