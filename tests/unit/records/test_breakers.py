# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people say of breakers: kept, found, lifted; and a file that means nothing says nothing."""

from __future__ import annotations

import os
import pathlib
import stat

import pytest

from selfheal._core.errors import RecordError
from selfheal._records.breakers import Breakers


def test_what_was_said_is_found_until_it_is_lifted(tmp_path: pathlib.Path) -> None:
    """A service's own breaker and its dependencies' are apart; the newest word holds; only its owner reads the file."""
    breakers = Breakers(str(tmp_path), clock=lambda: 1795294218.0)
    assert breakers.list() == [] and breakers.version() == (0, 0)
    breakers.force("web", None, "open", "ann")
    breakers.force("web", "payments", "open", "ann", "they migrate")
    said = breakers.force("web", "payments", "disabled", "bob")
    assert breakers.read("web", "payments") == said and (said.name, said.to, said.owner) == ("web/payments", "disabled", "bob")
    assert [(each.name, each.to) for each in breakers.list()] == [("web", "open"), ("web/payments", "disabled")]
    assert said.as_data() == {
        "breaker": "web/payments",
        "dependency": "payments",
        "to": "disabled",
        "owner": "bob",
        "since": "2026-11-21T20:50:18.000Z",
    }
    assert stat.S_IMODE(os.stat(os.path.join(breakers.directory, "web@payments.json")).st_mode) == 0o600
    assert (breakers.lift("web", "payments"), breakers.lift("web", "payments")) == (True, False)
    assert breakers.read("web", "payments") is None and breakers.read("web", None) is not None


def test_the_version_changes_with_every_word(tmp_path: pathlib.Path) -> None:
    """Whoever waits for news compares one number, and misses none."""
    breakers, seen = Breakers(str(tmp_path)), []
    for change in (lambda: breakers.force("web", None, "open", "ann"), lambda: breakers.force("web", None, "disabled", "ann")):
        change()
        seen.append(breakers.version())
        os.utime(breakers.directory, ns=(1, len(seen)))
    breakers.lift("web", None)
    seen.append(breakers.version())
    assert len(set(seen)) == 3


@pytest.mark.parametrize(
    "garbage", [b"", b"{}", b"[1]", b'{"to": "ajar", "owner": "x", "reason": "", "since": "2026-01-01T00:00:00Z"}', b"[" * 60000]
)
def test_garbage_is_set_aside_and_says_nothing(tmp_path: pathlib.Path, garbage: bytes) -> None:
    """A garbled file forces nothing, is kept for who wants to look, and is told of."""
    told: list[str] = []
    breakers = Breakers(str(tmp_path), lambda path, aside, problem: told.append(aside))
    breakers.force("web", None, "open", "ann")
    path = pathlib.Path(breakers.directory) / "web.json"
    path.write_bytes(garbage)
    assert breakers.read("web", None) is None and breakers.list() == []
    assert len(told) == 1 and pathlib.Path(told[0]).read_bytes() == garbage


@pytest.mark.parametrize(
    "service,dependency,to,owner",
    [("web", None, "ajar", "ann"), ("../x", None, "open", "ann"), ("web", "a/b", "open", "ann"), ("web", None, "open", " ")],
)
def test_nonsense_is_refused(tmp_path: pathlib.Path, service: str, dependency: str, to: str, owner: str) -> None:
    """No name leads out of the directory, and nothing is forced by nobody."""
    with pytest.raises(RecordError):
        Breakers(str(tmp_path)).force(service, dependency, to, owner)
