# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a power cut may leave: every file and directory as it was when it was last fsynced, and nothing that was not.

Each fsync is recorded with the content of what was fsynced. From the first k of them the tree is made anew: a directory has the names it
had then, a file the bytes it had then, and a file that was never fsynced is empty.
"""

from __future__ import annotations

import os
import pickle
import shutil
import stat


def look(descriptor):
    """The identity of an open file or directory, and what an fsync makes durable of it."""
    found = os.fstat(descriptor)
    if not stat.S_ISDIR(found.st_mode):
        with open("/proc/self/fd/%d" % descriptor, "rb") as file:
            return found.st_ino, file.read()
    entries = {}
    for name in os.listdir(descriptor):
        each = os.lstat(name, dir_fd=descriptor)
        link = os.readlink(name, dir_fd=descriptor) if stat.S_ISLNK(each.st_mode) else None
        entries[name] = (each.st_ino, stat.S_IMODE(each.st_mode), stat.S_ISDIR(each.st_mode), link)
    return found.st_ino, entries


def everything(base):
    """All that stands, as if it had been fsynced."""
    found = {}
    for folder, _folders, names in os.walk(base):
        for path in [folder] + [os.path.join(folder, name) for name in names]:
            if not os.path.islink(path):
                descriptor = os.open(path, os.O_RDONLY)
                identity, content = look(descriptor)
                found[identity] = content
                os.close(descriptor)
    return found


def recording(log):
    """From now on every fsync of this process is recorded in the file `log`."""
    records = []

    def wrap(name):
        real = getattr(os, name)

        def recorded(descriptor):
            real(descriptor)
            records.append(look(descriptor))
            with open(log, "wb") as file:
                pickle.dump(records, file)

        setattr(os, name, recorded)

    wrap("fsync")
    wrap("fdatasync")


def cut(base, before, records):
    """Let `base` be what a power cut leaves after these fsyncs."""
    durable = {**before, **dict(records)}
    root = os.stat(base).st_ino
    for name in os.listdir(base):
        path = os.path.join(base, name)
        shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
    _make(base, durable[root], durable)


def _make(folder, entries, durable):
    for name, (identity, mode, directory, link) in entries.items():
        path = os.path.join(folder, name)
        if link is not None:
            os.symlink(link, path)
        elif directory:
            os.mkdir(path, mode)
            _make(path, durable.get(identity, {}), durable)
        else:
            with open(path, "wb") as file:
                file.write(durable.get(identity, b""))
            os.chmod(path, mode)
