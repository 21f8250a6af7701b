# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The zip application: a function of its sources alone, complete, isolated, and replaced only when it differs."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import zipfile

import pytest

from ansible_collections.faultline.selfheal.plugins.plugin_utils import _archive

CLI = """
import json
import sys

from .._core import thing


def main():
    print(json.dumps([thing.NAME, sys.argv[1:], sys.path]))
    return 3
"""
FILES = {
    "plugins/module_utils/__init__.py": "",
    "plugins/module_utils/_module.py": "import ansible\n",
    "plugins/module_utils/_core/__init__.py": "",
    "plugins/module_utils/_core/thing.py": 'NAME = "thing"\n',
    "roles/watchdog/files/daemon/__init__.py": "",
    "roles/watchdog/files/daemon/cli.py": CLI,
}


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> pathlib.Path:
    """A small collection, in a path with a space."""
    return write(tmp_path / "a tree")


def write(root: pathlib.Path, names: list[str] | None = None) -> pathlib.Path:
    for name in names or list(FILES):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(FILES[name], encoding="utf-8")
    return root


def test_a_second_build_changes_nothing(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """An unchanged source is an unchanged file: same checksum, same inode, not reported as changed."""
    dest = tmp_path / "selfheal.pyz"
    first = _archive.build(str(dest), str(tree))
    inode = dest.stat().st_ino
    second = _archive.build(str(dest), str(tree))
    assert (first.changed, first.previous, first.size) == (True, None, dest.stat().st_size)
    assert (second.changed, second.previous, second.sha256) == (False, first.sha256, first.sha256)
    assert dest.stat().st_ino == inode
    assert dest.stat().st_mode & 0o777 == 0o644


def test_it_depends_on_bytes_only(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Another place, order of creation, time, mode, or a cache and an editor's leftovers beside the sources: same archive."""
    other = write(tmp_path / "elsewhere", list(reversed(FILES)))
    for path in other.rglob("*.py"):
        path.chmod(0o755)
        os.utime(path, (time.time() - 1e7, time.time() - 1e7))
    for name in ("__pycache__/thing.cpython-39.pyc", ".thing.py.swp", "thing.py~", "#thing.py#", ".#thing.py", "notes.txt", "thing.orig"):
        litter = other / "plugins/module_utils/_core" / name
        litter.parent.mkdir(exist_ok=True)
        litter.write_text("litter", encoding="utf-8")
    assert _archive.render(str(tree)) == _archive.render(str(other))


def test_every_python_here_builds_the_same(collection: pathlib.Path, tree: pathlib.Path) -> None:
    """A controller's upgrade to another Python does not restart a fleet."""
    script = "import hashlib, importlib.util, sys; s = importlib.util.spec_from_file_location('a', sys.argv[1]); "
    script += "m = importlib.util.module_from_spec(s); s.loader.exec_module(m); print(hashlib.sha256(m.render(sys.argv[2])).hexdigest())"
    source = collection / "plugins" / "plugin_utils" / "_archive.py"
    sums = {}
    for name in (sys.executable, "/usr/bin/python3", *("python3.%d" % minor for minor in range(11, 15))):
        path = shutil.which(name)
        if path and subprocess.run([path, "-c", "pass"], capture_output=True, check=False).returncode == 0:
            sums[path] = subprocess.run(
                [path, "-I", "-B", "-c", script, str(source), str(tree)], capture_output=True, text=True, check=True
            ).stdout.strip()
    assert len(sums) >= 1
    assert len(set(sums.values())) == 1, sums


def test_one_changed_byte_is_another_archive(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A changed source reaches the hosts, and the result names what was there before."""
    dest = tmp_path / "selfheal.pyz"
    before = _archive.build(str(dest), str(tree))
    (tree / "plugins/module_utils/_core/thing.py").write_text('NAME = "thinh"\n', encoding="utf-8")
    after = _archive.build(str(dest), str(tree))
    assert after.changed and after.previous == before.sha256 != after.sha256


def test_check_mode_predicts_and_writes_nothing(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """What check mode says is what the real run does."""
    dest = tmp_path / "selfheal.pyz"
    predicted = _archive.build(str(dest), str(tree), check_mode=True)
    assert predicted.changed and not dest.exists()
    assert _archive.build(str(dest), str(tree)) == predicted


def test_it_holds_the_library_and_the_daemon_but_not_what_needs_ansible(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Sorted, stored, with one fixed time and mode; `_module.py` stays on the controller."""
    dest = tmp_path / "selfheal.pyz"
    _archive.build(str(dest), str(tree))
    with zipfile.ZipFile(dest) as archive:
        infos = archive.infolist()
    assert [info.filename for info in infos] == [
        "__main__.py",
        "selfheal/__init__.py",
        "selfheal/_core/__init__.py",
        "selfheal/_core/thing.py",
        "selfheal/daemon/__init__.py",
        "selfheal/daemon/cli.py",
    ]
    assert {(info.date_time, info.compress_type, info.external_attr >> 16) for info in infos} == {((1980, 1, 1, 0, 0, 0), 0, 0o100644)}


def test_it_runs_isolated(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Neither PYTHONPATH nor the current directory can put a module before ours; the exit status and the arguments pass through."""
    hostile = tmp_path / "hostile"
    (hostile / "selfheal").mkdir(parents=True)
    (hostile / "selfheal" / "__init__.py").write_text("raise SystemExit(99)\n", encoding="utf-8")
    dest = tmp_path / "selfheal.pyz"
    _archive.build(str(dest), str(tree))
    run = subprocess.run(
        [sys.executable, "-I", str(dest), "status", "--json"],
        env={**os.environ, "PYTHONPATH": str(hostile)},
        cwd=hostile,
        capture_output=True,
        text=True,
        check=False,
    )
    name, arguments, path = json.loads(run.stdout)
    assert (run.returncode, name, arguments) == (3, "thing", ["status", "--json"])
    assert path[0] == str(dest) and str(hostile) not in path


@pytest.mark.parametrize(
    "name", ["plugins/module_utils/_core/linked.py", "plugins/module_utils/_linked", "roles/watchdog/files/daemon/x.py"]
)
def test_a_symbolic_link_is_refused(tree: pathlib.Path, tmp_path: pathlib.Path, name: str) -> None:
    """What runs as root on a fleet is what lies in the collection, not what a link in it points at."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (tree / name).symlink_to(outside)
    dest = tmp_path / "selfheal.pyz"
    with pytest.raises(_archive.ArchiveError, match="%s is a symbolic link to %s" % (pathlib.Path(name).name, outside)):
        _archive.build(str(dest), str(tree))
    assert not dest.exists()


@pytest.mark.parametrize(
    "name",
    [
        "plugins/module_utils/_core/__init__.py",
        "roles/watchdog/files/daemon/cli.py",
        "roles/watchdog/files/daemon/__init__.py",
    ],
)
def test_an_incomplete_tree_is_refused(tree: pathlib.Path, tmp_path: pathlib.Path, name: str) -> None:
    """Half a daemon never reaches a host, and the message names the missing file."""
    (tree / name).unlink()
    with pytest.raises(_archive.ArchiveError, match="%s is missing" % name):
        _archive.build(str(tmp_path / "selfheal.pyz"), str(tree))


def test_a_missing_directory_is_named(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A typing error in `dest` makes no directories."""
    with pytest.raises(_archive.ArchiveError, match="directory %s/nowhere does not exist; create it" % tmp_path):
        _archive.build(str(tmp_path / "nowhere" / "selfheal.pyz"), str(tree))
    assert not (tmp_path / "nowhere").exists()


def test_a_failed_write_leaves_the_old_file_and_no_other(
    tree: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk in the middle of writing costs nothing that was there."""
    folder = tmp_path / "out"
    folder.mkdir()
    dest = folder / "selfheal.pyz"
    dest.write_bytes(b"the old one")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        _archive.build(str(dest), str(tree))
    assert [(path.name, path.read_bytes()) for path in folder.iterdir()] == [("selfheal.pyz", b"the old one")]


def test_a_module_named_like_the_daemon_is_refused(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A library package `daemon` and the daemon would silently overwrite each other in the archive."""
    (tree / "plugins/module_utils/daemon").mkdir()
    for name in ("__init__.py", "cli.py"):
        (tree / "plugins/module_utils/daemon" / name).write_text("", encoding="utf-8")
    with pytest.raises(_archive.ArchiveError, match="hide the daemon"):
        _archive.build(str(tmp_path / "selfheal.pyz"), str(tree))
