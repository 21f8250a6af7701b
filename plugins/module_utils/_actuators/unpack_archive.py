# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading archives that may be damaged or hostile: forward only, in bounded steps, and nothing is believed that was not counted."""

from __future__ import annotations

import stat
import tarfile
import zipfile
from typing import Any, BinaryIO, Iterator, Optional

from .unpack_tree import Limits, Tree, UnpackRefused

CHUNK = 1 << 20
_HEADERS = 1 << 20
"""Bytes of headers before one entry: a long name has some kilobytes, and tarfile reads the whole of them at once."""
_BLOCK = 512
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_LONGEST_LINK = 4096


class Forward:
    """A stream for `tarfile` that only goes forward, and not further than `limit` bytes."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file = file
        self._limit = limit
        self._position = 0
        self._headers = _HEADERS
        self.last = b""

    def tell(self) -> int:
        return self._position

    def seek(self, position: int, whence: int = 0) -> int:
        if whence != 0 or position < self._position:
            raise UnpackRefused("its headers lead backwards; the archive is damaged")
        while self._position < position and self._next(min(CHUNK, position - self._position)):
            continue
        return self._position

    def read(self, size: int = -1) -> bytes:
        """For tarfile, which reads nothing but headers with it."""
        self._headers -= max(size, 0)
        if size < 0 or self._headers < 0:
            raise UnpackRefused("its headers are larger than %d bytes before one entry" % _HEADERS)
        self.last = data = self._next(size)
        return data

    def allow_headers(self) -> None:
        """The next entry's headers begin."""
        self._headers = _HEADERS

    def content(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes. Raises UnpackRefused when there are not as many."""
        while size > 0:
            data = self._next(min(CHUNK, size))
            if not data:
                raise UnpackRefused("it ends in the middle of a file; the archive is cut off")
            size -= len(data)
            yield data

    def drain(self) -> None:
        """Read to the end, so that checksums of the compression are compared."""
        while self._next(CHUNK):
            continue

    def _next(self, size: int) -> bytes:
        data = self._file.read(size)
        self._position += len(data)
        if self._position > self._limit:
            raise UnpackRefused("it unpacks to more than %d bytes" % self._limit)
        return data


def read_tar(file: BinaryIO, tree: Tree, limits: Limits) -> None:
    """Unpack a tar stream that is not compressed (any more). Raises UnpackRefused, OSError, and what `tarfile` and `gzip` raise."""
    stream = Forward(file, limits.total_size + limits.entries * 4 * _BLOCK)
    fileobj: Any = stream
    with tarfile.open(fileobj=fileobj, mode="r:") as archive:
        while True:
            stream.allow_headers()
            member = archive.next()
            if member is None:
                break
            _member(member, stream, tree)
            # tarfile keeps every entry it has read; a million of them is a bomb, too.
            vars(archive)["members"] = []
    # tarfile takes a damaged header for the end of the archive. A real end is a block of zeros.
    if stream.last != b"\0" * _BLOCK:
        raise UnpackRefused("it is damaged or cut off: no end of archive was found")
    stream.drain()


def _member(member: tarfile.TarInfo, stream: Forward, tree: Tree) -> None:
    path = tree.path(member.name)
    if member.isdir():
        tree.directory(path, member.mode)
    elif member.issym():
        tree.link(path, member.linkname)
    elif member.islnk():
        tree.same_file(path, tree.path(member.linkname))
    elif member.sparse is not None or member.type == tarfile.GNUTYPE_SPARSE:
        raise UnpackRefused("%r is a sparse file; pack it without --sparse" % path)
    elif member.isreg():
        stream.seek(member.offset_data)
        tree.file(path, member.mode, member.size, stream.content(member.size), member.mtime)
    else:
        kinds = {tarfile.CHRTYPE: "a character device", tarfile.BLKTYPE: "a block device", tarfile.FIFOTYPE: "a FIFO"}
        kind = kinds.get(member.type, "an entry of type %r" % member.type)
        raise UnpackRefused("%r is %s; only files, directories and links are unpacked" % (path, kind))


def read_zip(file: BinaryIO, tree: Tree, limits: Limits) -> None:
    """Unpack a zip archive. Raises UnpackRefused, OSError, and what `zipfile` and the decompressor raise."""
    with zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        if len(infos) > limits.entries:
            raise UnpackRefused("it has %d entries; at most %d are unpacked" % (len(infos), limits.entries))
        for info in infos:
            _info(info, archive, tree)


def _info(info: zipfile.ZipInfo, archive: zipfile.ZipFile, tree: Tree) -> None:
    path = tree.path(info.filename)
    # The upper half is the mode where the archive was made on a Unix; elsewhere it is 0.
    mode = info.external_attr >> 16
    kind = stat.S_IFMT(mode)
    if info.flag_bits & 0x1:
        raise UnpackRefused("%r is encrypted; a release is unpacked without a password" % path)
    if info.is_dir() or kind == stat.S_IFDIR:
        tree.directory(path, mode & 0o7777 or 0o755)
        return
    if info.compress_type not in _METHODS:
        raise UnpackRefused("%r is compressed by method %d; only stored and deflated files are unpacked" % (path, info.compress_type))
    if kind == stat.S_IFLNK:
        target = b"".join(_content(archive, info, _LONGEST_LINK))
        tree.link(path, target.decode("utf-8", "surrogateescape"))
    elif kind in (0, stat.S_IFREG):
        tree.file(path, mode & 0o7777 or 0o644, info.file_size, _content(archive, info))
    else:
        raise UnpackRefused("%r is a device, FIFO or socket; only files, directories and links are unpacked" % path)


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, longest: Optional[int] = None) -> Iterator[bytes]:
    if longest is not None and info.file_size > longest:
        raise UnpackRefused("%r is a link of %d bytes; at most %d make sense" % (info.filename, info.file_size, longest))
    size = 0
    with archive.open(info) as source:
        while True:
            data = source.read(CHUNK)
            if not data:
                break
            size += len(data)
            yield data
    if size != info.file_size:
        raise UnpackRefused("%r has %d bytes, the directory of the archive says %d" % (info.filename, size, info.file_size))


__all__ = ["CHUNK", "Forward", "read_tar", "read_zip"]
