# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a release's files come from: pinned once by commit or checksum, unpacked and built anew as often as needed.

An archive is kept beside the project under its checksum, and a commit in the mirror, so that a deployment goes on, and a release can be
built again, when what was uploaded is gone. A directory is read where it lies and must still be what it was.
"""

from __future__ import annotations

import os
import stat
from typing import Any, Dict, Mapping, Optional

from .._actuators import git, manifest
from .._actuators.base import Timed, Work
from .._actuators.release import Project
from .._actuators.unpack import UnpackError, UnpackRefused, unpack
from .._core.deployment_request import Source
from .._core.reasons import Reason
from .._core.redact import redact_text
from .._host import Host, Outcome
from .._records.files import cause, remove, sync_directory, temporary_name
from .._transient import OperatorCommand, systemd_runs
from .deploy_run import PhaseFailed, Run, drive

_CHUNK = 1 << 20
_TOLD = 2000
_OUTPUT = 262144
GRACE = 5.0
Identity = Dict[str, Any]


def pulled(run: Run) -> Identity:
    """Pin the source, or find again what was pinned. Raises PhaseFailed."""
    source, pinned = run.request.source, run.entry.source
    if source.kind == "git":
        try:
            commit = run.drive(git.pull(run.project, source, pinned.get("commit")))
        except git.GitFailed as error:
            raise PhaseFailed(error.reason, str(error)) from error
        return {"kind": "git", "repository": redact_text(source.repository), "ref": source.ref, "commit": commit}
    if source.kind != "upload":
        raise PhaseFailed(Reason.UNSUPPORTED, "sources of kind %s have no files" % source.kind)
    if pinned.get("sha256") and _holds(run.project.archive(str(pinned["sha256"])), str(pinned["sha256"])):
        return dict(pinned)
    try:
        found = os.stat(source.path)
        if stat.S_ISDIR(found.st_mode):
            identity = _directory(source)
        else:
            identity = _archive(run.project, source)
    except FileNotFoundError as error:
        raise PhaseFailed(Reason.SOURCE_MISSING, "The source %s is gone. Upload it again and deploy again." % source.path) from error
    except manifest.TreeProblem as error:
        raise PhaseFailed(Reason.SOURCE_MISSING, str(error)) from error
    _same(identity, pinned, source)
    return identity


def identify(source: Source) -> Identity:
    """What identifies a source now, without keeping anything of it; blocks for an upload. Raises PhaseFailed, OSError."""
    if not stat.S_ISDIR(os.stat(source.path).st_mode):
        return {"kind": "upload", "path": source.path, **_hashed(source.path)}
    return _directory(source)


def same_source(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Do two identities mean the same files?"""
    return any(one.get(key) and one.get(key) == other.get(key) for key in ("sha256", "tree", "commit"))


def unchanged_source(host: Host, source: Source, known: Mapping[str, Any]) -> bool:
    """Would deploying this source again mean the same files as `known`? An upload that is gone since is taken to be what it was."""
    if source.kind == "image":
        from .image_source import identified

        return bool(identified(host, source)["image"] == known.get("image"))
    if source.kind == "git":
        try:
            return known.get("commit") == drive(host, git.look(source))
        except git.GitFailed as error:
            raise PhaseFailed(error.reason, str(error)) from error
    try:
        return same_source(identify(source), known)
    except FileNotFoundError:
        return True


def _same(identity: Identity, pinned: Mapping[str, Any], source: Source) -> None:
    if pinned and not same_source(identity, pinned):
        words = "The source %s is no longer what was pinned: deploy it under an id of its own."
        raise PhaseFailed(Reason.SOURCE_CHANGED, words % source.path)


def _directory(source: Source) -> Identity:
    summary = manifest.scan(source.path).summary()
    return {"kind": "upload", "path": source.path, "tree": summary["sha256"], "files": summary["files"], "bytes": summary["bytes"]}


def _hashed(path: str, copy: Optional[int] = None) -> Dict[str, Any]:
    """SHA-256 and size of a regular file, copied to the open file `copy` on the way."""
    import hashlib

    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise PhaseFailed(Reason.SOURCE_MISSING, "The source %s is neither a file nor a directory." % path)
        digest, size = hashlib.sha256(), 0
        while True:
            chunk = os.read(descriptor, _CHUNK)
            if not chunk:
                return {"sha256": digest.hexdigest(), "bytes": size}
            digest.update(chunk)
            size += len(chunk)
            view = memoryview(chunk)
            while copy is not None and view:
                view = view[os.write(copy, view) :]
    finally:
        os.close(descriptor)


def _holds(path: str, digest: str) -> bool:
    """Is the archive that was kept whole?"""
    try:
        return bool(_hashed(path)["sha256"] == digest)
    except OSError:
        return False


def _archive(project: Project, source: Source) -> Identity:
    """Keep the archive under its checksum."""
    folder = os.path.join(project.own, "sources")
    temporary = temporary_name(os.path.join(folder, "pulled"))
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            found = _hashed(source.path, descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, project.archive(found["sha256"]))
        sync_directory(folder)
    except BaseException:
        remove(temporary)
        raise
    return {"kind": "upload", "path": source.path, **found}


def unpacked(run: Run) -> None:
    """A fresh tree of the pinned source in the build's place. Raises PhaseFailed."""
    project, entry, source = run.project, run.entry, run.request.source
    project.discard_build(entry.id)
    place = project.build(entry.id)
    tar = os.path.join(project.own, "tar", entry.id)
    try:
        if source.kind == "git":
            run.drive(git.export(project, source, str(entry.source["commit"]), tar))
            unpack(tar, place)
            remove(tar)
        elif entry.source.get("sha256"):
            _same({"sha256": unpack(project.archive(str(entry.source["sha256"])), place)}, entry.source, source)
        else:
            unpack(source.path, place)
            _same({"tree": manifest.scan(place).summary()["sha256"]}, entry.source, source)
    except git.GitFailed as error:
        raise PhaseFailed(error.reason, str(error)) from error
    except UnpackRefused as error:
        raise PhaseFailed(Reason.SOURCE_MISSING, str(error)) from error
    except UnpackError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise PhaseFailed(Reason.SOURCE_MISSING, str(error)) from error
        raise
    os.chmod(place, 0o755)


def build_commands(run: Run) -> Dict[str, Any]:
    """Run the builds in the fresh tree; their output is kept. Raises PhaseFailed with the end of it."""
    if not run.request.build:
        return {}
    project, identity = run.project, run.entry.id
    place, kept = project.build(identity), project.output(identity)
    remove(kept)
    steps = []
    for step in run.request.build:
        program = step.argv[0]
        argv = (os.path.join(place, program) if "/" in program and not program.startswith("/") else program,) + step.argv[1:]
        environment = (("SELFHEAL_RELEASE", identity),) + step.environment
        command = OperatorCommand(argv, step.timeout, cwd=place, environment=environment, output_limit=_OUTPUT)
        began = run.host.monotonic()
        # A unit is ended by systemd at its limit, and then still has to be told of.
        within = step.timeout + (GRACE if systemd_runs() else 0.0)
        outcome = run.drive(_one(Timed(command, within)))
        written = str(outcome.data.get("stdout", "")) + str(outcome.data.get("stderr", ""))
        _append(kept, "$ %s\n%s\n%s\n" % (" ".join(step.argv), written, outcome.detail))
        if outcome.status != "ok":
            words = "Building with %s: %s. Its output is in %s, and ends with: %s"
            reason = Reason.DISK_FULL if "No space left on device" in written else Reason.BUILD_FAILED
            raise PhaseFailed(reason, words % (program, outcome.detail, kept, redact_text(written.strip()[-_TOLD:])))
        steps.append({"argv0": program, "seconds": round(run.host.monotonic() - began, 3)})
    return {"builds": steps, "output": kept}


def _one(timed: Timed) -> Work[Outcome]:
    """A work of one step."""
    outcome = yield timed
    return outcome


def _append(path: str, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, text.encode("utf-8", "replace"))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise PhaseFailed(Reason.ACTION_FAILED, "Keeping the output of a build in %s: %s" % (path, cause(error))) from error


__all__ = ["build_commands", "identify", "pulled", "same_source", "unchanged_source", "unpacked"]
