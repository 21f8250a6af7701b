# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release consists of: every file with its size and SHA-256, every link with its target. It proves that a release is complete.

A service may add files to its release while it runs (compiled modules, sockets); it is complete as long as everything that was deployed
is as it was. Nothing is reached through a link: every step goes through an open directory.
"""

from __future__ import annotations

import json
import os
import stat
from typing import Any, Dict, Iterable, List, Tuple

from .._core.errors import SelfhealError
from .._records.files import cause, make_directory, read_file, replace_file
from .libc import sync_filesystem

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK = 1 << 20
_LIMIT = 256 << 20
_FEW = 64

# Path below the release → [size, sha256, "x" if it may be executed] for a file, ["link", target] for a link.
Entries = Dict[str, List[Any]]


class TreeProblem(SelfhealError):
    """A release's files could not be read; names the path and the cause."""


class Manifest:
    """`entries`, and what the journal keeps of them: how many files and bytes, and one SHA-256 over all."""

    def __init__(self, entries: Entries) -> None:
        self.entries = entries

    def data(self) -> bytes:
        return (json.dumps({"schema": 1, "entries": self.entries}, sort_keys=True, separators=(",", ":")) + "\n").encode("ascii")

    def summary(self) -> Dict[str, Any]:
        import hashlib

        files = [entry for entry in self.entries.values() if entry[0] != "link"]
        digest = hashlib.sha256(self.data()).hexdigest()
        return {"files": len(files), "bytes": sum(entry[0] for entry in files), "sha256": digest}

    def with_links(self, links: Dict[str, str]) -> "Manifest":
        """The same tree after these paths have become links."""
        kept = {path: entry for path, entry in self.entries.items() if not any(_under(path, link) for link in links)}
        kept.update((path, ["link", target]) for path, target in links.items())
        return Manifest(kept)

    def write(self, path: str) -> None:
        """Raises RecordError."""
        make_directory(os.path.dirname(path))
        replace_file(path, self.data())


def load(path: str, digest: str) -> Manifest:
    """The manifest in a file, if it is the one whose SHA-256 the journal has. Raises TreeProblem."""
    import hashlib

    try:
        raw = read_file(path, _LIMIT)
        if hashlib.sha256(raw).hexdigest() != digest:
            raise TreeProblem("The manifest %s is not the one that the journal knows: somebody has changed it." % path)
        return Manifest(json.loads(raw)["entries"])
    except OSError as error:
        raise TreeProblem("Reading the manifest %s: %s" % (path, cause(error))) from error
    except (ValueError, KeyError, TypeError) as error:
        raise TreeProblem("Reading the manifest %s: %s" % (path, error)) from error


def scan(root: str, sync: bool = False, but: Iterable[str] = ()) -> Manifest:
    """Read a whole tree. `sync`: make it durable as well. `but`: paths that are left out, with all below. Raises TreeProblem."""
    entries: Entries = {}
    skipped = tuple(but)
    descriptors: List[Tuple[str, bool]] = []
    try:
        descriptor = os.open(root, _DIRECTORY)
        try:
            _read(descriptor, "", entries, skipped, descriptors)
            if sync:
                _sync(root, descriptor, descriptors)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise TreeProblem("Reading the release %s: %s" % (root, cause(error))) from error
    return Manifest(entries)


def _read(folder: int, path: str, entries: Entries, skipped: Tuple[str, ...], made: List[Tuple[str, bool]]) -> None:
    made.append((path or ".", True))
    for name in sorted(os.listdir(folder)):
        below = "%s/%s" % (path, name) if path else name
        if below in skipped:
            continue
        mode = os.lstat(name, dir_fd=folder).st_mode
        shown = os.fsencode(below).decode("utf-8", "backslashreplace")
        if stat.S_ISLNK(mode):
            entries[shown] = ["link", os.fsencode(os.readlink(name, dir_fd=folder)).decode("utf-8", "backslashreplace")]
        elif stat.S_ISDIR(mode):
            descriptor = os.open(name, _DIRECTORY, dir_fd=folder)
            try:
                _read(descriptor, below, entries, skipped, made)
            finally:
                os.close(descriptor)
        elif stat.S_ISREG(mode):
            entries[shown] = _file(folder, name)
            made.append((below, False))


def _file(folder: int, name: str) -> List[Any]:
    import hashlib

    descriptor = os.open(name, _FILE, dir_fd=folder)
    try:
        digest, size = hashlib.sha256(), 0
        while True:
            chunk = os.read(descriptor, _CHUNK)
            if not chunk:
                break
            digest.update(chunk)
            size += len(chunk)
        return [size, digest.hexdigest()] + (["x"] if os.fstat(descriptor).st_mode & stat.S_IXUSR else [])
    finally:
        os.close(descriptor)


def _sync(root: str, descriptor: int, made: List[Tuple[str, bool]]) -> None:
    if len(made) > _FEW and sync_filesystem(descriptor):
        return
    # Deepest first: a directory is durable only with what is in it.
    for path, directory in reversed(made):
        each = os.open(os.path.join(root, path), _DIRECTORY if directory else _FILE)
        try:
            os.fsync(each)
        finally:
            os.close(each)


def differences(expected: Manifest, found: Manifest) -> List[str]:
    """What of `expected` is missing or another, in words; what is there besides is no difference."""
    problems = []
    for path, entry in expected.entries.items():
        other = found.entries.get(path)
        if other is None:
            problems.append("%s is missing" % path)
        elif other != entry:
            problems.append("%s is not what was deployed" % path)
    return problems


def verify(root: str, expected: Manifest, but: Iterable[str] = ()) -> List[str]:
    """What is wrong with a release, in words; empty: it is complete and unchanged. Raises TreeProblem."""
    skipped = tuple(but)
    kept = {path: entry for path, entry in expected.entries.items() if not any(_under(path, each) for each in skipped)}
    return differences(Manifest(kept), scan(root, but=skipped))


def _under(path: str, top: str) -> bool:
    return path == top or path.startswith(top + "/")


__all__ = ["Manifest", "TreeProblem", "differences", "load", "scan", "verify"]
