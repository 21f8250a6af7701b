# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container engine tells, and what that means. The events are those of Docker 20.10 and 26.1, recorded."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

import pytest

from selfheal._actuators import container_make as make
from selfheal._actuators import container_state as states
from selfheal._actuators.base import Presence, State
from selfheal._actuators.container import judge
from selfheal._actuators.container_engine import ContainerEngine
from selfheal._actuators.container_state import Clock, Story, stands
from selfheal._core.reasons import Reason
from selfheal._host import Outcome

NOW = Clock(5000.0, 1795313400.0)
ENDED = "2026-11-22T02:09:58.086089449Z"
"""1.9 s before now."""


def told(status: str, policy: str = "no", code: int = 0, **state: Any) -> Dict[str, Any]:
    body = {"Status": status, "ExitCode": code, "OOMKilled": False, "Error": "", "StartedAt": "2026-11-22T02:00:00Z", "FinishedAt": ENDED}
    return {
        "Id": "9a782a955d26" + "0" * 52,
        "Name": "/web",
        "Created": "2026-11-22T01:00:00Z",
        "State": {**body, **state},
        "Config": {"StopSignal": None, "StopTimeout": None},
        "HostConfig": {"RestartPolicy": {"Name": policy, "MaximumRetryCount": 0}},
        "RestartCount": 0,
    }


Event = Tuple[str, Dict[str, str], float]
STOP: List[Event] = [("kill", {"signal": "15"}, 10.0), ("die", {"exitCode": "0"}, 11.0), ("stop", {}, 11.1)]
KILL: List[Event] = [("kill", {"signal": "9"}, 10.0), ("die", {"exitCode": "137"}, 10.1)]
RELOAD: List[Event] = [("kill", {"signal": "1"}, 10.0), ("die", {"exitCode": "1"}, 10.2)]
CRASH: List[Event] = [("die", {"exitCode": "137"}, 10.0)]
OOM: List[Event] = [("oom", {}, 10.0), ("die", {"exitCode": "137"}, 10.1)]
LONG_AGO: List[Event] = [("kill", {"signal": "15"}, 10.0), ("die", {"exitCode": "1"}, 500.0)]
PODMAN = {"containerExitCode": "137", "exitCode": "137"}
PODMAN_STOP: List[Event] = [("die", PODMAN, 10.0), ("cleanup", {}, 10.1)]
PODMAN_KILL: List[Event] = [("kill", {}, 10.0), ("die", PODMAN, 10.1)]
RESTART: List[Event] = [*STOP, ("start", {}, 12.0), ("restart", {}, 12.0)]


def story(events: List[Event]) -> Story:
    found = Story()
    for action, attributes, at in events:
        found = found.after(action, attributes, at)
    return found


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (STOP, True),
        (KILL, True),
        (RELOAD, False),
        (CRASH, False),
        (OOM, False),
        (LONG_AGO, False),
        (RESTART, None),
        (PODMAN_STOP, None),
        (PODMAN_KILL, True),
        ([], None),
    ],
    ids=[
        "docker stop",
        "docker kill",
        "docker kill -s HUP, then a crash",
        "kill -9",
        "oom",
        "ignored a TERM",
        "docker restart",
        "podman stop",
        "podman kill",
        "unheard",
    ],
)
def test_who_stopped_it(events: List[Event], expected: Optional[bool]) -> None:
    """C01 docker stop and docker kill are told from a crash by the engine's events."""
    assert expected is states.by_hand(told("exited"), story(events))


@pytest.mark.parametrize(
    ("policy", "since", "expected"),
    [("always", 1.0, State.STARTING), ("always", 4.0, State.STOPPED), ("no", 1.0, State.STOPPED), ("on-failure", 4.0, State.STOPPED)],
)
def test_what_podman_is_about_to_start(policy: str, since: float, expected: State) -> None:
    """C07 between two lives Podman says exited: for moments that is its policy's business, and then somebody's stop."""
    ended = [("die", PODMAN, NOW.wall - since)]
    assert expected is stands(told("exited", policy, 137), story(ended), NOW)[0]


def test_a_stop_signal_of_its_own_counts() -> None:
    """docker stop of an image with STOPSIGNAL SIGUSR1 sends that."""
    own = told("exited")
    own["Config"]["StopSignal"] = "SIGUSR1"
    events: List[Event] = [("kill", {"signal": "10"}, 10.0), ("die", {}, 11.0)]
    assert states.by_hand(own, story(events)) and not states.by_hand(told("exited"), story(events))


def test_what_goes_down_with_its_engine_was_not_stopped() -> None:
    """An engine that stops sends its containers TERM: nobody's wish."""
    engine = ContainerEngine("unix:///nowhere")
    engine.names.add("web")
    for action, attributes, at in STOP:
        actor = {"ID": told("x")["Id"], "Attributes": {**attributes, "name": "web"}}
        engine.take({"Type": "container", "Action": action, "Actor": actor, "timeNano": int(at * 1e9)})
    engine.went_away(12.0)
    assert states.by_hand(told("exited"), engine.story(told("x")["Id"])) is False


@pytest.mark.parametrize(
    ("inspected", "events", "expected"),
    [
        (told("paused"), [], State.STOPPED),
        (told("restarting", "always"), [], State.STARTING),
        (told("restarting", "always", FinishedAt="2026-11-22T02:09:50Z"), [], State.GONE),
        (told("created"), [], State.NEVER),
        ({**told("created"), "Created": "2026-11-22T02:09:55Z"}, [], State.STARTING),
        (told("created", Error="port is already allocated"), [], State.GONE),
        (told("removing"), [], State.STOPPING),
        (told("dead"), [], State.GONE),
        (told("exited", "always", 137), [], State.STOPPED),
        (told("exited", "always", 128, Error="driver failed"), [], State.GONE),
        (told("exited", "no", 1), [], State.GONE),
        (told("exited", "no", 0), [], State.STOPPED),
        (told("exited", "no", 143), [], State.STOPPED),
        (told("exited", "no", 137, OOMKilled=True), [], State.GONE),
        (told("exited", "no", 0), CRASH, State.GONE),
        (told("exited", "always", 137), KILL, State.STOPPED),
        (told("weird"), [], State.UNKNOWN),
    ],
)
def test_what_stands_there(inspected: Dict[str, Any], events: List[Event], expected: State) -> None:
    """C01 C02 every state of a container, with the events that were heard and without; in doubt nothing is started."""
    state, detail, _again = stands(inspected, story(events), NOW)
    assert expected is state and detail


@pytest.mark.parametrize(
    ("policy", "events", "known"),
    [("no", CRASH, True), ("always", CRASH, False), ("no", [], False), ("no", RESTART, False)],
    ids=["died", "its policy may start it", "not heard yet", "started again"],
)
def test_a_death_is_known_with_its_event(policy: str, events: List[Event], known: bool) -> None:
    """While the engine cleans up it answers nothing; its event says all that is needed, unless somebody may start it again."""
    runs = told("running", policy, StartedAt="1970-01-01T00:00:01Z")
    found = states.ended(runs, story(events))
    assert known is (found is not None)
    if found is not None:
        assert State.GONE is stands(found, story(events), NOW)[0] and "exit code 137" in states.describe(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-22T02:12:00.8318097Z", 1795313520.8318097),
        ("2026-11-22T03:12:00+01:00", 1795313520.0),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
        (None, None),
    ],
)
def test_an_engines_times(text: Any, expected: Optional[float]) -> None:
    """Docker writes nanoseconds, Podman an offset, both the year 1 for never."""
    assert expected == states.moment(text)


def test_since_when_it_has_been_unhealthy() -> None:
    """The start of the first bad check of the present run, not of the last."""
    log = [{"Start": "2026-11-22T02:00:0%dZ" % second, "ExitCode": code} for second, code in ((1, 1), (2, 0), (3, 1), (4, 1))]
    sick = told("running", Health={"Status": "unhealthy", "Log": log})
    assert states.moment("2026-11-22T02:00:03Z") == states.health_since(sick, False)
    assert states.health_since(sick, True) is None


def asked(**state: Any) -> Outcome:
    return Outcome("ok", None, "", {"body": told("running", **state)})


@pytest.mark.parametrize(
    ("outcome", "status", "reason"),
    [
        (asked(), "ok", None),
        (asked(Health={"Status": "healthy"}), "ok", None),
        (asked(Health={"Status": "starting"}), "unknown", Reason.NOT_STARTED),
        (asked(Health={"Status": "unhealthy", "Log": [{"Output": "curl: (7)\n"}]}), "bad", Reason.CONTAINER_UNHEALTHY),
        (Outcome("ok", None, "", {"body": told("exited")}), "bad", Reason.NOT_RUNNING),
        (Outcome("ok", None, "", {"body": told("restarting")}), "unknown", Reason.NOT_RUNNING),
        (Outcome("bad", Reason.NO_SUCH_CONTAINER), "bad", Reason.NOT_RUNNING),
        (Outcome("unknown", Reason.ENGINE_DOWN), "unknown", Reason.ENGINE_DOWN),
        (Outcome("ok", None, "", {"body": {**told("running", StartedAt=ENDED), "RestartCount": 2}}), "unknown", Reason.NOT_STARTED),
        (Outcome("ok", None, "", {"body": {**told("running"), "RestartCount": 2}}), "ok", None),
    ],
)
def test_its_own_health(outcome: Outcome, status: str, reason: Optional[Reason]) -> None:
    """C06 the probe process: {} of a container is its own health check, and an engine that does not answer says nothing about it."""
    found = judge("web", outcome, NOW.wall)
    assert (status, reason) == (found.status, found.reason)


def test_looked_at_again_where_no_events_are_heard() -> None:
    """With events nothing is polled; without them every container is looked at every few seconds."""
    runs = Presence(State.RUNNING)
    assert (states.RELOOK_HEARD, states.RELOOK_UNHEARD) == (states.relook(runs, True).again, states.relook(runs, False).again)


def test_made_anew_from_what_the_engine_tells() -> None:
    """What came from the image is left to the new one; what somebody chose, and anonymous volumes, go over."""
    old = {
        **told("running"),
        "Image": "sha256:a",
        "Config": {
            "Image": "web:1",
            "Hostname": "9a782a955d26",
            "Env": ["PATH=/bin", "MINE=1"],
            "Cmd": ["serve"],
            "Entrypoint": ["/mine"],
            "Labels": {"vendor": "x", "mine": "1"},
            "StopTimeout": 3,
        },
        "HostConfig": {"NetworkMode": "front", "Binds": ["/srv:/srv:ro"], "RestartPolicy": {"Name": "no"}},
        "Mounts": [
            {"Type": "volume", "Name": "abc", "Destination": "/data", "RW": True},
            {"Type": "bind", "Source": "/srv", "Destination": "/srv"},
        ],
        "NetworkSettings": {
            "Networks": {"back": {"Aliases": ["db", "9a782a955d26"]}, "front": {"Aliases": None, "IPAMConfig": {"IPv4Address": "10.0.0.9"}}}
        },
    }
    image = {"Env": ["PATH=/bin"], "Cmd": ["serve"], "Entrypoint": None, "Labels": {"vendor": "x"}}
    body = make.create_body(old, "web:2", image, {"new": "2"}, ("always", 0))
    assert "web:2" == body["Image"] and ["MINE=1"] == body["Env"] and ["/mine"] == body["Entrypoint"] and 3 == body["StopTimeout"]
    assert "Cmd" not in body and "Hostname" not in body and {"mine": "1", "new": "2"} == body["Labels"]
    assert ["/srv:/srv:ro", "abc:/data"] == body["HostConfig"]["Binds"] and "always" == body["HostConfig"]["RestartPolicy"]["Name"]
    assert {"front": {"IPAMConfig": {"IPv4Address": "10.0.0.9"}}} == body["NetworkingConfig"]["EndpointsConfig"]
