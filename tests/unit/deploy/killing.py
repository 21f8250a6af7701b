# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployments in a child that is killed, or whose disk is full, at a chosen system call; and what must hold whenever one looks.

Every call that changes a file goes through `os`, so counting there finds each point at which a power cut or a KILL could fall.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
import tarfile

from deploy_helpers import LocalHost, Stage

from selfheal._actuators import manifest
from selfheal._records import files

CHANGES = ("mkdir", "rename", "link", "symlink", "unlink", "rmdir", "write", "fsync", "ftruncate", "chmod", "fdatasync")
GROWS = ("mkdir", "link", "symlink", "write")
"""What a full disk refuses. A rename within a directory and everything that removes still works."""
OK = [{"exec": {"argv": ["/bin/true"]}}]
ILL = [{"exec": {"argv": ["/bin/false"]}}]


class Theatre:
    """A project in which v1 serves; each `scene` starts from the very same files."""

    def __init__(self, place):
        self.base = place
        self.template = place / "template"
        with LocalHost() as host:
            stage = Stage(place, host)
            (stage.project / "shared").mkdir(parents=True, mode=0o755)
            for name in ("v1", "v2", "v3"):
                pack(place / (name + ".tar"), name)
            assert stage.deploy("v1", place / "v1.tar", **self.options("v1")).outcome == "changed"
        shutil.copytree(place / "www", self.template / "www", symlinks=True)
        shutil.copytree(place / "state", self.template / "state")
        self.route = place / "route"

    def options(self, name, health=None):
        route = {"path": str(self.base / "route"), "content": name}
        return {"shared": ["log/"], "routes": [route], "health": health or OK, "health_within": 0.0}

    def reset(self):
        for name in ("www", "state", "run", "etc", "uploads"):
            if (self.base / name).exists():
                shutil.rmtree(self.base / name)
        shutil.copytree(self.template / "www", self.base / "www", symlinks=True)
        shutil.copytree(self.template / "state", self.base / "state")
        self.route.write_text("v1")
        files._swept.clear()

    def stage(self, host):
        """The stage as it stands."""
        stage = Stage.__new__(Stage)
        stage.base, stage.host, stage.root, stage.project = self.base, host, self.base / "www", self.base / "www" / "web"
        from selfheal._core.model import WatchdogConfig

        stage.config = WatchdogConfig("testhost", state_dir=str(self.base / "state"), run_dir=str(self.base / "run"))
        (self.base / "etc").mkdir(exist_ok=True)
        return stage

    def deploy(self, stage, name="v2", health=None):
        return stage.deploy(name, self.base / (name + ".tar"), **self.options(name, health))

    def child(self, act, before=None):
        """Run `act(stage)` in a child, `before()` first. Returns its pid."""
        pid = os.fork()
        if pid:
            return pid
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            with LocalHost() as host:
                stage = self.stage(host)
                if before is not None:
                    before()
                act(stage)
            os._exit(0)
        except BaseException as error:  # nothing of a child may go on in the tests
            os.write(2, ("%s: %s\n" % (type(error).__name__, error)).encode())
            os._exit(9)

    # -- what must hold

    def holds_at_any_time(self):
        """`current` resolves, and shows one whole release."""
        link = os.readlink(self.base / "www" / "web" / "current")
        name = os.path.basename(link)
        assert link in ("deployments/v1", "deployments/v2", "deployments/v3"), link
        place = self.base / "www" / "web" / "current"
        assert [(place / part).read_text() for part in ("version", "lib/one", "lib/two")] == [name] * 3
        return name

    def holds_at_rest(self, stage):
        """Everything is over; what serves is proven; nothing of a failed attempt stays but its journal and quarantine."""
        name = self.holds_at_any_time()
        entries = stage.entries()
        assert all(entry.over for entry in entries.values()), {entry.id: entry.phase for entry in entries.values()}
        acts = [entry for entry in entries.values() if entry.activated_at]
        newest = max(acts, key=lambda entry: entry.activated_at)
        assert newest.release == name
        for release in stage.releases():
            made = manifest.load(str(stage.own("manifests", release + ".json")), entries[release].manifest["sha256"])
            assert manifest.verify(str(stage.project / "deployments" / release), made) == []
            assert entries[release].activated_at
        assert self.route.read_text() == name
        assert {entry.name for entry in self.base.iterdir() if entry.name.startswith(".")} == set()
        for folder in ("build", "built", "tar", "trash"):
            assert os.listdir(stage.own(folder)) == [], folder
        left = list(stage.project.rglob("*.tmp"))
        assert left == [], left
        # What the dead held is taken over by whoever comes next; nobody who lives holds anything.
        held = stage.site().leases.list()
        assert [str(each) for each in held if each.owner is None or each.owner.alive() is not False] == []
        return name


def pack(path, name):
    """A small release: one version in three files, so that a mixture shows."""
    with tarfile.open(path, "w") as tar:
        for part in ("version", "lib/one", "lib/two"):
            info = tarfile.TarInfo(part)
            info.size = len(name)
            tar.addfile(info, io.BytesIO(name.encode()))


class Counted:
    """Counts the calls that change something; `at(n)` is called before the n-th."""

    def __init__(self, names, at):
        self.count = 0
        for name in names:
            self._wrap(name, at)
        self._wrap_open(at, "write" in names)

    def _wrap(self, name, at):
        real = getattr(os, name)

        def counted(*args, **options):
            if not (name == "write" and args[0] <= 2):
                self.count += 1
                at(self.count)
            return real(*args, **options)

        setattr(os, name, counted)

    def _wrap_open(self, at, wanted):
        real = os.open

        def counted(path, flags, *args, **options):
            if wanted and flags & os.O_CREAT:
                self.count += 1
                at(self.count)
            return real(path, flags, *args, **options)

        os.open = counted


def kill_at(number):
    """KILL this process just before its `number`-th change."""

    def at(count):
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    Counted(CHANGES, at)


def full_at(number, ever_after):
    """From the `number`-th change that takes room on (or only that one) the disk is full."""

    def at(count):
        if count == number or (ever_after and count > number):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    Counted(GROWS, at)


def changes_of(theatre, act):
    """How many changes `act` makes when nobody disturbs it, and of those that take room."""
    found = []
    for names in (CHANGES, GROWS):
        theatre.reset()
        reading, writing = os.pipe()

        def counting(stage, names=names, writing=writing):
            counted = Counted(names, lambda count: None)
            real = os.write
            act(stage)
            real(writing, b"%d" % counted.count)

        pid = theatre.child(counting)
        os.close(writing)
        with os.fdopen(reading) as answer:
            found.append(int(answer.read()))
        assert os.waitpid(pid, 0)[1] == 0
    return found
