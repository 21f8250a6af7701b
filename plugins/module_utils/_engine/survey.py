# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at a project's links: what stands there, where it leads, and by `_core.links` what is to be done. Changes nothing."""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass
from typing import List, NamedTuple, Optional, Sequence, Tuple

from .._actuators.links import LinkRefused, Standing, Unsafe, check_name, open_checked, open_directory, read_at
from .._core.links import Found, Verdict, Wanted, by_name, judge, judge_webroot, preferred, unfinished
from .._core.reasons import Reason
from .._records.files import cause
from .._records.glance import Garbled, Glances, glance, mark
from .._records.journal import Newer

_OWN, _JOURNALS = ".selfheal", "deployments"
JOURNALS = "%s/%s" % (_OWN, _JOURNALS)
MARKER = ".active"
_SETTLED = 2.0
_WORDS = {
    Reason.LINK_MISSING: "there is no %(name)s",
    Reason.LINK_BROKEN: "%(name)s leads to %(target)s, which is not there",
    Reason.LINK_WRONG: "%(name)s leads to %(target)s",
    Reason.LINK_ABSOLUTE: "%(name)s is an absolute link; a relative one is right wherever the tree is seen",
    Reason.LINK_INDIRECT: "%(name)s leads there by another way: %(target)s",
    Reason.LINK_OUTSIDE: "%(name)s leads to %(target)s, which is no release",
    Reason.NOT_NEWEST: "%(name)s leads to %(target)s; the newest release is %(newest)s",
    Reason.NO_RELEASE: "it has no release",
    Reason.NO_GOOD_RELEASE: "none of its releases is good and there",
    Reason.NO_PUBLIC_DIRECTORY: "its release has no directory for the webroot",
    Reason.INTERRUPTED: "a deployment of %(release)s was cut off; deployment_resume decides about it",
}


@dataclass(frozen=True)
class Policy:
    """What was asked for; the options of the module ``symlink_reconcile``. `projects` None: every project below `root`."""

    root: str
    projects: Optional[Sequence[str]] = None
    deployments_dir: str = "deployments"
    current: str = "current"
    active_by: str = "journal"
    enforce: str = "broken"
    webroot: Optional[str] = None
    public_dir: str = "public"
    on_obstruction: str = "fail"


class Link(NamedTuple):
    """One link: its directory's path and its name, what stands there, what to do, and its text when it is made anew."""

    directory: str
    name: str
    found: Found
    verdict: Verdict
    target: str

    @property
    def path(self) -> str:
        return os.path.join(self.directory, self.name)

    @property
    def acts(self) -> bool:
        return self.verdict.do in ("repair", "replace")


@dataclass
class Look:
    """One project. `current` and, where there is a webroot, `webroot`; `trouble`: why it could not be looked at, with `reason`.

    `seen`: proves while unchanged that what was read of the journals still holds; None when nothing does.
    """

    project: str
    current: Optional[Link] = None
    webroot: Optional[Link] = None
    do: str = ""
    reason: Optional[Reason] = None
    trouble: str = ""
    seen: Optional[Tuple[int, int, int]] = None

    @property
    def links(self) -> List[Link]:
        return [link for link in (self.current, self.webroot) if link is not None]

    @property
    def acts(self) -> bool:
        return any(link.acts for link in self.links)


class Surveyor:
    """Looks at the projects below one root. A context manager: it keeps root and webroot open, so neither can be exchanged meanwhile."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        for name, what in ((policy.deployments_dir, "deployments_dir"), (policy.current, "current")):
            check_name(name, what)
        self.given = os.path.normpath(policy.root)
        self.root = os.path.realpath(policy.root)
        self.webroot = None if policy.webroot is None else os.path.realpath(policy.webroot)
        self.descriptor = -1
        self.webroot_descriptor = -1

    def __enter__(self) -> "Surveyor":
        self.descriptor = self._open(self.root, "root")
        if self.webroot is not None:
            try:
                self.webroot_descriptor = self._open(self.webroot, "webroot")
            except BaseException:
                os.close(self.descriptor)
                raise
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self.descriptor)
        if self.webroot is not None:
            os.close(self.webroot_descriptor)

    @staticmethod
    def _open(path: str, what: str) -> int:
        try:
            return open_directory(path)
        except FileNotFoundError as error:
            raise LinkRefused("There is no directory %s; create it, or correct %s." % (path, what)) from error

    def projects(self) -> List[str]:
        """The names of what is to be looked at, each once. Raises LinkRefused."""
        if self.policy.projects is not None:
            return list(dict.fromkeys(self.policy.projects))
        try:
            with os.scandir(self.descriptor) as entries:
                names = [entry.name for entry in entries if not entry.name.startswith(".") and self._may_be(entry)]
        except OSError as error:
            raise LinkRefused("Listing the projects in %s: %s" % (self.root, cause(error))) from error
        return sorted(names)

    def _may_be(self, entry: "os.DirEntry[str]") -> bool:
        """Directories are projects, but not the webroot that lies among them; links are named and left alone."""
        if entry.is_symlink():
            return os.path.realpath(os.path.join(self.root, entry.name)) != self.webroot
        return entry.is_dir() and os.path.join(self.root, entry.name) != self.webroot

    def look(self, project: str) -> Look:
        """What is to be done about a project. Never raises for what one may look like."""
        try:
            check_name(project, "project")
        except LinkRefused as error:
            return Look(project, do="fail", reason=Reason.NO_SUCH_PROJECT, trouble=str(error))
        try:
            descriptor = open_directory(project, self.descriptor, "%s/%s" % (self.root, project))
            try:
                return self._look(project, descriptor)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            where = os.path.join(self.root, project)
            return Look(project, do="fail", reason=Reason.NO_SUCH_PROJECT, trouble="there is no directory %s" % where)
        except Garbled as error:
            words = "a journal in %s cannot be understood: %s; deployment_resume sets it aside"
            where = os.path.join(self.root, project, JOURNALS)
            return Look(project, do="fail", reason=Reason.GARBLED, trouble=words % (where, error))
        except Newer as error:
            where = os.path.join(self.root, project, JOURNALS)
            return Look(project, do="fail", reason=Reason.GARBLED, trouble="in %s, %s" % (where, error))
        except LinkRefused as error:
            if read_at(self.descriptor, project).kind == "link":
                return Look(project, do="skip", reason=Reason.PROJECT_IS_LINK)
            reason = Reason.UNSAFE_DIRECTORY if isinstance(error, Unsafe) else Reason.OBSTRUCTED
            return Look(project, do="fail", reason=reason, trouble=str(error))
        except OSError as error:
            why = "looking at %s: %s" % (os.path.join(self.root, project), cause(error))
            return Look(project, do="fail", reason=Reason.NO_PERMISSION if isinstance(error, PermissionError) else None, trouble=why)

    def unchanged(self, look: Look) -> bool:
        """Does what was found of the journals and the link certainly still hold?

        Nothing is opened: that it is the very same directory proves the way there, and who swaps the link opens the project's anew.
        """
        if look.seen is None or look.current is None:
            return False
        try:
            journals = os.lstat("%s/%s" % (look.project, JOURNALS), dir_fd=self.descriptor)
            standing = read_at(self.descriptor, "%s/%s" % (look.project, self.policy.current))
        except OSError:
            return False  # looking again says what is the matter
        return mark(journals) == look.seen and standing == (look.current.found.kind, look.current.found.target)

    def _look(self, project: str, descriptor: int) -> Look:
        look = Look(project)
        where = os.path.join(self.root, project)
        wanted = self._wanted(look, descriptor, where)
        standing = read_at(descriptor, self.policy.current)
        found = self._found(descriptor, standing, where, wanted)
        look.current = Link(where, self.policy.current, found, judge(found, wanted, self.policy.on_obstruction), wanted.target)
        look.do, look.reason = look.current.verdict.do, look.current.verdict.reason
        if self.webroot is not None and look.do not in ("skip", "fail"):
            release = wanted.release if look.current.acts else found.leads_to or wanted.release
            look.webroot = self._webroot(project, descriptor, release)
        return look

    # -- what should be

    def _wanted(self, look: Look, descriptor: int, where: str) -> Wanted:
        folder = self.policy.deployments_dir
        try:
            deployments = open_directory(folder, descriptor, "%s/%s" % (where, folder))
        except FileNotFoundError:
            return Wanted(None, "", False, known=False)
        try:
            said = self._said(look, descriptor) if self.policy.active_by == "journal" else Glances(())
            if said.entries:
                return self._by_journal(said, deployments)
            names = [name for name in os.listdir(deployments) if not name.startswith(".") and _is_directory(deployments, name)]
            known = bool(names)
            names = _marked(deployments, names) if self.policy.active_by == "marker" else by_name(names)
        finally:
            os.close(deployments)
        newest = names[0] if names else None
        return Wanted(newest, self._text(newest), self.policy.enforce == "newest", known)

    def _by_journal(self, said: Glances, deployments: int) -> Wanted:
        """A sound link is left alone where the journal that made it may be one that was set aside."""
        order = preferred(said.entries)
        newest = next((release for release in order if _is_directory(deployments, release)), None)
        return Wanted(newest, self._text(newest), said.complete, True, bool(order) and newest is None, unfinished(said.entries))

    def _text(self, release: Optional[str]) -> str:
        return "" if release is None else "%s/%s" % (self.policy.deployments_dir, release)

    def _said(self, look: Look, descriptor: int) -> Glances:
        """What the journals say. They are for their owner alone to write, so anyone may not have been there before."""
        try:
            own = open_directory(_OWN, descriptor, "%s/%s/%s" % (self.root, look.project, _OWN))
        except FileNotFoundError:
            return Glances(())
        try:
            journals, found = open_checked(_JOURNALS, own, "%s/%s/%s" % (self.root, look.project, JOURNALS))
        except FileNotFoundError:
            return Glances(())
        finally:
            os.close(own)
        try:
            seen = mark(found)
            look.seen = seen if time.time() - seen[-1] / 1e9 > _SETTLED else None
            return glance(journals)
        finally:
            os.close(journals)

    # -- what is

    def _found(self, descriptor: int, standing: Standing, where: str, wanted: Wanted) -> Found:
        if standing.kind != "link" or standing.target == wanted.target:
            return Found(standing.kind, standing.target, wanted.release, wanted.release is not None)
        try:
            os.stat(self.policy.current, dir_fd=descriptor)
        except OSError:
            # Whatever keeps it from being followed (nothing there, a loop, no permission on the way) keeps readers from it, too.
            return Found("link", standing.target)
        folder, name = os.path.split(os.path.realpath(os.path.join(where, self.policy.current)))
        inside = folder == os.path.join(where, self.policy.deployments_dir)
        return Found("link", standing.target, name if inside else None, True)

    def _webroot(self, project: str, descriptor: int, release: Optional[str]) -> Link:
        webroot = self.webroot or ""
        path = os.path.join(self.given, project, self.policy.current, self.policy.public_dir)
        standing = read_at(self.webroot_descriptor, project)
        leads_to, sound = None, False
        if standing.target is not None:
            leads_to = os.path.normpath(os.path.join(webroot, standing.target))
            if leads_to == os.path.join(self.root, project, self.policy.current, self.policy.public_dir):
                leads_to = path
            sound = os.path.exists(os.path.join(webroot, project))
        found = Found(standing.kind, standing.target, leads_to, sound)
        public = release is not None and _leads_to_directory(descriptor, "%s/%s" % (self._text(release), self.policy.public_dir))
        return Link(webroot, project, found, judge_webroot(found, path, public, self.policy.on_obstruction), path)


def _is_directory(descriptor: int, name: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(name, dir_fd=descriptor).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _leads_to_directory(descriptor: int, path: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path, dir_fd=descriptor).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _marked(deployments: int, names: Sequence[str]) -> List[str]:
    """Releases that hold a marker, the one marked last first."""
    found = []
    for name in names:
        try:
            moment = os.lstat("%s/%s" % (name, MARKER), dir_fd=deployments).st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            continue
        found.append((moment, name))
    return [name for _moment, name in sorted(found, reverse=True)]


def thing(kind: str) -> str:
    """What stands somewhere, in words."""
    return "something else" if kind == "other" else "a " + kind


def said(link: Link) -> str:
    """One sentence about a link. Nothing is said of what is as it should be."""
    reason, stands = link.verdict.reason, link.found
    if reason is None:
        return ""
    if reason is Reason.OBSTRUCTED:
        return "%s stands at %s; move it away, or say on_obstruction: backup" % (thing(stands.kind), link.path)
    words = {"name": link.name, "target": stands.target, "release": stands.leads_to, "newest": link.target}
    return _WORDS[reason] % words


__all__ = ["JOURNALS", "Link", "Look", "MARKER", "Policy", "Surveyor", "said", "thing"]
