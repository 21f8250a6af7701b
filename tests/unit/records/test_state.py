# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the watchdog remembers survives crashes, and what cannot be understood is set aside and told."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import stat
import time

import pytest

from selfheal._core.errors import RecordError
from selfheal._records.files import boot_id, process_start_time
from selfheal._records.state import StateStore, same_boot


def test_saved_state_comes_back_with_schema_and_boot(tmp_path):
    """What is saved is loaded, for its owner only readable, with the boot it belongs to."""
    store = StateStore(str(tmp_path / "state"))
    assert store.load("web") is None
    store.save("web", {"incident": "web-1", "rung": 2, "schema": 9, "boot_id": "other"})
    started = process_start_time(1)
    assert store.load("web") == {"schema": 1, "boot_id": boot_id(), "init_started": started, "incident": "web-1", "rung": 2}
    assert stat.S_IMODE((tmp_path / "state" / "web.json").stat().st_mode) == 0o600
    assert (store.forget("web"), store.forget("web"), store.load("web")) == (True, False, None)


@pytest.mark.parametrize(
    "changed, same",
    [({}, True), ({"init_started": None}, True), ({"init_started": 1}, False), ({"boot_id": "other"}, False)],
    ids=["this", "where process 1 is hidden", "the container was started anew", "the kernel was"],
)
def test_which_boot_it_was_saved_on(changed, same):
    """C37 a state counts as of this boot only if both the kernel and process 1 are those it was saved under."""
    saved = {"boot_id": boot_id(), "init_started": process_start_time(1), **changed}
    assert same is same_boot({key: value for key, value in saved.items() if value is not None})


GOOD = {"schema": 1, "boot_id": "x"}


@pytest.mark.parametrize(
    "content, problem",
    [
        (b"", "Expecting value"),
        (b'{"schema":1,"boot', "Unterminated"),
        (b"\x00" * 100, "Expecting value"),
        (b"\xff\xfe\xff", "codec"),
        (b"[]", "no JSON object"),
        (b'{"boot_id":"x"}', "schema is None"),
        (b'{"schema":2,"boot_id":"x"}', "schema is 2, expected 1"),
        (b'{"schema":true,"boot_id":"x"}', "schema is True"),
        (b'{"schema":1}', "no boot_id"),
        (b"[" * 200000, "nested too deeply"),
        (b'{"schema":1,"boot_id":"' + b"x" * 1100000 + b'"}', "at most 1048576"),
    ],
    ids=["empty", "cut", "zeros", "binary", "list", "no-schema", "newer", "bool", "no-boot", "deep", "large"],
)
def test_garbled_state_is_set_aside_and_told(tmp_path, clock, content, problem):
    """A file that cannot be read is kept under another name, and the caller hears why."""
    told: list = []
    store = StateStore(str(tmp_path), lambda *arguments: told.append(arguments), clock)
    (tmp_path / "web.json").write_bytes(content)
    assert store.load("web") is None
    service, aside, why = told[0]
    assert (service, problem in why, os.path.basename(aside).startswith("web.json.bad-2026")) == ("web", True, True)
    assert pathlib.Path(aside).read_bytes() == content
    assert (store.load("web"), len(told)) == (None, 1)
    (tmp_path / "web.json").write_bytes(content)
    assert (store.load("web"), told[1][1]) == (None, aside + "-2")


@pytest.mark.parametrize("kind", ["link", "dangling", "directory", "pipe"])
def test_what_is_no_file_is_set_aside_and_never_waited_for(tmp_path, kind):
    """A link is not followed, a pipe does not block, a directory is no state."""
    path = tmp_path / "web.json"
    if kind == "link":
        (tmp_path / "secret").write_text(json.dumps(GOOD))
        path.symlink_to(tmp_path / "secret")
    elif kind == "dangling":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    told: list = []
    assert StateStore(str(tmp_path), lambda *arguments: told.append(arguments)).load("web") is None
    assert (len(told), os.path.lexists(path)) == (1, False)


@pytest.mark.parametrize("name", ["", "../web", "a/b", "Web", ".web", "web.json", "a" * 64, "w\n", "wéb", None, 5])
def test_only_names_of_services_become_file_names(tmp_path, name):
    """Nothing else can reach a path."""
    store = StateStore(str(tmp_path))
    for call in (store.load, store.forget, lambda value: store.save(value, {})):
        with pytest.raises(RecordError, match="no name of a service"):
            call(name)


@pytest.mark.parametrize("state", [{"a": float("nan")}, {"a": object()}, {"a": "x" * 1100000}])
def test_a_state_that_cannot_be_kept_is_refused_and_the_old_one_stays(tmp_path, state):
    """A refused save changes nothing."""
    store = StateStore(str(tmp_path))
    store.save("web", {"rung": 1})
    with pytest.raises(RecordError, match="state of web"):
        store.save("web", state)
    assert store.load("web")["rung"] == 1


def test_a_full_disk_is_an_error_and_the_old_state_stays(small_disk):
    """ENOSPC leaves the last good state and no rubbish behind."""
    folder = small_disk("size=64k")
    store = StateStore(str(folder / "state"))
    store.save("web", {"rung": 1})
    with pytest.raises(RecordError, match="ENOSPC"):
        store.save("web", {"pad": "x" * 100000})
    assert store.load("web")["rung"] == 1
    assert os.listdir(folder / "state") == ["web.json"]


SAVER = """
from selfheal._records.state import StateStore
store = StateStore(sys.argv[1])
number = int(sys.argv[2])
while True:
    number += 1
    store.save("web", {"number": number, "pad": "x" * 20000})
    os.write(1, b"%d\\n" % number)
"""


def test_kill_9_leaves_the_old_or_the_new_state_whole_C46(tmp_path, spawn):
    """Killed at random instants, the state is never older than the last save that returned, never torn, and leftovers go."""
    number = 0
    for turn in range(25):
        child = spawn(SAVER, str(tmp_path), str(number))
        output = child.stdout.readline()
        time.sleep(0.0007 * turn)
        child.send_signal(signal.SIGKILL)
        output += child.stdout.read()
        child.wait()
        last = int(output.split(b"\n")[:-1][-1])
        number = StateStore(str(tmp_path)).load("web")["number"]
        assert number >= last
    child = spawn(SAVER, str(tmp_path), str(number))
    child.stdout.readline()
    child.kill()
    child.wait()
    assert len(os.listdir(tmp_path)) <= 2
