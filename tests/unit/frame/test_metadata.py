# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said at two places is said alike: modules, groups, versions, decisions, complaint ids."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import pathlib
import re
import tarfile
from typing import Any

import pytest
import yaml

COMPLAINTS = 68  # C01 to C68, the faults of existing healers that this one must be shown not to have


@pytest.fixture(scope="module")
def galaxy(repository: pathlib.Path) -> dict[str, Any]:
    return yaml.safe_load((repository / "galaxy.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def modules(repository: pathlib.Path) -> set[str]:
    return {path.stem for path in (repository / "plugins" / "modules").glob("*.py")} - {"__init__"}


def test_the_action_group_holds_every_module(repository: pathlib.Path, modules: set[str]) -> None:
    """module_defaults for the group reach all modules, and the group names none that is not there."""
    runtime = yaml.safe_load((repository / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    group = runtime["action_groups"]["selfheal"]
    assert group == sorted(modules)
    assert runtime["requires_ansible"] == ">=2.19.0"


def test_every_module_has_an_integration_target(repository: pathlib.Path, modules: set[str]) -> None:
    """A module that was never run by ansible-playbook is not shipped."""
    targets = repository / "tests" / "integration" / "targets"
    assert sorted(name for name in modules if not (targets / name / "tasks" / "main.yml").is_file()) == []


def test_every_action_plugin_has_its_documentation(repository: pathlib.Path, modules: set[str]) -> None:
    """ansible-doc knows each action by the module of the same name."""
    actions = {path.stem for path in (repository / "plugins" / "action").glob("*.py")} - {"__init__"}
    assert sorted(actions - modules) == []


def test_the_collection_stands_alone(galaxy: dict[str, Any]) -> None:
    """Installing it pulls nothing else in, and its name is the one everything else is written against."""
    named = {key: galaxy[key] for key in ("namespace", "name", "dependencies", "license")}
    assert named == {"namespace": "faultline", "name": "selfheal", "dependencies": {}, "license": ["GPL-3.0-or-later"]}


def test_the_library_says_the_version_of_the_collection(galaxy: dict[str, Any]) -> None:
    """`selfheal --version` on a host names the release that was installed on the controller."""
    from selfheal._version import VERSION

    assert galaxy["version"] == VERSION


def test_the_tarball_ships_what_a_user_runs_and_nothing_else(repository: pathlib.Path, collection: pathlib.Path) -> None:
    """The installed tarball has the plugins and the daemon, and neither tests nor anything a checkout collects."""
    if collection == repository:
        pytest.skip("the collection under test is the checkout; make unit tests the installed tarball")
    names = {path.name for path in collection.iterdir()}
    assert {"MANIFEST.json", "LICENSE", "meta", "plugins", "roles"} <= names
    assert not names & {"Makefile", "dist", "pyproject.toml", "galaxy.yml"}
    assert sorted(name for name in names if name.startswith(".")) == []
    assert not (collection / "tests" / "unit").exists()
    assert [path for path in collection.rglob("*") if path.is_symlink()] == []


def test_decisions_are_numbered_without_gaps(repository: pathlib.Path) -> None:
    """A reference to a decision by its number finds one file."""
    found = sorted(path.name for path in (repository / "docs" / "decisions").glob("*.md"))
    numbers = [name.split("-")[0] for name in found]
    assert numbers == ["%04d" % (index + 1) for index in range(len(found))]


def test_complaint_ids_named_in_tests_exist(repository: pathlib.Path) -> None:
    """A test that claims to hold a complaint holds one that is on the list."""
    wrong = []
    for path in sorted((repository / "tests").rglob("*.py")):
        for found in re.finditer(r"(?<![0-9A-Za-z])[Cc](\d{2,3})(?![0-9A-Za-z])", path.read_text(encoding="utf-8")):
            if not 1 <= int(found.group(1)) <= COMPLAINTS and path != pathlib.Path(__file__):
                wrong.append("%s: %s" % (path.relative_to(repository), found.group()))
    assert wrong == [], "\n" + "\n".join(wrong)


def test_every_make_target_is_in_the_help(repository: pathlib.Path) -> None:
    """`make help` lists all there is."""
    makefile = (repository / "Makefile").read_text(encoding="utf-8")
    phony = set(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE).group(1).split())  # type: ignore[union-attr]
    assert set(re.findall(r"^([a-z-]+):.* ## ", makefile, re.MULTILINE)) == phony
    scripts = set(re.findall(r"tests/tools/([a-z-]+\.sh)", makefile))
    assert sorted(name for name in scripts if not (repository / "tests" / "tools" / name).stat().st_mode & 0o100) == []


def test_the_tarball_packs_the_same_bytes_twice(repository: pathlib.Path) -> None:
    """Two builds of one source have one checksum, whatever the day, the order of the directory and the owner."""
    spec = importlib.util.spec_from_file_location("dist", repository / "tests" / "tools" / "dist.py")
    assert spec is not None and spec.loader is not None
    dist = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(dist)

    def members(names: list[str], mtime: int, owner: str) -> list[tuple[tarfile.TarInfo, bytes | None]]:
        files = {"format": 1, "files": [{"name": name, "ftype": "file"} for name in names]}
        content = {"MANIFEST.json": b'{"file_manifest_file": {"chksum_sha256": "?"}}', "FILES.json": json.dumps(files).encode()}
        content.update({name: name.encode() for name in names})
        found = []
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.mtime, info.uname = mtime, owner
            found.append((info, data))
        return found

    one = dist._pack(dist._sorted_manifest(members(["a", "b", "c"], 1, "root")))
    two = dist._pack(dist._sorted_manifest(members(["c", "a", "b"], 2, "someone")))
    assert one == two
    with tarfile.open(fileobj=io.BytesIO(one)) as archive:
        assert archive.getnames() == ["MANIFEST.json", "FILES.json", "a", "b", "c"]
        manifest, files = (archive.extractfile(name).read() for name in ("MANIFEST.json", "FILES.json"))  # type: ignore[union-attr]
    assert json.loads(manifest)["file_manifest_file"]["chksum_sha256"] == hashlib.sha256(files).hexdigest()
