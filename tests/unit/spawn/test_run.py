# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`Run` against real processes: what they say, how they end, and that nothing of them is left."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import select
import signal
import sys
import time

import pytest

from selfheal import _proc, _spawn
from selfheal._core.reasons import Reason
from selfheal._probes.engine import LocalHost
from selfheal._spawn import Run

PYTHON = sys.executable


@pytest.fixture
def host():
    with LocalHost() as made:
        yield made


def run(host, step, within=10.0):
    host.start(step, host.monotonic() + within)
    ended = host.poll(host.monotonic() + within + 5)
    assert len(ended) == 1
    return ended[0]


def sh(script, **more):
    return Run(("/bin/sh", "-c", script), **more)


def children():
    """Pids of this process's children, zombies included."""
    found = set()
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a reaping thread that has just ended has none
            found.update(map(int, pathlib.Path("/proc/self/task/%s/children" % task).read_text(encoding="ascii").split()))
    return found


def gone_soon(pids, within=5.0):
    until = time.monotonic() + within
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            waiting = select.poll()
            waiting.register(descriptor, select.POLLIN)
            waiting.poll(max(0, (until - time.monotonic()) * 1000))
            os.close(descriptor)
    return all(found is None or found.dead for found in map(_proc.stat, pids))


@pytest.fixture(autouse=True)
def _no_leftovers():
    """C10, C16: whatever a test did, no child and no descriptor is left afterwards."""
    before, descriptors = children(), set(os.listdir("/proc/self/fd"))
    yield
    until = time.monotonic() + 2
    while not children() <= before and time.monotonic() < until:
        select.poll().poll(5)  # under load a killed child may take longer to die than a run waits for it; a thread reaps it then
    assert children() <= before
    assert len(os.listdir("/proc/self/fd")) == len(descriptors)


@pytest.mark.parametrize(
    "step, status, reason, detail, data",
    [
        pytest.param(
            Run(("true",)), "ok", None, "exit status 0", {"exit_status": 0, "stdout": "", "stderr": "", "truncated": False}, id="true"
        ),
        pytest.param(
            Run(("false",)),
            "bad",
            Reason.EXIT_STATUS,
            "exit status 1",
            {"exit_status": 1, "stdout": "", "stderr": "", "truncated": False},
            id="false",
        ),
        pytest.param(
            sh("echo one; echo two; exit 7"),
            "bad",
            Reason.EXIT_STATUS,
            "exit status 7: two",
            {"exit_status": 7, "stdout": "one\ntwo\n", "stderr": "", "truncated": False},
            id="last line of stdout",
        ),
        pytest.param(
            sh("echo out; echo err >&2; exit 1"),
            "bad",
            Reason.EXIT_STATUS,
            "exit status 1: err",
            {"exit_status": 1, "stdout": "out\n", "stderr": "err\n", "truncated": False},
            id="stderr goes before stdout",
        ),
        pytest.param(
            sh("echo out; echo err >&2", merge=True),
            "ok",
            None,
            "exit status 0: err",
            {"exit_status": 0, "stdout": "out\nerr\n", "stderr": "", "truncated": False},
            id="merged",
        ),
        pytest.param(
            sh("kill -SEGV $$"),
            "bad",
            Reason.KILLED_BY_SIGNAL,
            "killed by SIGSEGV",
            {"signal": "SIGSEGV", "stdout": "", "stderr": "", "truncated": False},
            id="signal",
        ),
        pytest.param(
            Run(("cat",), stdin=b"hello"),
            "ok",
            None,
            "exit status 0: hello",
            {"exit_status": 0, "stdout": "hello", "stderr": "", "truncated": False},
            id="stdin",
        ),
        pytest.param(
            Run(("true",), stdin=b"x" * 300000),
            "ok",
            None,
            "exit status 0",
            {"exit_status": 0, "stdout": "", "stderr": "", "truncated": False},
            id="stdin that nobody reads",
        ),
        pytest.param(
            Run(("printf", "\\377\\n")),
            "ok",
            None,
            "exit status 0: \ufffd",
            {"exit_status": 0, "stdout": "\ufffd\n", "stderr": "", "truncated": False},
            id="not utf-8",
        ),
        pytest.param(
            Run(("printf", "%s|", "a b", "$HOME", "")),
            "ok",
            None,
            "exit status 0: a b|$HOME||",
            {"exit_status": 0, "stdout": "a b|$HOME||", "stderr": "", "truncated": False},
            id="arguments arrive as they are",
        ),
        pytest.param(
            sh("exec >&- 2>&-; exit 3"),
            "bad",
            Reason.EXIT_STATUS,
            "exit status 3",
            {"exit_status": 3, "stdout": "", "stderr": "", "truncated": False},
            id="closed its output first",
        ),
    ],
)
def test_outcomes(host, step, status, reason, detail, data):
    """The outcome tells exit status or signal, the output, and the last line for people."""
    outcome = run(host, step).outcome
    assert (outcome.status, outcome.reason, outcome.detail, dict(outcome.data)) == (status, reason, detail, data)


def test_large_stdin_is_fed_without_blocking(host):
    """A program that reads and writes megabytes neither blocks the loop nor loses a byte's count."""
    outcome = run(host, sh("wc -c", stdin=b"x" * 3_000_000)).outcome
    assert outcome.data["stdout"].strip() == "3000000"


@pytest.mark.parametrize(
    "make, reason, said",
    [
        pytest.param(lambda tmp: Run(("no-such-program-here",)), Reason.NO_SUCH_PROGRAM, "no-such-program-here", id="not in PATH"),
        pytest.param(lambda tmp: Run((str(tmp / "missing"),)), Reason.NO_SUCH_PROGRAM, "No such file", id="no such file"),
        pytest.param(lambda tmp: Run((str(tmp / "plain"),)), Reason.NO_PERMISSION, "Permission denied", id="not executable"),
        pytest.param(lambda tmp: Run((str(tmp),)), Reason.NO_PERMISSION, "Permission denied", id="a directory"),
        pytest.param(
            lambda tmp: Run((str(tmp / "orphan"),)), Reason.NO_SUCH_PROGRAM, "its interpreter or loader is missing", id="interpreter"
        ),
        pytest.param(lambda tmp: Run((str(tmp / "plain" / "x"),)), Reason.NO_SUCH_PROGRAM, "Not a directory", id="below a file"),
        pytest.param(lambda tmp: Run((str(tmp / "noexec"),)), Reason.NO_SUCH_PROGRAM, "Exec format error", id="no format"),
        pytest.param(
            lambda tmp: Run(("true",), cwd=str(tmp / "missing")), Reason.NO_PERMISSION, "working directory", id="no such directory"
        ),
        pytest.param(lambda tmp: Run(("true",), user="no-such-user"), Reason.NO_PERMISSION, "no user 'no-such-user'", id="no such user"),
        pytest.param(lambda tmp: Run(("true", "x" * 3_000_000)), Reason.RESOURCE_LIMIT, "Argument list too long", id="too long"),
        pytest.param(lambda tmp: Run(("true", "a\0b")), Reason.NO_SUCH_PROGRAM, "null byte", id="null byte"),
    ],
)
def test_what_cannot_start_is_unknown(host, tmp_path, make, reason, said):
    """A program that could not be started proves nothing: unknown, with the cause, never bad."""
    (tmp_path / "plain").write_text("x", encoding="ascii")
    (tmp_path / "orphan").write_text("#!/no/such/interpreter\n", encoding="ascii")
    (tmp_path / "orphan").chmod(0o755)
    (tmp_path / "noexec").write_bytes(b"\x01\x02\x03")
    (tmp_path / "noexec").chmod(0o755)
    outcome = run(host, make(tmp_path)).outcome
    assert (outcome.status, outcome.reason) == ("unknown", reason)
    assert said in outcome.detail


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM])
def test_fork_refused_is_unknown(host, monkeypatch, number):
    """Out of processes or memory: unknown with reason resource_limit."""

    def refuse(_plan):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(_spawn, "fork", refuse)
    outcome = run(host, Run(("true",))).outcome
    assert (outcome.status, outcome.reason) == ("unknown", Reason.RESOURCE_LIMIT)


def test_out_of_descriptors_is_unknown(host):
    """Out of descriptors at any point of the start: unknown, nothing leaks (the fixture counts)."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    filling = [os.open("/dev/null", os.O_RDONLY)]
    while filling[-1] <= highest:
        filling.append(os.open("/dev/null", os.O_RDONLY))
    outcomes = []
    try:
        for spare in range(1, 16):
            resource.setrlimit(resource.RLIMIT_NOFILE, (filling[-1] + spare, limits[1]))
            outcomes.append(run(host, Run(("true",))).outcome)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for descriptor in filling:
            os.close(descriptor)
    assert outcomes[0].reason is Reason.RESOURCE_LIMIT
    assert outcomes[-1].status == "ok"
    assert {(outcome.status, outcome.reason) for outcome in outcomes} == {("unknown", Reason.RESOURCE_LIMIT), ("ok", None)}


@pytest.mark.parametrize("within", [0.0, 0.05, 0.2])
def test_the_deadline_holds(host, within):
    """C14, C28: a program that does not end is killed at its deadline, not later, and is bad with reason timeout."""
    handle = run(host, Run(("sleep", "60")), within)
    assert (handle.outcome.status, handle.outcome.reason) == ("bad", Reason.TIMEOUT)
    assert handle.ended - handle.started < within + 0.2


def test_the_whole_group_dies_at_the_deadline(host, tmp_path):
    """C10: the deadline kills grandchildren too, also those that ignore TERM and HUP."""
    note = tmp_path / "pids"
    script = "trap '' TERM HUP; (trap '' TERM HUP; sleep 60) & sleep 60 & echo $! $$ > %s; echo ready; wait" % note
    host.start(sh(script), host.monotonic() + 0.4)
    outcome = host.poll(host.monotonic() + 5)[0].outcome
    assert outcome.reason is Reason.TIMEOUT
    assert outcome.data["stdout"] == "ready\n"
    assert gone_soon([int(pid) for pid in note.read_text(encoding="ascii").split()])


def test_a_grandchild_that_keeps_the_pipe_does_not_hold_us(host):
    """A background child with our pipe open outlives neither the program nor our patience: the outcome is there when the program ends."""
    handle = run(host, sh("sleep 60 & echo $!; echo done"))
    pid, last = handle.outcome.data["stdout"].split()
    assert handle.outcome.status == "ok" and last == "done"
    assert handle.ended - handle.started < 1.0
    assert gone_soon([int(pid)])


def test_a_writer_that_left_the_group_does_not_hold_us(host):
    """Somebody who left the group and floods the pipe is neither waited for nor read for ever."""
    handle = run(host, sh("setsid sh -c 'echo $$; exec yes' & sleep 0.1"))
    assert handle.outcome.status == "ok"
    assert handle.ended - handle.started < 2.0


def test_a_flood_is_drained_and_capped(host):
    """A flood of output costs `output_limit` of memory, keeps the end, and the program is not blocked by it."""
    outcome = run(host, sh("yes 0123456789 | head -c 5000000; echo; echo end", output_limit=1000)).outcome
    assert outcome.status == "ok"
    assert len(outcome.data["stdout"]) == 1000 and outcome.data["stdout"].endswith("end\n") and outcome.data["truncated"]


def test_a_flood_does_not_delay_others(host):
    """C13, C21: an endless writer takes turns with the others; their deadlines hold."""
    host.start(Run(("yes",)), host.monotonic() + 0.6, "flood")
    host.start(Run(("sleep", "60")), host.monotonic() + 0.3, "hang")
    ended = {}
    while len(ended) < 2:
        for handle in host.poll(host.monotonic() + 5):
            ended[handle.owner] = handle
    for handle in ended.values():
        assert handle.outcome.reason is Reason.TIMEOUT
        assert handle.ended - handle.deadline < 0.2


def test_cancel_kills_and_reaps(host, tmp_path):
    """A cancelled run leaves nothing behind."""
    note = tmp_path / "pid"
    handle = host.start(sh("echo $$ > %s.new; mv %s.new %s; echo x; exec sleep 60" % (note, note, note)), host.monotonic() + 60)
    while not note.exists():
        host.poll(host.monotonic() + 0.01)
    host.cancel(handle)
    assert gone_soon([int(note.read_text(encoding="ascii"))])


def test_no_zombies_after_many(host):
    """C10, C16: runs that end, fail, die and time out, all at once, leave no zombie (the fixture counts)."""
    for number in range(5):
        hangs = (sh("sleep 9 & sleep 9"), 0.1 + number / 50)
        for step, within in ((Run(("true",)), 5), (Run(("/no/such",)), 5), (sh("kill -9 $$"), 5), hangs):
            host.start(step, host.monotonic() + within)
    ended = []
    while len(ended) < 20:
        ended += host.poll(host.monotonic() + 5)
    assert sorted(handle.outcome.status for handle in ended) == ["bad"] * 10 + ["ok"] * 5 + ["unknown"] * 5


def test_the_child_starts_clean(host, monkeypatch):
    """The child has its own session, a minimal environment, only descriptors 0 to 2, and neither ignored nor blocked signals."""
    monkeypatch.setenv("SECRET", "of the parent")
    leaked = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leaked, True)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    script = (
        "import os; print(sorted(os.environ), os.getsid(0) == os.getpid(), os.getcwd(), sorted(os.listdir('/proc/self/fd'))[:-1], "
        "[line.split()[1] for line in open('/proc/self/status') if line.startswith(('SigBlk', 'Umask'))], "
        "[hex(int(line.split()[1], 16) & ~(3 << 31)) for line in open('/proc/self/status') if line.startswith('SigIgn')])"
    )
    try:
        outcome = run(host, Run((PYTHON, "-I", "-S", "-c", script), environment=(("GIVEN", "1"),))).outcome
    finally:
        signal.signal(signal.SIGHUP, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        os.close(leaked)
    names = sorted({"GIVEN", "PATH", "LANG", "LC_CTYPE"} | {name for name in ("HOME", "USER", "LOGNAME", "SHELL") if name in os.environ})
    printed = outcome.data["stdout"].replace("'LC_CTYPE', ", "")
    names.remove("LC_CTYPE")
    # Python itself ignores SIGPIPE (bit 12) and SIGXFSZ (bit 24); 32 and 33 are the C library's, and no program can set them.
    assert printed == "%s True / ['0', '1', '2'] ['0022', '0000000000000000'] ['0x1001000']\n" % names


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_another_user(host):
    """`user` means that user's uid, gid, groups and HOME, as initgroups would set them; root's groups do not stay."""
    outcome = run(host, sh("id -u; id -g; id -G; echo $HOME $USER", user="nobody")).outcome
    import pwd

    entry = pwd.getpwnam("nobody")
    groups = " ".join(map(str, os.getgrouplist("nobody", entry.pw_gid)))
    assert outcome.data["stdout"] == "%d\n%d\n%s\n%s nobody\n" % (entry.pw_uid, entry.pw_gid, groups, entry.pw_dir)


def test_the_unkillable_are_counted_and_refused(host, monkeypatch):
    """C21: children that do not die of KILL are counted; from the fifth on no more of that program are started, others are."""
    killed = []
    monkeypatch.setattr(_proc, "kill_group", killed.append)
    for _number in range(5):
        host.start(Run(("sleep", "60")), host.monotonic())
    ended = []
    while len(ended) < 5:
        ended += host.poll(host.monotonic() + 5)
    assert [handle.outcome.reason for handle in ended] == [Reason.TIMEOUT] * 5
    assert sorted(pid for pid, _program in _proc._stuck.items()) == sorted(set(killed))
    assert _proc.stuck() == []  # not for a second
    try:
        monkeypatch.setattr(_proc, "STUCK_AFTER", 0.0)
        assert len(_proc.stuck()) == 5
        refused = run(host, Run(("sleep", "60"))).outcome
        assert (refused.status, refused.reason) == ("unknown", Reason.TOO_MANY_STUCK)
        assert run(host, Run(("true",))).outcome.status == "ok"
        monkeypatch.setattr(_spawn, "STUCK_IN_ALL", 5)
        assert run(host, Run(("true",))).outcome.reason is Reason.TOO_MANY_STUCK
    finally:
        for pid in set(killed):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + 5
        while _proc._stuck and time.monotonic() < until:
            host.poll(host.monotonic() + 0.01)
    assert _proc._stuck == {}


def test_without_pidfd(host, monkeypatch):
    """On a kernel without pidfd a thread waits instead: same outcomes, same deadlines, nothing left."""

    def missing(*_args):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(os, "pidfd_open", missing)
    assert run(host, sh("exec >&- 2>&-; sleep 0.05; exit 3")).outcome.data["exit_status"] == 3
    handle = run(host, sh("sleep 60 & sleep 60"), 0.1)
    assert handle.outcome.reason is Reason.TIMEOUT and handle.ended - handle.deadline < 0.2
    monkeypatch.undo()
    until = time.monotonic() + 5
    while any(thread.name.startswith("selfheal-exit") for thread in __import__("threading").enumerate()) and time.monotonic() < until:
        host.poll(host.monotonic() + 0.01)
