# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of systemd-run and systemctl, and what their answers mean; with stand-ins for both, and exec probes as plain children."""

from __future__ import annotations

import os
import stat

import pytest

from selfheal import _environment, _transient
from selfheal._core.model import ExecTarget, ProcessResource
from selfheal._core.reasons import Reason
from selfheal._host import Outcome
from selfheal._probes.engine import LocalHost
from selfheal._probes.exec import ExecProbe
from selfheal._transient import OperatorCommand, command_argv, interpret, parse_show, service_argv, show_argv, stop_argv

WAITED = ("systemd-run", "--wait", "--pipe", "--collect")


@pytest.fixture
def host():
    with LocalHost() as made:
        yield made


def run(host, step, within=5.0):
    host.start(step, host.monotonic() + within)
    return host.poll(host.monotonic() + within + 5)[0].outcome


@pytest.mark.parametrize(
    "given, expected",
    [
        pytest.param(
            (("/usr/bin/test", "-f", "/run/job.ok"), None, None, (), 4.0),
            WAITED
            + (
                "--property=RuntimeMaxSec=4.000",
                "--property=KillSignal=SIGKILL",
                "--property=WorkingDirectory=/",
                "--",
                "/usr/bin/test",
                "-f",
                "/run/job.ok",
            ),
            id="plain",
        ),
        pytest.param(
            (("check", "a b", "$HOME", "100%", "--wait"), "www-data", "/srv/my app", (("A", "1"), ("B", "x y")), 0.25),
            WAITED
            + (
                "--property=RuntimeMaxSec=0.250",
                "--property=KillSignal=SIGKILL",
                "--property=User=www-data",
                "--property=WorkingDirectory=/srv/my app",
                "--setenv=A=1",
                "--setenv=B=x y",
                "--",
                "check",
                "a b",
                "$$HOME",
                "100%",
                "--wait",
            ),
            id="user, directory, environment; a dollar is not expanded",
        ),
    ],
)
def test_commands(given, expected):
    """A command runs in a unit of its own, as its user, and ends at its limit even when nobody waits for it any more."""
    assert command_argv(*given) == expected


SERVICE = ("systemd-run", "--quiet", "--collect", "--unit=selfheal-web.service", "--service-type=exec", "--property=KillMode=control-group")


@pytest.mark.parametrize(
    "resource, expected",
    [
        pytest.param(
            ProcessResource(("/usr/bin/web", "--port=80")),
            SERVICE
            + (
                "--property=KillSignal=SIGTERM",
                "--property=TimeoutStopSec=10.000",
                "--property=WorkingDirectory=/",
                "--setenv=SELFHEAL_SERVICE=web",
                "--",
                "/usr/bin/web",
                "--port=80",
            ),
            id="plain",
        ),
        pytest.param(
            ProcessResource(("/usr/bin/web", "$X"), "www", "/srv/web", "/etc/default/web", "/run/web.pid", "QUIT", 2.5),
            SERVICE
            + (
                "--property=KillSignal=SIGQUIT",
                "--property=TimeoutStopSec=2.500",
                "--property=WorkingDirectory=/srv/web",
                "--setenv=SELFHEAL_SERVICE=web",
                "--property=User=www",
                "--property=EnvironmentFile=/etc/default/web",
                "--property=RemainAfterExit=yes",
                "--",
                "/usr/bin/web",
                "$$X",
            ),
            id="everything",
        ),
    ],
)
def test_services(resource, expected):
    """C11: a service runs in a unit beside the watchdog's, with its own stop signal and time, and no Restart= to rival the ladder."""
    assert service_argv("web", resource) == expected
    assert not any("Restart" in word for word in expected)


def test_asking_and_stopping():
    """The unit's name is all that is needed to find it again."""
    assert show_argv("web") == ("systemctl", "show", "--property=ActiveState,MainPID", "selfheal-web.service")
    assert stop_argv("web") == ("systemctl", "stop", "selfheal-web.service")


@pytest.mark.parametrize(
    "text, expected",
    [
        ("ActiveState=active\nMainPID=123\n", ("active", 123)),
        ("MainPID=0\nActiveState=inactive\n", ("inactive", 0)),
        ("ActiveState=failed\n", ("failed", 0)),
    ],
)
def test_show(text, expected):
    """systemctl's answer."""
    assert parse_show(text) == expected


@pytest.mark.parametrize("text", ["", "Failed to connect to bus", "ActiveState=active\nMainPID=x"])
def test_show_that_is_no_answer(text):
    """What is no answer is not taken for an inactive unit."""
    with pytest.raises(ValueError):
        parse_show(text)


RUNNING = "Running as unit: run-u12.service\n"


def said(code, stderr, stdout=""):
    return Outcome(
        "ok" if code == 0 else "bad",
        None if code == 0 else Reason.EXIT_STATUS,
        "exit status %d" % code,
        {"exit_status": code, "stdout": stdout, "stderr": stderr, "truncated": False},
    )


@pytest.mark.parametrize(
    "outcome, status, reason, detail, stderr",
    [
        pytest.param(
            said(
                0,
                RUNNING + "Finished with result: success\nMain processes terminated with: code=exited, status=0/SUCCESS\n"
                "Service runtime: 3ms\n",
            ),
            "ok",
            None,
            "exit status 0",
            "",
            id="success",
        ),
        pytest.param(
            said(
                2,
                RUNNING + "disk full\nFinished with result: exit-code\n"
                "Main processes terminated with: code=exited, status=2/INVALIDARGUMENT\n"
                "Service runtime: 3ms\nCPU time consumed: 1ms\n",
            ),
            "bad",
            Reason.EXIT_STATUS,
            "exit status 2: disk full",
            "disk full\n",
            id="failure, with its own last line",
        ),
        pytest.param(
            said(255, RUNNING + "Finished with result: signal\nMain processes terminated with: code=killed, status=9/KILL\n"),
            "bad",
            Reason.KILLED_BY_SIGNAL,
            "killed by SIGKILL",
            "",
            id="killed",
        ),
        pytest.param(
            said(1, RUNNING + "Finished with result: timeout\nMain processes terminated with: code=killed, status=9/KILL\n"),
            "bad",
            Reason.TIMEOUT,
            "killed at its time limit",
            "",
            id="its own limit",
        ),
        pytest.param(
            said(203, RUNNING + "Finished with result: exit-code\n"),
            "unknown",
            Reason.NO_SUCH_PROGRAM,
            "systemd could not run it (status 203)",
            "",
            id="203/EXEC",
        ),
        pytest.param(said(217, RUNNING), "unknown", Reason.NO_PERMISSION, "systemd could not run it (status 217)", "", id="217/USER"),
        pytest.param(
            said(1, "Failed to find executable nosuch: No such file or directory\n"),
            "unknown",
            Reason.NO_SUCH_PROGRAM,
            "no transient unit: Failed to find executable nosuch: No such file or directory",
            "Failed to find executable nosuch: No such file or directory\n",
            id="no such program",
        ),
        pytest.param(
            said(1, "Failed to connect to bus: Connection refused\n"),
            "unknown",
            Reason.RESOURCE_LIMIT,
            "no transient unit: Failed to connect to bus: Connection refused",
            "Failed to connect to bus: Connection refused\n",
            id="no systemd",
        ),
        pytest.param(Outcome("bad", Reason.TIMEOUT, "late", {}), "bad", Reason.TIMEOUT, "late", None, id="a deadline stays one"),
        pytest.param(
            Outcome("unknown", Reason.NO_SUCH_PROGRAM, "no systemd-run", {}),
            "unknown",
            Reason.NO_SUCH_PROGRAM,
            "no systemd-run",
            None,
            id="systemd-run itself is missing",
        ),
    ],
)
def test_what_systemd_run_says(outcome, status, reason, detail, stderr):
    """A unit that never started is unknown, never bad; the rest is told as of a plain child, without systemd-run's own lines."""
    found = interpret(outcome)
    assert (found.status, found.reason, found.detail, found.data.get("stderr")) == (status, reason, detail, stderr)


@pytest.mark.parametrize(
    "line, name",
    [
        ("Main processes terminated with: code=killed, status=9/KILL", "SIGKILL"),
        ("Main processes terminated with: code=killed/status=KILL", "SIGKILL"),
        ("Main processes terminated with: code=killed, status=SEGV", "SIGSEGV"),
        ("Main processes terminated with: code=dumped/status=11/SEGV", "SIGSEGV"),
        ("Main processes terminated with: code=dumped, status=6/ABRT", "SIGABRT"),
    ],
)
def test_signals_in_every_spelling(line, name):
    """systemd's releases write the ending in different ways."""
    found = interpret(said(255, RUNNING + line + "\n"))
    assert (found.reason, found.data["signal"]) == (Reason.KILLED_BY_SIGNAL, name)
    assert "exit_status" not in found.data


STAND_IN = """#!/bin/sh
echo "Running as unit: run-u1.service" >&2
while [ "$1" != -- ]; do shift; done
shift
"$@"
code=$?
echo "Finished with result: success" >&2
exit $code
"""


def test_a_command_in_a_unit_reads_like_a_plain_one(host, tmp_path, monkeypatch):
    """Through systemd-run (a stand-in here) outcome, output and detail are those of the command."""
    program = tmp_path / "systemd-run"
    program.write_text(STAND_IN, encoding="ascii")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(_transient, "systemd_runs", lambda: True)
    monkeypatch.setattr(_environment, "PATH", "%s:%s" % (tmp_path, _environment.PATH))
    outcome = run(host, OperatorCommand(("sh", "-c", "echo out; echo err >&2; exit 4"), 5.0))
    assert (outcome.status, outcome.reason, outcome.detail) == ("bad", Reason.EXIT_STATUS, "exit status 4: err")
    assert dict(outcome.data) == {"exit_status": 4, "stdout": "out\n", "stderr": "err\n", "truncated": False}
    assert run(host, OperatorCommand(("true",), 5.0)).status == "ok"
    assert run(host, OperatorCommand(("sleep", "60"), 5.0), 0.1).reason is Reason.TIMEOUT


@pytest.mark.parametrize(
    "target, status, reason",
    [
        (ExecTarget(("true",)), "ok", None),
        (ExecTarget(("sh", "-c", "exit 2")), "bad", Reason.EXIT_STATUS),
        (ExecTarget(("sh", "-c", "kill -KILL $$")), "bad", Reason.KILLED_BY_SIGNAL),
        (ExecTarget(("sh", "-c", "test \"$A $PWD\" = '1 /tmp'"), cwd="/tmp", environment=(("A", "1"),)), "ok", None),
        (ExecTarget(("/no/such/check",)), "unknown", Reason.NO_SUCH_PROGRAM),
        (ExecTarget(("true",), user="no-such-user-here"), "unknown", Reason.NO_PERMISSION),
        (ExecTarget(("sleep", "60")), "bad", Reason.TIMEOUT),
    ],
)
def test_exec_probe(host, monkeypatch, target, status, reason):
    """C28: exit status 0 is healthy, everything else has its reason, and the deadline is one."""
    monkeypatch.setattr(_transient, "systemd_runs", lambda: False)
    host.start(ExecProbe(target, 0.4), host.monotonic() + 0.4)
    handle = host.poll(host.monotonic() + 5)[0]
    assert (handle.outcome.status, handle.outcome.reason) == (status, reason)
    assert handle.ended - handle.started < 0.6


def test_systemd_runs_only_where_it_is_booted(monkeypatch):
    """Transient units need root and a booted systemd (sd_booted)."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os.path, "isdir", lambda path: path == "/run/systemd/system")
    assert _transient.systemd_runs()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert not _transient.systemd_runs()
