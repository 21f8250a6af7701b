# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A project's tree on the disk: its releases, what they share, the link to the current one, and our own folder beside them.

::

    <root>/<project>/deployments/<id>/   one release; complete or absent: it comes and goes by one rename
                     shared/             what releases have in common
                     current             -> deployments/<id>
                     .selfheal/          for its owner alone: journals, manifests, builds under way, sources, quarantine

Nothing is reached through a symbolic link below the root, and nothing outside the project is ever removed.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

from .._core.deployment import valid_id
from .._core.deployment_request import Shared
from .._core.errors import SelfhealError
from .._records.files import cause, make_directory, sweep, sync_directory
from . import links
from .unpack import remove_tree

CURRENT = "current"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
QUARANTINED = 3
"""So many failed releases are kept for whoever asks why."""


class ReleaseRefused(SelfhealError):
    """A project's tree is not as it must be; names the place, what was found and what to do. Nothing was changed."""


class Project:
    """One project. `root` may be reached through a link (it is resolved once); the project itself may not be one."""

    def __init__(self, root: str, name: str) -> None:
        self.given = os.path.join(root, name)
        self.root = os.path.realpath(root)
        self.name = name
        self.path = os.path.join(self.root, name)
        self.deployments = os.path.join(self.path, "deployments")
        self.shared = os.path.join(self.path, "shared")
        self.own = os.path.join(self.path, ".selfheal")
        self.journals = os.path.join(self.own, "deployments")

    # -- places

    def release(self, identity: str) -> str:
        return os.path.join(self.deployments, _checked(identity))

    def build(self, identity: str) -> str:
        return os.path.join(self.own, "build", _checked(identity))

    def manifest(self, identity: str) -> str:
        return os.path.join(self.own, "manifests", _checked(identity) + ".json")

    def built(self, identity: str) -> str:
        """The manifest of a build, before what is shared was linked in."""
        return os.path.join(self.own, "built", _checked(identity) + ".json")

    def output(self, identity: str) -> str:
        return os.path.join(self.own, "output", _checked(identity) + ".log")

    def quarantine(self, identity: str) -> str:
        return os.path.join(self.own, "quarantine", _checked(identity))

    def routes(self, identity: str) -> str:
        return os.path.join(self.own, "routes", _checked(identity) + ".json")

    def archive(self, digest: str) -> str:
        return os.path.join(self.own, "sources", digest)

    # -- what stands

    def check(self) -> bool:
        """Is it safe to work in? False when there is no such project yet. Raises ReleaseRefused."""
        try:
            root = os.stat(self.root)
        except OSError as error:
            raise ReleaseRefused("The root %s: %s. Create it first, for its owner alone to write." % (self.root, cause(error))) from error
        self._safe(self.root, root)
        for path in (self.path, self.deployments, self.shared):
            try:
                found = os.lstat(path)
            except FileNotFoundError:
                if path == self.path:
                    return False
                continue
            except OSError as error:
                raise ReleaseRefused("Looking at %s: %s" % (path, cause(error))) from error
            self._safe(path, found)
        return True

    def _safe(self, path: str, found: os.stat_result) -> None:
        if stat.S_ISLNK(found.st_mode):
            raise ReleaseRefused("%s is a symbolic link; expected a directory. Name the directory itself, or remove the link." % path)
        if not stat.S_ISDIR(found.st_mode):
            raise ReleaseRefused("%s is no directory. Move it away." % path)
        if found.st_mode & stat.S_IWOTH:
            raise ReleaseRefused("Anyone may write to %s, and so exchange what is deployed there. chmod o-w it." % path)
        if found.st_uid not in (0, os.geteuid()):
            words = "%s belongs to uid %d; whoever that is could exchange what uid %d deploys there. Deploy as that user, or chown it."
            raise ReleaseRefused(words % (path, found.st_uid, os.geteuid()))

    def prepare(self) -> None:
        """Have all directories. Raises RecordError."""
        make_directory(self.path, 0o755)
        make_directory(self.deployments, 0o755)
        make_directory(self.shared, 0o755)
        make_directory(self.own, 0o700)
        for name in ("deployments", "build", "built", "tar", "manifests", "sources", "quarantine", "output", "routes", "trash"):
            make_directory(os.path.join(self.own, name), 0o700)

    def current_target(self) -> str:
        """What the link says; "" when there is none. Raises ReleaseRefused where something else stands in its place."""
        found = links.read(self.path, CURRENT)
        if found.kind == "link":
            return found.target or ""
        if found.kind != "missing":
            words = "A %s stands at %s, where the link to the current release belongs. Move it away, or let symlink_reconcile back it up."
            raise ReleaseRefused(words % (found.kind, os.path.join(self.path, CURRENT)))
        return ""

    def release_of(self, target: str) -> Optional[str]:
        """Which release of ours a link's target means; None for anything else."""
        folder, name = os.path.split(target.rstrip("/"))
        if folder not in ("deployments", "./deployments", self.deployments) or not valid_id(name):
            return None
        return name

    def current(self) -> Optional[str]:
        """The release that is current, if it stands. Raises ReleaseRefused."""
        release = self.release_of(self.current_target())
        return release if release is not None and self.stands(release) else None

    def stands(self, identity: str) -> bool:
        """Is there a directory of that release, and no link in its place?"""
        try:
            return stat.S_ISDIR(os.lstat(self.release(identity)).st_mode)
        except OSError:
            return False

    def standing(self) -> List[str]:
        """The releases whose directories stand. Raises ReleaseRefused."""
        try:
            names = os.listdir(self.deployments)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ReleaseRefused("Listing %s: %s" % (self.deployments, cause(error))) from error
        return sorted(name for name in names if valid_id(name) and self.stands(name))

    # -- changes

    def switch(self, target: str) -> None:
        """Let `current` say `target`; "" takes it away. One rename, durable on return. Raises LinkRefused."""
        if target:
            links.swap(self.path, CURRENT, target)
            return
        if self.current_target():
            os.unlink(os.path.join(self.path, CURRENT))
            sync_directory(self.path)

    def promote(self, identity: str) -> None:
        """Make a build that is complete and durable a release. Raises ReleaseRefused."""
        build, release = self.build(identity), self.release(identity)
        try:
            os.rename(build, release)
            sync_directory(self.deployments)
            sync_directory(os.path.dirname(build))
        except OSError as error:
            raise ReleaseRefused("Moving %s to %s: %s" % (build, release, cause(error))) from error

    def set_aside(self, identity: str) -> None:
        """Take a release that failed out of the way, for whoever asks why; the oldest of those are removed. Raises OSError."""
        if not self.stands(identity):
            return
        to = self.quarantine(identity)
        if os.path.lexists(to):
            self.remove(to)
        os.rename(self.release(identity), to)
        sync_directory(self.deployments)
        folder = os.path.dirname(to)
        kept = sorted(os.listdir(folder), key=lambda name: os.lstat(os.path.join(folder, name)).st_ctime_ns)
        for name in kept[:-QUARANTINED]:
            self.remove(os.path.join(folder, name))

    def remove(self, path: str) -> None:
        """Remove a directory of this project: by a rename it is gone at once. Links in it are not followed. Raises OSError."""
        folder = os.path.realpath(os.path.dirname(path))
        if folder != self.path and not folder.startswith(self.path + "/"):
            raise OSError(errno.EPERM, "it lies outside of the project", path)
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode):
            os.unlink(path)
            return
        trash = os.path.join(self.own, "trash")
        make_directory(trash, 0o700)
        to = os.path.join(trash, "%s-%d-%d" % (os.path.basename(path), found.st_ino, os.getpid()))
        os.rename(path, to)
        sync_directory(folder)
        _remove_all(to)

    def discard_build(self, identity: str) -> None:
        """Nothing of a build stays. Raises OSError."""
        for path in (self.build(identity), self.built(identity), os.path.join(self.own, "tar", _checked(identity))):
            if os.path.lexists(path):
                self.remove(path)

    def empty_trash(self) -> None:
        """What a cleaning that was killed has left. Raises OSError."""
        trash = os.path.join(self.own, "trash")
        try:
            names = os.listdir(trash)
        except FileNotFoundError:
            return
        for name in names:
            _remove_all(os.path.join(trash, name))

    def sweep(self) -> None:
        """Remove the unfinished files and links of those who died here. Raises OSError, LinkRefused."""
        with links.opened(self.path) as descriptor:
            links.sweep(descriptor)
        for folder in ("deployments", "manifests", "built", "sources", "routes"):
            place = os.path.join(self.own, folder)
            if os.path.isdir(place):
                sweep(place)

    def link_shared(self, build: str, shared: Sequence[Shared]) -> Dict[str, str]:
        """Put links to ``shared/`` into a build, in the place of whatever stands there. Returns them. Raises ReleaseRefused, OSError."""
        made = {}
        for each in shared:
            self._have(each)
            parts = each.path.split("/")
            target = "../" * (len(parts) + 1) + "shared/" + each.path
            _link_below(build, parts, target)
            made[each.path] = target
        return made

    def _have(self, each: Shared) -> None:
        place = os.path.join(self.shared, each.path)
        if os.path.exists(place):
            return
        if not each.directory:
            words = (
                "shared/%s is missing in %s: put it there before deploying, or write %s/ for a directory that is made when it is missing"
            )
            raise ReleaseRefused(words % (each.path, self.path, each.path))
        if os.path.lexists(place):
            raise ReleaseRefused("%s is a link to nothing. Remove it, or let what it names exist." % place)
        os.makedirs(place, 0o755)
        sync_directory(os.path.dirname(place))


def _checked(identity: str) -> str:
    if not valid_id(identity):
        raise ReleaseRefused("%.80r is no id of a release; expected letters, digits, '.', '_' and '-'." % (identity,))
    return identity


def _link_below(top: str, parts: Sequence[str], target: str) -> None:
    """A link at a path below `top`, whose directories are made; none of them may be a link."""
    opened: List[int] = []
    where = top
    try:
        opened.append(os.open(top, _DIRECTORY))
        for part in parts[:-1]:
            where = os.path.join(where, part)
            try:
                os.mkdir(part, 0o755, dir_fd=opened[-1])
            except FileExistsError:
                if not stat.S_ISDIR(os.lstat(part, dir_fd=opened[-1]).st_mode):
                    raise ReleaseRefused("%s is no directory in the release, so nothing can be shared below it" % where) from None
            opened.append(os.open(part, _DIRECTORY, dir_fd=opened[-1]))
        name, folder = parts[-1], opened[-1]
        found = links.read_at(folder, name)
        if found.kind == "directory":
            remove_tree(os.path.join(where, name))
        elif found.kind in ("file", "other"):
            os.unlink(name, dir_fd=folder)
        links.swap_at(folder, name, target)
        for descriptor in reversed(opened[:-1]):
            os.fsync(descriptor)
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _remove_all(path: str) -> None:
    """Remove a tree also where its directories may not be written to by their owner."""
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        os.unlink(path)
        return
    if os.geteuid() != 0:
        for folder, below, _files in os.walk(path):
            for name in [""] + below:
                each = os.path.join(folder, name)
                if not os.path.islink(each):
                    os.chmod(each, 0o700)
    remove_tree(path)


def in_use(paths: Iterable[str]) -> List[Tuple[str, int]]:
    """Those of `paths` in which a living process works or from which its program was started, with its pid, as far as /proc tells."""
    wanted = tuple(paths)
    found: Dict[str, int] = {}
    for pid in os.listdir("/proc") if wanted else ():
        if not pid.isdigit():
            continue
        for what in ("cwd", "exe", "root"):
            try:
                place = os.readlink("/proc/%s/%s" % (pid, what))
            except OSError:
                continue  # it has ended, is the kernel's, or is not ours to see
            for path in wanted:
                if place == path or place.startswith(path + "/"):
                    found.setdefault(path, int(pid))
    return sorted(found.items())


__all__ = ["CURRENT", "Project", "QUARANTINED", "ReleaseRefused", "in_use"]
