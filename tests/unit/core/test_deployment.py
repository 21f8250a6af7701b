# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployments as pure data: which phase follows, what is stuck, where a rollback goes, and what goes first when room is made."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfheal._core import deployment as core
from selfheal._core.deployment import Deployment, Failure, Phase, Standing, Trigger
from selfheal._core.deployment_request import parse_request
from selfheal._core.errors import ContractError, IllegalTransition


def entry(name, at=None, word="good", kind="deploy", release=None, **options):
    standing = Standing(word, "active", at or "") if word else None
    phase = Phase.ACTIVE if at else Phase.FAILED
    times = {"started_at": "2026-01-01T00:00:00.000Z", "phase_updated_at": "2026-01-01T00:00:00.000Z"}
    return Deployment(name, "web", kind, release or name, phase=phase, activated_at=at, standing=standing, **times, **options)


def test_only_active_and_failed_end_a_deployment():
    """Every phase but the two last can end well and can fail; those two allow nothing."""
    for phase in Phase:
        following = {trigger for (state, trigger) in core.TRANSITIONS if state is phase}
        assert (following == set()) == (phase in core.OVER)
        assert phase in core.OVER or Trigger.FAIL in following
    with pytest.raises(IllegalTransition, match="active cannot fail"):
        core.advance(Phase.ACTIVE, Trigger.FAIL)


def test_a_rollback_builds_nothing():
    """From queued a rollback goes to the links at once, a deployment to its source."""
    queued = Deployment("v1", "web", "deploy", "v1", "", "")
    assert core.upcoming(queued) is Phase.PULLING_SOURCE
    assert core.upcoming(Deployment("r", "web", "rollback", "v1", "", "")) is Phase.CREATING_SYMLINKS


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "../x", "a\nb", "-x", ".x", "a..b", "x" * 101, "a b", "é", "a\0", None, 7, "a."])
def test_hostile_ids_are_refused(text):
    """An id becomes part of a path: separators, dots that lead up, line breaks and what begins like an option are no ids."""
    assert not core.valid_id(text)


@pytest.mark.parametrize("text", ["20261121210330", "v1.2.3", "a", "A_b-c", "v7.r1", "x" * 100])
def test_ids_that_people_use(text):
    """Times, versions and redeployments are ids."""
    assert core.valid_id(text)


def test_a_redeployment_gets_the_next_number_of_its_lineage():
    """v7 → v7.r1 → v7.r2, whatever other releases are called."""
    assert core.again("v7", ["v7", "v8.r9"]) == "v7.r1"
    assert core.again("v7.r1", ["v7", "v7.r1"]) == "v7.r2"
    assert core.again("v7.r2", ["v7.r10", "v70.r50"]) == "v7.r11"


@pytest.mark.parametrize(
    ("age", "alive", "do", "reason"),
    [
        (1000.0, True, "skip", "owner_alive"),
        (1000.0, None, "skip", "owner_unknown"),
        (299.0, False, "skip", "too_young"),
        (300.0, False, "resume", "interrupted"),
        (-5.0, False, "resume", "interrupted"),
    ],
)
def test_what_counts_as_stuck(age, alive, do, reason):
    """C46: a deployment whose runner died is found; one whose owner may live, or that was at work a moment ago, is left alone."""
    found = core.assess(Deployment("v1", "web", "deploy", "v1", "", "", phase=Phase.BUILDING), age, 300.0, alive)
    assert (found.do, found.reason) == (do, reason)


def test_order_is_by_activation_and_never_by_name():
    """C50: the newest good release is the one that became active last, whatever it is called."""
    entries = [entry("z", "2026-01-01T00:00:01.000Z"), entry("a", "2026-01-01T00:00:02.000Z"), entry("m", "2026-01-01T00:00:03.000Z")]
    assert [each.release for each in core.newest_good(entries, "m")] == ["a", "z"]
    assert core.current_act(entries).release == "m"


def test_a_rollback_never_goes_to_what_is_doubted_or_its_like():
    """C47, C50: what was left for a fault, and what is built of the same source, is no way back."""
    entries = [
        entry("v1", "2026-01-01T00:00:01.000Z"),
        entry("v2", "2026-01-01T00:00:02.000Z", "suspect"),
        entry("v2.r1", "2026-01-01T00:00:03.000Z"),
        entry("v3", "2026-01-01T00:00:04.000Z", "bad"),
        entry("v4", None, None),
    ]
    assert [each.release for each in core.newest_good(entries, "v3")] == ["v1"]
    assert core.newest_good(entries, "v1") == []


def test_the_code_is_as_old_as_its_lineage():
    """Built again, old code does not become young: suspect_for counts from its first activation."""
    entries = [entry("v1", "2026-01-01T00:00:01.000Z"), entry("v1.r1", "2026-03-01T00:00:00.000Z")]
    assert core.first_active(entries, "v1.r1") == "2026-01-01T00:00:01.000Z"


def test_the_highest_floor_of_all_that_were_active_counts():
    """What migrated the data was active once; going back does not undo that."""
    entries = [
        entry("v1", "2026-01-01T00:00:01.000Z", request={"schema": 1, "schema_floor": 1}),
        entry("v2", "2026-01-01T00:00:02.000Z", "suspect", request={"schema": 5, "schema_floor": 4}),
        entry("v3", None, None, request={"schema": 9, "schema_floor": 9}),
    ]
    assert core.floor(entries) == 4


def test_only_a_release_found_unhealthy_is_bad():
    """A build that failed says nothing about a release that never was; a probe that could not run says nothing at all."""
    running = Deployment("v1", "web", "deploy", "v1", "", "", phase=Phase.HEALTH_CHECK)
    assert core.failed(running, Failure(Phase.HEALTH_CHECK, "unhealthy", ""), "t").standing.word == "bad"
    assert core.failed(running, Failure(Phase.HEALTH_CHECK, "unproven", ""), "t").standing is None
    building = Deployment("v1", "web", "deploy", "v1", "", "", phase=Phase.BUILDING)
    assert core.failed(building, Failure(Phase.BUILDING, "build_failed", ""), "t").standing is None


WORDS = st.sampled_from(["good", "suspect", "bad"])


@given(st.lists(WORDS, min_size=1, max_size=12), st.integers(1, 8), st.data())
def test_pruning_keeps_current_and_takes_bad_before_good(words, keep, data):
    """C47, C48: failed releases never push out good ones, the current one always stays, and at most what is too much goes."""
    entries = [entry("v%d" % n, "2026-01-01T00:00:%02d.000Z" % n, word) for n, word in enumerate(words)]
    current = data.draw(st.sampled_from(entries)).release
    there = [each.release for each in entries]
    gone = core.prunable(entries, there + ["not-ours"], current, keep)
    assert current not in gone and "not-ours" not in gone
    assert len(gone) == max(0, min(len(words) - keep, len(words) - 1))
    rank = {"bad": 0, "suspect": 1, "good": 2}
    left = [each for each in entries if each.release not in gone and each.release != current]
    taken = [each for each in entries if each.release in gone]
    assert all(rank[one.standing.word] <= rank[other.standing.word] for one in taken for other in left)
    assert all(one.activated_at < other.activated_at for one in taken for other in left if one.standing.word == other.standing.word)


def request(**changes):
    return {"root": "/srv/www", "project": "web", "id": "v1", "source": {"upload": {"path": "/tmp/x"}}, **changes}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"project": "../etc"}, "project"),
        ({"project": "a b"}, "project"),
        ({"project": "a\nb"}, "project"),
        ({"project": ".."}, "project"),
        ({"root": "relative"}, "root"),
        ({"id": "a/b"}, "id"),
        ({"shared": ["/etc/passwd"]}, "shared[0]"),
        ({"shared": ["../x"]}, "shared[0]"),
        ({"shared": ["log", "log/x"]}, "shared[1]"),
        ({"source": {"upload": {"path": "/a"}, "git": {"repository": "/b"}}}, "source"),
        ({"source": {"git": {"repository": "ext::sh -c id"}}}, "source.git.repository"),
        ({"source": {"git": {"repository": "--upload-pack=id"}}}, "source.git.repository"),
        ({"source": {"git": {"repository": "/r", "ref": "--output=/etc/x"}}}, "source.git.ref"),
        ({"build": [{"argv": "make build"}]}, "build[0].argv"),
        ({"routes": [{"path": "/a", "content": ""}, {"path": "/a", "content": ""}]}, "routes[1].path"),
        ({"keep": 0}, "keep"),
        ({"schema_floor": 3}, "schema_floor"),
        ({"schema": 2, "schema_floor": 3}, "schema_floor"),
        ({"health": [{"http": {"url": "http://h/"}, "tcp": {"host": "h", "port": 1}}]}, "health[0]"),
        ({"restart": {"unit": "web"}}, "restart.unit"),
        ({"buidl": []}, "did you mean build"),
    ],
)
def test_wrong_requests_are_refused_with_the_place(changes, told):
    """Everything is checked before anything is touched, and the message names where."""
    with pytest.raises(ContractError) as error:
        parse_request(request(**changes))
    assert told in str(error.value)


def test_a_repository_with_credentials_is_refused_without_showing_them():
    """A token in a URL would stand in journals and logs."""
    with pytest.raises(ContractError) as error:
        parse_request(request(source={"git": {"repository": "https://me:geheim@git.example.com/web.git"}}))
    assert "token_file" in str(error.value) and "geheim" not in str(error.value)
