# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ansible-playbook that the alert receiver has before the real one: a run outlives the rulebook that began it."""

from __future__ import annotations

import pathlib
import signal
import subprocess
import sys
import time
from typing import Callable

import pytest

WAIT = 30.0
REAL = """#!%s
import pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
print("begun with", sys.argv[2:], flush=True)
(folder / "begun").write_text("")
end = time.monotonic() + %g
while not (folder / "go").exists() and time.monotonic() < end:
    time.sleep(0.02)
print("ended", flush=True)
(folder / "done").write_text("")
sys.exit(int((folder / "go").read_text()))
"""


def until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.02)


@pytest.fixture
def place(tmp_path: pathlib.Path, collection: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A folder with our ansible-playbook before a real one in PATH."""
    for name in ("ours", "real", "tmp"):
        (tmp_path / name).mkdir()
    ours = tmp_path / "ours" / "ansible-playbook"
    ours.write_text("#!/usr/bin/python3\n" + (collection / "roles/alert_receiver/files/ansible-playbook.py").read_text())
    real = tmp_path / "real" / "ansible-playbook"
    real.write_text(REAL % (sys.executable, WAIT))
    for each in (ours, real):
        each.chmod(0o755)
    monkeypatch.setenv("PATH", "%s:%s:/usr/bin:/bin" % (ours.parent, real.parent))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    return tmp_path


@pytest.mark.parametrize("code", [0, 4])
def test_it_is_the_real_one_to_whoever_looks_on(place: pathlib.Path, code: int) -> None:
    """Arguments, output and exit status are those of the real one, and nothing is left behind."""
    (place / "go").write_text(str(code))
    argv = [sys.executable, str(place / "ours" / "ansible-playbook"), str(place), "-l", "web 1"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=WAIT, check=False)
    assert (done.returncode, done.stdout) == (code, "begun with ['-l', 'web 1']\nended\n")
    assert list((place / "tmp").iterdir()) == []


# As ansible-runner does: a terminal of its own making, which goes with it.
RUNNER = """
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
while os.read(terminal, 1000):
    continue
"""


def test_a_run_goes_on_when_its_terminal_goes(place: pathlib.Path) -> None:
    """C11 The end of ansible-rulebook takes the terminal away; the run ends by itself, with all that it has to do."""
    argv = [sys.executable, "-c", RUNNER, sys.executable, str(place / "ours" / "ansible-playbook"), str(place)]
    runner = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until((place / "begun").exists, "it has begun")
    runner.kill()
    runner.wait(WAIT)
    (place / "go").write_text("3")
    until((place / "done").exists, "it has come to its end")
    until(lambda: not any((place / "tmp").iterdir()), "nothing is left behind")
    assert runner.returncode == -signal.SIGKILL
