# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sources from git: a bare, shallow mirror for each project and repository, a ref pinned to its commit, a tree from that commit.

git never asks anybody for anything, and a token reaches it by its environment alone. The tree comes out as an archive and goes through
the same safe unpacking as an upload. Commits that were deployed stay in the mirror, so that they can be built again without the network.
"""

from __future__ import annotations

import os
import re
from typing import Dict, List, Optional, Tuple

from .._core.deployment_request import Source
from .._core.errors import SelfhealError
from .._core.reasons import Reason
from .._core.redact import redact_text
from .._host import Outcome
from .._records.files import cause, make_directory, read_file, sync_directory
from .._spawn import Run
from .base import Timed, Work
from .release import Project

_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_SHORT = re.compile(r"[0-9a-f]{7,64}")
_QUICK = 60.0
_DAMAGED = (".lock", "bad object", "corrupt", "not a git repository", "unable to read tree", "missing blob", "invalid object")


class GitFailed(SelfhealError):
    """git could not do it; says what was asked of it and what it answered. `reason`: why, as deployments tell it."""

    reason = Reason.SOURCE_MISSING


def mirror(project: Project, source: Source) -> str:
    """Where the mirror of a repository lies."""
    import hashlib

    name = hashlib.sha256(source.repository.encode("utf-8")).hexdigest()[:20]
    return os.path.join(project.own, "git", name + ".git")


def pull(project: Project, source: Source, pinned: Optional[str] = None) -> Work[str]:
    """Have the commit of ``source.ref`` (or the one pinned before) in the mirror; returns it. Raises GitFailed."""
    place = mirror(project, source)
    make_directory(os.path.dirname(place), 0o700)
    if pinned is not None and os.path.isdir(place) and (yield from _has(place, source, pinned)):
        return pinned
    if not os.path.isdir(place):
        return (yield from _fresh(project, place, source, pinned))
    try:
        return (yield from _fetch(place, source, pinned))
    except GitFailed as error:
        if not any(word in str(error) for word in _DAMAGED):
            raise
        # Whoever was killed in it has left a lock or half an object. It is only a cache.
        return (yield from _fresh(project, place, source, pinned))


def export(project: Project, source: Source, commit: str, to: str) -> Work[None]:
    """Write the tree of a commit as a tar archive to the file `to`. Raises GitFailed."""
    if not _COMMIT.fullmatch(commit):
        raise GitFailed("%.80r is no commit; expected 40 or 64 hexadecimal digits" % commit)
    argv = ["-C", mirror(project, source), "archive", "--format=tar", "--output=" + to, commit]
    yield from _git(argv, source, source.timeout, "writing out the commit %s" % commit[:12])


def look(source: Source) -> Work[str]:
    """The commit that the ref stands for now, without fetching anything. Raises GitFailed."""
    if _COMMIT.fullmatch(source.ref):
        return source.ref
    upload = _upload_pack(source)
    told = yield from _git(
        ["ls-remote", *upload, "--", source.repository, source.ref], source, source.timeout, "asking for %s" % source.ref
    )
    found = {name: commit for commit, _tab, name in (line.partition("\t") for line in told.splitlines())}
    for name in (source.ref, "refs/heads/" + source.ref, "refs/tags/" + source.ref + "^{}", "refs/tags/" + source.ref):
        if name in found and _COMMIT.fullmatch(found[name]):
            return found[name]
    raise GitFailed("%s has no %s: expected a branch, a tag or a whole commit" % (redact_text(source.repository), source.ref))


def _fresh(project: Project, place: str, source: Source, pinned: Optional[str]) -> Work[str]:
    """Fetch into a new mirror, which takes the old one's place only when it has what is wanted."""
    new = place + ".new"
    try:
        if os.path.lexists(new):
            project.remove(new)
        yield from _git(["init", "--quiet", "--bare", new], source, _QUICK, "making the mirror")
        commit = yield from _fetch(new, source, pinned)
        if os.path.lexists(place):
            project.remove(place)
        os.rename(new, place)
        sync_directory(os.path.dirname(place))
    except OSError as error:
        raise GitFailed("Making the mirror %s: %s" % (place, cause(error))) from error
    return commit


def _fetch(place: str, source: Source, pinned: Optional[str]) -> Work[str]:
    want = pinned or source.ref
    base = ["-C", place, "-c", "gc.auto=0", "-c", "core.fsync=all", "fetch", "--quiet", "--no-tags", "--force", "--no-recurse-submodules"]
    base += _upload_pack(source)
    try:
        yield from _git([*base, "--depth=1", "--", source.repository, want], source, source.timeout, "fetching %s" % want)
        name = "FETCH_HEAD"
    except GitFailed:
        if not _SHORT.fullmatch(want):
            raise
        # A server need not hand out a commit that is no branch's tip: then everything is fetched, and looked through.
        everything = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]
        unshallow = ["--unshallow"] if os.path.exists(os.path.join(place, "shallow")) else []
        yield from _git([*base, *unshallow, "--", source.repository, *everything], source, source.timeout, "fetching all to find %s" % want)
        name = want
    told = yield from _git(["-C", place, "rev-parse", "--verify", "--quiet", name + "^{commit}"], source, _QUICK, "finding %s" % want)
    commit = told.strip()
    if not _COMMIT.fullmatch(commit):
        raise GitFailed("git says that %s is %.80r, which is no commit" % (want, commit))
    # A name of its own keeps it, whatever becomes of the branch.
    yield from _git(["-C", place, "update-ref", "refs/selfheal/" + commit, commit], source, _QUICK, "keeping %s" % commit[:12])
    return commit


def _has(place: str, source: Source, commit: str) -> Work[bool]:
    """Is that commit there, with every file of its tree?"""
    argv = ("-C", place, "rev-list", "--objects", "--max-count=1", "--missing=error", commit, "--")
    outcome: Outcome = yield Timed(Run(("git",) + argv, environment=_environment(source)), _QUICK)
    return outcome.status == "ok"


def _git(argv: List[str], source: Source, within: float, doing: str) -> Work[str]:
    outcome: Outcome = yield Timed(Run(("git", *argv), environment=_environment(source), output_limit=1 << 20), within)
    if outcome.status == "ok":
        return str(outcome.data["stdout"])
    written = redact_text(str(outcome.data.get("stderr", "")).strip()[-600:])
    missing = "; git is not installed" if outcome.reason is Reason.NO_SUCH_PROGRAM else ""
    failed = GitFailed("git, %s from %s: %s%s. %s" % (doing, redact_text(source.repository), outcome.detail, missing, written))
    if "No space left on device" in written:
        failed.reason = Reason.DISK_FULL
    raise failed


def _upload_pack(source: Source) -> List[str]:
    """A repository on this host may belong to another user, whom git does not trust unless told: it was named on purpose."""
    return ["--upload-pack=git -c safe.directory=* upload-pack"] if source.repository.startswith("/") else []


def _environment(source: Source) -> Tuple[Tuple[str, str], ...]:
    made: Dict[str, str] = {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
        "SSH_ASKPASS": "/bin/false",
        "GIT_PROTOCOL_FROM_USER": "0",
        "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
        "LC_ALL": "C",
    }
    ssh = "ssh -o BatchMode=yes -o ConnectTimeout=20"
    if source.key_file is not None:
        ssh += " -o IdentitiesOnly=yes -i '%s'" % source.key_file.replace("'", "'\\''")
    made["GIT_SSH_COMMAND"] = ssh
    if source.token_file is not None:
        import base64

        try:
            token = read_file(source.token_file, 65536).strip()
        except (OSError, ValueError) as error:
            why = cause(error) if isinstance(error, OSError) else str(error)
            raise GitFailed("Reading the token file %s: %s" % (source.token_file, why)) from error
        basic = base64.b64encode(b"x-access-token:" + token).decode("ascii")
        # A redirect would take the token to another server.
        made.update(GIT_CONFIG_COUNT="2", GIT_CONFIG_KEY_0="http.extraHeader", GIT_CONFIG_VALUE_0="Authorization: Basic " + basic)
        made.update(GIT_CONFIG_KEY_1="http.followRedirects", GIT_CONFIG_VALUE_1="false")
    return tuple(sorted(made.items()))


__all__ = ["GitFailed", "export", "look", "mirror", "pull"]
