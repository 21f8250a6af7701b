# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line itself: exit statuses, messages, and the documentation that must not lie."""

from __future__ import annotations

import argparse
import importlib
import json
import pathlib
from typing import Any, Dict, List, Tuple

import pytest

from selfheal.daemon import cli, config, output, person
from selfheal.daemon.commands import simulate
from selfheal.daemon.commands.incidents import gather

PROBE = {"role": "liveness", "tcp": {"host": "127.0.0.1", "port": 9}}
WEB = {"name": "web", "resource": {"process": {"argv": ["/bin/true"]}}, "probes": [PROBE]}


def write(folder: pathlib.Path, name: str, data: Any) -> str:
    path = folder / name
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return str(path)


def files(folder: pathlib.Path, contracts: Any, scenario: Any) -> List[str]:
    return ["--contracts", write(folder, "c.json", contracts), "--scenario", write(folder, "s.json", scenario)]


def test_simulate_prints_events_states_and_probe_runs(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The output of `simulate --json` has the three keys of the format, each event its second, and exit status 0."""
    script = [{"at": 50, "gone": "web"}]
    status = cli.main(["simulate", "--json"] + files(tmp_path, {"services": [WEB]}, {"until": 100, "script": script}))
    result = json.loads(capsys.readouterr().out)
    assert 0 == status and {"events", "states", "probes"} == set(result)
    assert {"web": "healthy"} == result["states"] and result["probes"]["web/liveness"] > 9
    assert [("failure", 50), ("start", 50)] == [(event["type"], event["at"]) for event in result["events"] if event.get("service")][:2]


def test_simulate_without_json_is_a_table(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """People get a table of what would be decided and when."""
    scenario = {"until": 20, "script": [{"at": 5, "gone": "web"}]}
    assert 0 == cli.main(["simulate"] + files(tmp_path, {"services": [WEB]}, scenario))
    said = capsys.readouterr().out
    assert "AT" in said.splitlines()[0] and "5.000" in said and "healthy" in said


BROKEN: List[Tuple[Any, Any, List[str]]] = [
    ({"services": [{**WEB, "nmae": 1, "mode": "car"}]}, {"until": 1}, ["nmae", "services[0].mode"]),
    ({"services": [WEB]}, {"until": -1, "script": [{"at": 0, "gone": "wbe"}]}, ["until", "script[0].gone", "did you mean"]),
    ("{", {"until": 1}, ["is not JSON"]),
    ({"services": [WEB]}, "[" * 100, ["nests deeper"]),
]


@pytest.mark.parametrize(("contracts", "scenario", "words"), BROKEN, ids=["contract", "scenario", "json", "depth"])
def test_wrong_input_is_2_with_every_problem_named(
    contracts: Any, scenario: Any, words: List[str], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong contract or scenario is exit status 2, all problems on stderr at once, nothing on stdout, no traceback."""
    assert 2 == cli.main(["simulate", "--json"] + files(tmp_path, contracts, scenario))
    said = capsys.readouterr()
    assert "" == said.out and "Traceback" not in said.err
    assert [] == [word for word in words if word not in said.err]


def test_a_missing_file_is_2_and_an_unreadable_one_4(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is missing was asked for wrongly; what is there and cannot be read could not run. Both name the file."""
    contracts = write(tmp_path, "c.json", {"services": [WEB]})
    assert 2 == cli.main(["simulate", "--contracts", contracts, "--scenario", str(tmp_path / "none")])
    assert str(tmp_path / "none") in capsys.readouterr().err
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert 4 == cli.main(["probe", "--contracts", str(loop)])
    assert str(loop) in capsys.readouterr().err


USAGE = [
    ["timeline", "tail", "--type", "pages"],
    ["nonsense"],
    [],
    ["simulate"],
    ["hold", "web", "--for", "soon"],
    ["timeline", "verify", "--anchor", "x"],
]


@pytest.mark.parametrize("argv", USAGE)
def test_wrong_usage_is_2(argv: List[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Usage errors end with 2 and a usage line."""
    with pytest.raises(SystemExit) as end:
        cli.main(argv)
    assert 2 == end.value.code and "usage:" in capsys.readouterr().err


def test_a_fault_of_ours_is_a_message_and_4(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An unforeseen error shows one line that says where, not a traceback."""
    monkeypatch.setattr(simulate, "load_services", lambda path: 1 / 0)
    assert 4 == cli.main(["simulate", "--contracts", "x", "--scenario", "y"])
    said = capsys.readouterr().err
    assert "ZeroDivisionError" in said and "Traceback" not in said and 1 == len(said.splitlines())


def test_output_that_cannot_be_written_is_4(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results on a full disk are lost with one message and exit status 4; a message that cannot be written leaves the status as it was."""
    contracts = write(tmp_path, "c.json", {"services": [WEB]})
    with open("/dev/full", "w", encoding="utf-8") as full, monkeypatch.context() as patch:
        patch.setattr("sys.stdout", full)
        assert 4 == cli.main(["explain", "--contracts", contracts])
    said = capsys.readouterr().err.splitlines()
    assert 1 == len(said) and "writing the output: No space left on device" in said[0]
    with open("/dev/full", "w", encoding="utf-8") as full, monkeypatch.context() as patch:
        patch.setattr("sys.stderr", full)
        assert 2 == cli.main(["explain", "--contracts", str(tmp_path / "none")])


@pytest.fixture
def host(tmp_path: pathlib.Path) -> pathlib.Path:
    """A configured host on which no watchdog runs."""
    folders = {"state_dir": str(tmp_path / "var"), "run_dir": str(tmp_path / "run")}
    write(tmp_path, "watchdog.json", {"schema": 1, "host": "web1", "listen": "127.0.0.1:0", **folders})
    write(tmp_path, "contracts.json", {"services": [WEB]})
    return tmp_path


def test_status_without_a_watchdog_says_who_holds(host: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A hold and the red button are shown also where no watchdog runs: whoever wonders why nothing happens has to see them."""
    assert 0 == cli.main(["--etc", str(host), "hold", "web", "--reason", "patching"])
    assert 1 == cli.main(["--etc", str(host), "status"])
    assert "patching" in capsys.readouterr().out
    assert 0 == cli.main(["--etc", str(host), "hold", "--all", "--reason", "fire"])
    assert 0 == cli.main(["--etc", str(host), "unhold", "web"])
    capsys.readouterr()
    assert 1 == cli.main(["--etc", str(host), "status", "--json"])
    assert json.loads(capsys.readouterr().out)["services"][0]["held"].endswith(": fire")
    assert 0 == cli.main(["--etc", str(host), "unhold", "--all"])
    capsys.readouterr()
    assert 1 == cli.main(["--etc", str(host), "status", "--json"])
    assert json.loads(capsys.readouterr().out)["services"][0]["held"] is None


def test_what_was_only_to_be_noted_and_was_not_is_4(host: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`ack` with nobody to be called about is a record and nothing else: a timeline that cannot be written makes it fail. A hold is in
    force all the same."""
    (host / "var").mkdir()
    (host / "var" / "timeline").write_text("no directory")
    assert 4 == cli.main(["--etc", str(host), "ack", "web", "--json"])
    said = capsys.readouterr()
    assert {"done": False, "recorded": False}.items() <= json.loads(said.out).items() and "it was not recorded" in said.err
    assert 0 == cli.main(["--etc", str(host), "hold", "web", "--json"])
    said = capsys.readouterr()
    assert {"done": True, "recorded": False}.items() <= json.loads(said.out).items() and "it is in force" in said.err


def test_a_breaker_is_named_whole(host: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`web/` is not taken for `web`: whoever forgot the dependency's name does not force the service's own breaker."""
    assert 2 == cli.main(["--etc", str(host), "breaker", "web/", "open"])
    assert "names no dependency" in capsys.readouterr().err
    assert 0 == cli.main(["--etc", str(host), "breaker", "--json"])
    assert {"forced": []} == json.loads(capsys.readouterr().out)


def test_the_longest_span_is_all_there_is(host: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A span that reaches back before the year 1 is no fault of ours, and an empty timeline is told in words."""
    assert 0 == cli.main(["--etc", str(host), "timeline", "stats", "--since", "9999999d"])
    assert "no events" in capsys.readouterr().out


def _options(parser: argparse.ArgumentParser) -> List[argparse.Action]:
    found: List[argparse.Action] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                found += _options(sub)
        else:
            found.append(action)
    return found


@pytest.mark.parametrize("verb", cli.VERBS, ids=lambda verb: verb.name)
def test_every_option_is_explained_in_help_and_documentation(verb: cli.Verb, repository: pathlib.Path) -> None:
    """Each option of each verb has a help text, and stands in docs/cli.md."""
    parser = argparse.ArgumentParser()
    importlib.import_module("selfheal.daemon.commands.%s" % verb.module).configure(parser, verb.name)
    text = (repository / "docs" / "cli.md").read_text()
    assert "`%s" % verb.name in text
    options = _options(parser)
    assert [] == [action.dest for action in options if not action.help]
    assert [] == [name for action in options for name in action.option_strings if name not in text and name not in ("-h", "--help")]


CHECKS: List[Tuple[str, Dict[str, Any], List[str]]] = [
    ("off loopback", {"schema": 1, "host": "h", "listen": "0.0.0.0:1"}, ["listen", "token_file"]),
    ("unknown key", {"schema": 1, "host": "h", "lisen": "127.0.0.1:1"}, ["lisen"]),
    ("schema", {"schema": 2, "host": "h"}, ["schema"]),
]


@pytest.mark.parametrize(("_name", "watchdog", "words"), CHECKS, ids=[case[0] for case in CHECKS])
def test_check_lists_the_problems_of_both_files(
    _name: str, watchdog: Dict[str, Any], words: List[str], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`check` reads both files before it answers, and names every problem of both; 2."""
    write(tmp_path, "watchdog.json", watchdog)
    write(tmp_path, "contracts.json", {"services": [{**WEB, "mode": "car"}]})
    assert 2 == cli.main(["--etc", str(tmp_path), "check", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["valid"] is False
    assert [] == [word for word in words + ["services[0].mode"] if word not in "\n".join(found["problems"])]


def test_check_is_honest_about_what_it_does_not_do(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A valid contract that asks for more than this version does is valid, and gets a note that says what; what is done gets none."""
    done = {**WEB, "name": "done", "keep_warm": {"http": {"url": "http://127.0.0.1:1/"}}, "slow": {"predict": True}}
    box = {**WEB, "name": "box", "resource": {"container": "box"}, "ladder": [{"rung": "redeploy"}]}
    path = write(tmp_path, "contracts.json", {"services": [WEB, box, done]})
    assert 0 == cli.main(["check", "--contracts", path, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["valid"] is True and [] == found["problems"]
    assert ["box"] == list(found["notes"]) and "redeploy needs a release" in found["notes"]["box"][0]


LOOPBACK = [
    ("127.0.0.1", True),
    ("127.9.9.9", True),
    ("::1", True),
    ("localhost", True),
    ("0.0.0.0", False),
    ("::", False),
    ("10.0.0.1", False),
    ("localhost.example", False),
    ("127.0.0.1.example", False),
    ("", False),
]


@pytest.mark.parametrize(("host", "expected"), LOOPBACK)
def test_loopback_is_only_what_cannot_be_reached_from_outside(host: str, expected: bool) -> None:
    """An address counts as loopback only when that is certain."""
    assert expected is config.loopback(host)


def test_what_a_terminal_shows_cannot_play_tricks() -> None:
    """Escape sequences out of an event are shown, not obeyed."""
    assert "\\x1b[2Jok" == output.printable("\x1b[2Jok")
    assert "a\\nb" == output.printable("a\nb") and "grün" == output.printable("grün")


def test_words_of_an_event_leave_out_what_is_nested() -> None:
    """Lists of words are joined; mappings are left to --json."""
    assert ["a=1", "b=x,y", "c=none"] == output.pairs({"a": 1, "b": ["x", "y"], "c": [], "d": {"e": 1}, "f": [{}]})


def test_the_owner_is_the_person_behind_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    """SUDO_USER counts only for root: anybody can set a variable."""
    monkeypatch.setenv("SUDO_USER", "ada")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert "ada" == person.owner()
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    assert "ada" != person.owner()


def test_incidents_are_gathered_from_their_events() -> None:
    """One line an incident, with its cause, steps, page and end; what has no incident is left out."""
    at = "2026-11-21T21:03:%02d.000Z"

    def event(second: int, type: str, incident: str = "web-1", **data: Any) -> Dict[str, Any]:
        return {"timestamp": at % second, "type": type, "incident": incident, "service": "web", "source": "watchdog", "data": data}

    events = [
        {"timestamp": at % 0, "type": "watchdog_start"},
        event(1, "failure", failure_time=at % 0, reason="gone"),
        event(2, "start", attempt=1),
        event(3, "page", reason="flapping"),
        event(4, "recover", recovery_duration_ms=4000),
        event(5, "failure", "web-2", reason="liveness_failed"),
        event(6, "state_reset", "web-2"),
        event(7, "failure", "web-3", reason="gone", continues="web-1"),
    ]
    found = gather(events)
    assert [("web-1", "recovered", 4000, "flapping"), ("web-2", "closed_by_reboot", None, None), ("web-3", "open", None, None)] == [
        (each["incident"], each["outcome"], each["recovery_duration_ms"], each["paged"]) for each in found
    ]
    assert [at % 0, "start", "web-1"] == [found[0]["failure_time"], found[0]["steps"][0]["type"], found[2]["continues"]]
