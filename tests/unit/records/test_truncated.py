# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of file of ours, cut off at every byte and garbled: whoever reads it refuses it in words, or takes what it still says."""

from __future__ import annotations

import os
import pathlib
import random
import shutil
from typing import Any, Callable, Dict, List, Tuple

import pytest

from selfheal._core.contract import parse_services, parse_watchdog
from selfheal._core.errors import SelfhealError
from selfheal._core.loading import load_json
from selfheal._records.approvals import Approvals
from selfheal._records.faults import Faults
from selfheal._records.files import Owner
from selfheal._records.holds import Holds
from selfheal._records.lease import LeaseSet
from selfheal._records.pages import Page, Pages
from selfheal._records.read import read
from selfheal._records.state import StateStore
from selfheal._records.timeline import Timeline
from selfheal._records.verify import verify

Read = Callable[[pathlib.Path], Any]
CONTRACTS = '{"services": [{"name": "web", "resource": {"unit": "web.service"}, "probes": [{"role": "liveness", "http": {"url": "http://[::1]/"}}]}]}'


def _state(home: pathlib.Path) -> Read:
    StateStore(str(home)).save("web", {"memory": {"streak": 3}, "healths": {}})
    return lambda folder: StateStore(str(folder), lambda *told: None).load("web")


def _hold(home: pathlib.Path) -> Read:
    Holds(str(home), str(home / "etc")).set("web", "ada", "fire drill", 600.0)
    return lambda folder: (Holds(str(folder), str(folder / "etc")).active("web"), Holds(str(folder), str(folder / "etc")).list())


def _approval(home: pathlib.Path) -> Read:
    Approvals(str(home)).approve("web", "ada")
    return lambda folder: (Approvals(str(folder)).peek("web"), Approvals(str(folder)).consume("web"))


def _lease(home: pathlib.Path) -> Read:
    LeaseSet(str(home)).acquire(["unit:web.service"], "watchdog", "healing web", 60.0)

    def take(folder: pathlib.Path) -> Any:
        leases = LeaseSet(str(folder), lock_timeout=0.2)
        return leases.holder("unit:web.service"), leases.list()

    return take


def _page(home: pathlib.Path) -> Read:
    pages = Pages(str(home), lambda *told: None)
    pages.save(Page("web-20261121T210330.001Z", "web", 1.0, {"reason": "ladder_exhausted"}, owner=Owner.current()))
    return lambda folder: (
        Pages(str(folder), lambda *told: None).others([]),
        Pages(str(folder), lambda *told: None).load("web-20261121T210330.001Z"),
    )


def _timeline(home: pathlib.Path) -> Read:
    timeline = Timeline(str(home), "h1")
    for number in range(3):
        timeline.append("note", "web", data={"text": "number %d" % number})
    timeline.close()

    def use(folder: pathlib.Path) -> Any:
        judged = verify(str(folder))
        appending = Timeline(str(folder), "h1")
        try:
            appending.append("note", data={"text": "after"})
        finally:
            appending.close()
        return judged, read(str(folder))

    return use


def _fault(home: pathlib.Path) -> Read:
    Faults(str(home)).save({"fault_id": "f-1", "fault": "process_stop", "pid": 1, "start_time": 1, "duration": 5.0, "service": "web"})
    return lambda folder: (Faults(str(folder)).load("f-1"), Faults(str(folder)).all())


def _contracts(home: pathlib.Path) -> Read:
    (home / "contracts.json").write_text(CONTRACTS)
    return lambda folder: parse_services(load_json((folder / "contracts.json").read_bytes(), "contracts.json"), "contracts.json")


def _watchdog(home: pathlib.Path) -> Read:
    (home / "watchdog.json").write_text('{"schema": 1, "host": "web1", "listen": "127.0.0.1:9877", "storm": {"services": 5}}')
    return lambda folder: parse_watchdog(load_json((folder / "watchdog.json").read_bytes(), "watchdog.json"), "watchdog.json")


KINDS: Dict[str, Callable[[pathlib.Path], Read]] = {
    "state": _state,
    "hold": _hold,
    "approval": _approval,
    "lease": _lease,
    "page": _page,
    "timeline": _timeline,
    "fault": _fault,
    "contracts": _contracts,
    "watchdog": _watchdog,
}
RUBBISH = [
    b"",
    b"\xef\xbb\xbf{}",
    b"null",
    b"[]",
    b"{",
    b"\x00" * 40,
    b"\xff\xfe\x00",
    b"[" * 100000,
    b'{"a":' * 50000,
    b'"\\ud800"',
    b"1e999",
    b"NaN",
]


def _files(home: pathlib.Path) -> List[pathlib.Path]:
    return sorted(path for path in home.rglob("*") if path.is_file() and path.stat().st_size and not path.name.startswith("."))


def _damages(raw: bytes, seed: int) -> List[bytes]:
    dice = random.Random(seed)
    cut = [raw[:at] for at in range(len(raw))]
    flipped = []
    for _each in range(60):
        changed = bytearray(raw)
        for _bit in range(dice.choice((1, 1, 3))):
            changed[dice.randrange(len(raw))] = dice.choice((0, 0x22, 0x2D, 0x39, 0x5B, 0x7B, 0xFF, dice.randrange(256)))
        flipped.append(bytes(changed))
    return [*cut, *flipped, *RUBBISH, raw + raw, raw + b"\x00"]


@pytest.mark.parametrize("kind", KINDS)
def test_no_damage_is_ever_more_than_a_refusal(kind: str, tmp_path: pathlib.Path) -> None:
    """C46 C51 C67 cut at every byte, bits changed, rubbish instead: an error of ours or an answer, nothing else, and no hang."""
    home = tmp_path / "home"
    home.mkdir()
    use = KINDS[kind](home)
    worked, refused = 0, 0
    for original in _files(home):
        for number, damage in enumerate(_damages(original.read_bytes(), len(kind))):
            copy = tmp_path / "copy"
            shutil.copytree(home, copy)
            (copy / original.relative_to(home)).write_bytes(damage)
            try:
                use(copy)
                worked += 1
            except SelfhealError as error:
                refused += 1
                assert len(str(error)) < 5000 and str(error), number
            shutil.rmtree(copy)
    assert worked + refused > 80


ASIDE: List[Tuple[str, str]] = [("state", "*.bad-*"), ("page", "*.bad-*")]


@pytest.mark.parametrize(("kind", "pattern"), ASIDE)
def test_what_was_refused_is_kept_aside_byte_for_byte(kind: str, pattern: str, tmp_path: pathlib.Path) -> None:
    """C67 the evidence is not destroyed by whoever could not read it."""
    use = KINDS[kind](tmp_path)
    (path,) = _files(tmp_path)
    damage = path.read_bytes()[:-7]
    path.write_bytes(damage)
    use(tmp_path)
    (aside,) = list(tmp_path.rglob(pattern))
    assert aside.read_bytes() == damage and not path.exists()


def test_a_damaged_hold_still_holds(tmp_path: pathlib.Path) -> None:
    """C01 somebody said hands off; that it cannot be read any more is no leave to act."""
    _hold(tmp_path)
    (path,) = _files(tmp_path)
    for damage in (b"", b"{", b"null", b"\xff" * 10, path.read_bytes()[:-3]):
        path.write_bytes(damage)
        assert Holds(str(tmp_path), str(tmp_path / "etc")).active("web") is not None
    os.unlink(path)
    assert Holds(str(tmp_path), str(tmp_path / "etc")).active("web") is None


def test_a_damaged_approval_approves_nothing(tmp_path: pathlib.Path) -> None:
    """What cannot be read allows nothing."""
    _approval(tmp_path)
    (path,) = _files(tmp_path)
    whole = path.read_bytes()
    for damage in (b"", b"{", b"null", b"[]", whole[:-3], whole[1:], whole.replace(b"expires", b"expired")):
        path.write_bytes(damage)
        assert Approvals(str(tmp_path)).peek("web") is None
