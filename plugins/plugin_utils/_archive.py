# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds ``selfheal.pyz``: the library and the daemon as one zip application.

Note that this is a private utility of this collection; other collections must not import it.

The archive is a function of the bytes of its sources and of nothing else: entries are sorted, carry one fixed time and one fixed mode, and
are stored, not deflated (compressors differ between Python builds, so a compressed archive's checksum would too). An unchanged collection
therefore gives an unchanged checksum on every controller, and a fleet is not restarted for nothing.
Why it is stored and has no byte code: docs/decisions/0002-zip-application.md.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tempfile
import zipfile
from typing import Iterator, NamedTuple

# `-I` (isolated) keeps PYTHONPATH, the user's site directory and the current directory out of a process that runs as root.
SHEBANG = b"#!/usr/bin/python3 -I\n"
MAIN = (
    b"from __future__ import annotations\n\nimport sys\n\nfrom selfheal.daemon.cli import main\n\n"
    b'if __name__ == "__main__":\n    sys.exit(main())\n'
)
LIBRARY = os.path.join("plugins", "module_utils")
DAEMON = os.path.join("roles", "watchdog", "files", "daemon")
# The AnsibleModule side needs Ansible, which a managed host does not have.
WITHOUT = frozenset(["_module.py"])
# The oldest time a zip file can say.
EPOCH = (1980, 1, 1, 0, 0, 0)


class ArchiveError(Exception):
    """The archive cannot be built from this tree; says which path, what was found and what to do."""


class Built(NamedTuple):
    """The archive that is now at `path`: its SHA-256 (hex), its size in bytes, and whether it was written."""

    path: str
    sha256: str
    size: int
    changed: bool
    previous: str | None  # SHA-256 of what stood there before, None when nothing did


def collection_root() -> str:
    """The directory of the collection this file belongs to, installed or checked out."""
    here = os.path.dirname(os.path.abspath(__file__))
    return os.path.dirname(os.path.dirname(here))


def _sources(folder: str, package: str) -> Iterator[tuple[str, str]]:
    """Yields (path, name in the archive) of every Python file below `folder`. Raises ArchiveError on links and missing packages."""
    for found in (folder, os.path.join(folder, "__init__.py")):
        if not os.path.lexists(found):
            raise ArchiveError("building selfheal.pyz: %s is missing; the collection is incomplete, install it again" % found)
    for entry in sorted(os.scandir(folder), key=lambda item: item.name):
        name = entry.name
        if name == "__pycache__" or name.startswith("."):
            continue
        if entry.is_symlink():
            raise ArchiveError(
                "building selfheal.pyz: %s is a symbolic link to %s; the archive takes real files only, replace the link by the file"
                % (entry.path, os.readlink(entry.path))
            )
        if entry.is_dir():
            yield from _sources(entry.path, package + "/" + name)
        elif name.endswith(".py") and entry.is_file() and name[:-3].isidentifier():
            yield entry.path, package + "/" + name


def entries(root: str) -> dict[str, bytes]:
    """The archive's files by their names in it, read from the collection at `root`."""
    found = {"__main__.py": MAIN}
    for folder, package in ((LIBRARY, "selfheal"), (DAEMON, "selfheal/daemon")):
        for path, name in _sources(os.path.join(root, folder), package):
            if package == "selfheal" and name.startswith("selfheal/daemon/"):
                raise ArchiveError("building selfheal.pyz: %s would hide the daemon's own package; give it another name" % path)
            if os.path.basename(path) in WITHOUT:
                continue
            with open(path, "rb") as source:
                found[name] = source.read()
    if "selfheal/daemon/cli.py" not in found:
        raise ArchiveError(
            "building selfheal.pyz: %s is missing; without it the archive has nothing to run" % os.path.join(DAEMON, "cli.py")
        )
    return found


def render(root: str) -> bytes:
    """The archive's bytes, from the collection at `root`. Raises ArchiveError, OSError."""
    # Kept in memory: it is half a megabyte, and what stands at the destination is compared before anything is written.
    buffer = io.BytesIO()
    buffer.write(SHEBANG)
    with zipfile.ZipFile(buffer, "w", compression=zipfile.ZIP_STORED) as archive:
        for name, data in sorted(entries(root).items()):
            info = zipfile.ZipInfo(name, date_time=EPOCH)
            info.compress_type = zipfile.ZIP_STORED
            info.create_system = 3  # Unix, on every controller
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, data)
    return buffer.getvalue()


def _present(path: str) -> bytes | None:
    try:
        with open(path, "rb") as archive:
            return archive.read()
    except FileNotFoundError:
        return None


def _replace(path: str, data: bytes) -> None:
    folder = os.path.dirname(path)
    handle, temporary = tempfile.mkstemp(prefix=".selfheal-", suffix=".pyz", dir=folder)
    try:
        with os.fdopen(handle, "wb") as archive:
            archive.write(data)
            archive.flush()
            os.fchmod(archive.fileno(), 0o644)
            os.fsync(archive.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def build(dest: str, root: str | None = None, check_mode: bool = False) -> Built:
    """Leaves the archive of the collection at `root` (default: this one) at `dest`, a file name or an existing directory.

    The file is replaced atomically and only when its bytes differ. With `check_mode` everything but the writing is done.
    Raises ArchiveError when the tree cannot be archived or `dest` has no parent directory, OSError when reading or writing fails.
    """
    path = os.path.abspath(dest)
    if os.path.isdir(path):
        path = os.path.join(path, "selfheal.pyz")
    if not os.path.isdir(os.path.dirname(path)):
        raise ArchiveError(
            "building selfheal.pyz: the directory %s does not exist; create it, or choose another dest" % os.path.dirname(path)
        )
    data = render(root or collection_root())
    before = _present(path)
    changed = before != data
    if changed and not check_mode:
        _replace(path, data)
    previous = None if before is None else hashlib.sha256(before).hexdigest()
    return Built(path, hashlib.sha256(data).hexdigest(), len(data), changed, previous)


__all__ = ["ArchiveError", "Built", "build", "collection_root", "entries", "render"]
