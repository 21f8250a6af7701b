# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making a release's files from an archive or a directory: whole and durable, or not at all.

It blocks, and it reads what others packed: run it in a child with a deadline. The standard library's own filters (``tarfile.data_filter``)
are not in every Python that a managed host may have, and know neither limits nor zip archives.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import Any, BinaryIO, Iterator, List, Optional

from .._records.files import cause, sync_directory
from .libc import sync_filesystem
from .unpack_tree import Limits, Tree, UnpackError, UnpackRefused

_FEW = 64
_CHUNK = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def unpack(source_path: str, into: str, limits: Optional[Limits] = None) -> Optional[str]:
    """Unpack an archive (tar, tar.gz, zip; told by its first bytes) or copy a directory to `into`, which must not exist.

    Returns the SHA-256 of the archive's bytes in hex, None for a directory. Files belong to whom we are; setuid, setgid and sticky bits
    and writing by group and others are taken away; times of files are kept. On return everything is on the disk.
    Raises UnpackRefused for what may not be unpacked, UnpackError for what could not be; `into` is then gone again.
    """
    limits = limits or Limits()
    what = "Unpacking %s into %s" % (source_path, into)
    try:
        with contextlib.ExitStack() as open_files:
            source = os.open(source_path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
            open_files.callback(os.close, source)
            mode = os.fstat(source).st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise UnpackRefused("it is neither a file nor a directory")
            os.mkdir(into, 0o700)
            try:
                root = os.open(into, _DIRECTORY)
                open_files.callback(os.close, root)
                digest = _fill(source, stat.S_ISDIR(mode), root, limits)
                sync_directory(os.path.dirname(os.path.abspath(into)))
            except BaseException as error:
                _discard(into, error)
                raise
            return digest
    except UnpackRefused as error:
        raise UnpackRefused("%s: %s. Nothing was left behind." % (what, error)) from error
    except OSError as error:
        known = cause(error) if error.errno else str(error)
        raise UnpackError("%s: %s%s" % (what, known, _hint(error, into))) from error


def _discard(into: str, why: BaseException) -> None:
    try:
        remove_tree(into)
    except OSError as error:
        raise UnpackError("%s; and what was written in %s could not be removed: %s. Remove it." % (why, into, cause(error))) from error


def _hint(error: OSError, into: str) -> str:
    if error.errno == errno.EEXIST:
        return ". %s must not exist before." % into
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ". Nothing was left behind; make room and try again."
    return ". Nothing was left behind."


def _fill(source: int, is_directory: bool, root: int, limits: Limits) -> Optional[str]:
    tree = Tree(root, limits)
    digest = None
    if is_directory:
        _Copy(tree, os.fstat(root), limits).below(source, "")
    else:
        digest = _extract(source, tree, limits)
    tree.finish()
    _sync(root, tree)
    return digest


class _Copy:
    """Copies a directory; never follows a link, and never steps into the copy itself."""

    def __init__(self, tree: Tree, itself: os.stat_result, limits: Limits) -> None:
        self._tree = tree
        self._itself = (itself.st_dev, itself.st_ino)

    def below(self, descriptor: int, path: str) -> None:
        found = os.fstat(descriptor)
        if (found.st_dev, found.st_ino) == self._itself:
            raise UnpackRefused("the copy would lie in the directory that is copied")
        self._tree.directory(path, stat.S_IMODE(found.st_mode))
        for name in sorted(os.listdir(descriptor)):
            self._entry(descriptor, name, self._tree.path("%s/%s" % (path, name) if path else name))

    def _entry(self, parent: int, name: str, path: str) -> None:
        mode = os.lstat(name, dir_fd=parent).st_mode
        if stat.S_ISLNK(mode):
            self._tree.link(path, os.readlink(name, dir_fd=parent))
            return
        if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
            raise UnpackRefused("%r is a device, FIFO or socket; only files, directories and links are copied" % path)
        flags = _DIRECTORY if stat.S_ISDIR(mode) else os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(name, flags, dir_fd=parent)
        try:
            found = os.fstat(descriptor)
            if stat.S_ISDIR(found.st_mode):
                self.below(descriptor, path)
            elif stat.S_ISREG(found.st_mode):
                chunks = iter(lambda: os.read(descriptor, _CHUNK), b"")
                self._tree.file(path, stat.S_IMODE(found.st_mode), found.st_size, chunks, found.st_mtime)
            else:
                raise UnpackRefused("%r was exchanged while it was copied" % path)
        finally:
            os.close(descriptor)


def _extract(source: int, tree: Tree, limits: Limits) -> str:
    import gzip
    import hashlib

    from .unpack_archive import read_tar, read_zip

    digest = hashlib.sha256()
    with os.fdopen(os.dup(source), "rb") as file:
        first = file.read(4)
        file.seek(0)
        with _damage():
            if first[:2] == b"\x1f\x8b":
                with gzip.GzipFile(fileobj=_hashed(file, digest), mode="rb") as unzipped:
                    plain: Any = unzipped
                    read_tar(plain, tree, limits)
            elif first in (b"PK\x03\x04", b"PK\x05\x06"):
                _hash(file, digest)
                read_zip(file, tree, limits)
                _unchanged(file, digest.digest())
            elif _is_tar(file):
                read_tar(_hashed(file, digest), tree, limits)
            else:
                raise UnpackRefused("it begins with %r; expected a tar, tar.gz or zip archive, or a directory" % first)
    return digest.hexdigest()


@contextlib.contextmanager
def _damage() -> Iterator[None]:
    """What the libraries raise when an archive is not what it says it is."""
    import struct
    import tarfile
    import zipfile
    import zlib

    wrong = (tarfile.TarError, zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, IndexError, NotImplementedError)
    try:
        yield
    except wrong as error:
        raise UnpackRefused("it is damaged: %s" % (error or type(error).__name__)) from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise UnpackRefused("it is damaged: %s" % error) from error


class _Hashed:
    """A file whose bytes are hashed as they are read, once each and in order."""

    def __init__(self, file: BinaryIO, digest: Any) -> None:
        self._file = file
        self._digest = digest

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._digest.update(data)
        return data


def _hashed(file: BinaryIO, digest: Any) -> Any:
    return _Hashed(file, digest)


def _hash(file: BinaryIO, digest: Any) -> None:
    file.seek(0)
    for chunk in iter(lambda: file.read(_CHUNK), b""):
        digest.update(chunk)
    file.seek(0)


def _unchanged(file: BinaryIO, before: bytes) -> None:
    """A zip archive is read here and there, so it is hashed before and after."""
    import hashlib

    digest = hashlib.sha256()
    _hash(file, digest)
    if digest.digest() != before:
        raise UnpackRefused("it was changed while it was unpacked; try again when it is complete")


def _is_tar(file: BinaryIO) -> bool:
    head = file.read(512)
    file.seek(0)
    return len(head) == 512 and (head[257:262] == b"ustar" or not any(head))


def _sync(root: int, tree: Tree) -> None:
    """Everything that was written is on the disk."""
    made: List[str] = [path or "." for path, kind in tree.everything() if kind != "link"]
    if len(made) > _FEW and sync_filesystem(root):
        return
    for path in reversed(made):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_tree(path: str) -> None:
    """Remove a directory with all that is in it; a link in it goes, what it points to stays. Raises OSError."""
    import shutil

    shutil.rmtree(path)


__all__ = ["Limits", "UnpackError", "UnpackRefused", "remove_tree", "unpack"]
