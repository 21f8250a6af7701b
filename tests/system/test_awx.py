# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook awx against a stand-in for AWX's API (awx_double.py): what is sent, what a second run does, what is not shown."""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLLECTION = pathlib.Path(os.environ.get("SELFHEAL_COLLECTION_ROOT") or ROOT)
AWX = os.environ.get("SELFHEAL_AWX_COLLECTIONS", "")
EXAMPLE = ROOT / "docs" / "examples" / "awx.yml"
SECRET = "xoxb-0123-the-secret-of-slack"

spec = importlib.util.spec_from_file_location("awx_double", pathlib.Path(__file__).with_name("awx_double.py"))
assert spec is not None and spec.loader is not None
double = importlib.util.module_from_spec(spec)
sys.modules["awx_double"] = double
spec.loader.exec_module(double)

needs_awx = pytest.mark.skipif(not AWX, reason="SELFHEAL_AWX_COLLECTIONS does not say where awx.awx is; tests/tools/system.sh has it")
# What the role does is the same for every runbook; most tests save the time of most of them.
FEW = {"awx_runbooks_excluded": ["deploy", "drill", "hold", "install", "report", "resume", "rollback", "unhold", "uninstall"]}


class Ended(NamedTuple):
    code: int
    text: str

    @property
    def words(self) -> str:
        """The output however it was folded."""
        return " ".join(self.text.split())

    def counted(self) -> Dict[str, int]:
        line = next(line for line in self.text.splitlines() if line.startswith("localhost ") and "ok=" in line)
        return {key: int(value) for key, value in (word.split("=") for word in line.split(":", 1)[1].split())}


class Awx:
    """The stand-in, and ansible-playbook as somebody would call it."""

    def __init__(self, server: Any, folder: pathlib.Path) -> None:
        self.server, self.store, self.folder = server, server.store, folder
        self.store.add("credentials", {"name": "fleet-repository"})

    def play(self, *words: str, path: str = AWX, token: str = double.TOKEN, **more: Any) -> Ended:
        (self.folder / "more.json").write_text(json.dumps({"vault_slack_token": SECRET, **more}))
        environment = {
            **os.environ,
            # The directory that has ansible_collections/faultline/selfheal; a checkout is shown by a link.
            "ANSIBLE_COLLECTIONS_PATH": os.pathsep.join(str(one) for one in (_above(self.folder), path) if one),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_PIPELINING": "true",
            "CONTROLLER_HOST": self.server.url,
            "CONTROLLER_OAUTH_TOKEN": token,
        }
        argv = ["ansible-playbook", "faultline.selfheal.awx", "-e", "@%s" % EXAMPLE, "-e", "@%s" % (self.folder / "more.json"), *words]
        argv[0] = str(pathlib.Path(sys.executable).with_name(argv[0]))
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300, env=environment, cwd=self.folder)
        return Ended(done.returncode, done.stdout + done.stderr)

    def one(self, kind: str, name: str) -> Any:
        """The one thing of that name or identifier."""
        (found,) = [thing for thing in self.store.things[kind].values() if name in (thing.get("name"), thing.get("identifier"))]
        return found

    def tied(self, thing: Any, part: str) -> List[int]:
        return self.store.related.get("%s%s/" % (thing["url"], part), [])

    def forget(self) -> None:
        self.store.requests.clear()


def _above(folder: pathlib.Path) -> pathlib.Path:
    above = folder / "collections"
    link = above / "ansible_collections" / "faultline" / "selfheal"
    if not link.exists():
        link.parent.mkdir(parents=True)
        link.symlink_to(COLLECTION)
    return above


@pytest.fixture
def awx(tmp_path: pathlib.Path) -> Iterator[Awx]:
    with double.Double() as server:
        yield Awx(server, tmp_path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tuple[Awx, Ended]]:
    """An AWX that was given the whole example once."""
    with double.Double() as server:
        one = Awx(server, tmp_path_factory.mktemp("awx"))
        yield one, one.play("-vvv")


@needs_awx
def test_the_example_makes_a_template_with_its_survey_for_each_runbook(made: Tuple[Awx, Ended]) -> None:
    """Names, playbooks, prompts and surveys are as the runbooks take them; what is said of a single one reaches it alone."""
    awx, first = made
    assert (0, 0) == (first.code, first.counted()["failed"]), first.text
    templates = {thing["name"]: thing for thing in awx.store.things["job_templates"].values()}
    wanted = {path.stem for path in (ROOT / "playbooks").glob("*.yml")} & set(_catalogue()) - {"drill", "uninstall"}
    assert {"selfheal-" + name for name in wanted} == set(templates)
    for name, thing in templates.items():
        assert "playbooks/%s.yml" % name[len("selfheal-") :] == thing["playbook"]
        assert all(thing["ask_%s_on_launch" % prompt] for prompt in ("limit", "variables", "job_type")), thing
        assert [awx.one("credentials", "fleet-key")["id"]] == awx.tied(thing, "credentials")
        assert [awx.one("instance_groups", "onsite")["id"]] == awx.tied(thing, "instance_groups")
        assert [awx.one("notification_templates", "oncall")["id"]] == awx.tied(thing, "notification_templates_error")
    probe, heal = templates["selfheal-probe"], templates["selfheal-heal"]
    assert (50, 4, 900, "{}") == tuple(probe[key] for key in ("forks", "job_slice_count", "timeout", "extra_vars"))
    assert (0, 1, 1800, {"selfheal_max_hosts": 1}) == (
        *(heal[key] for key in ("forks", "job_slice_count", "timeout")),
        json.loads(heal["extra_vars"]),
    )
    assert (True, False) == (heal["allow_simultaneous"], templates["selfheal-deploy"]["allow_simultaneous"])
    (asked,) = awx.store.surveys[heal["related"]["survey_spec"]]["spec"]
    assert ("selfheal_names", "multiselect", True, ["web", "worker", "billing"]) == tuple(
        asked[key] for key in ("variable", "type", "required", "choices")
    )
    assert not templates["selfheal-reconcile"]["survey_enabled"]


@needs_awx
def test_projects_inventory_and_schedules_are_what_the_example_says(made: Tuple[Awx, Ended]) -> None:
    """Runbooks come from a tag, the inventory from its own repository, and what runs when is written as AWX wants it."""
    awx, _first = made
    sources = {(thing["name"], thing["scm_url"], thing["scm_branch"]) for thing in awx.store.things["projects"].values()}
    assert {
        ("selfheal", "https://github.com/faultline/selfheal.git", "0.1.0"),
        ("fleet", "https://git.example.com/ops/fleet.git", "main"),
    } == sources
    (source,) = awx.store.things["inventory_sources"].values()
    assert (awx.one("projects", "fleet")["id"], "inventories/production", True) == (
        source["source_project"],
        source["source_path"],
        source["update_on_launch"],
    )
    said = {one["name"]: one for one in yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))["awx_schedules"]}
    made_ = {thing["name"]: thing for thing in awx.store.things["schedules"].values()}
    assert {"selfheal-" + name for name in said} == set(made_)
    for name, one in said.items():
        thing = made_["selfheal-" + name]
        assert (one["rrule"], one.get("extra_vars", {}), True) == (thing["rrule"], thing["extra_data"], thing["enabled"])
        assert awx.one("job_templates", "selfheal-" + one["runbook"])["id"] == thing["unified_job_template"]
    assert ["job_templates/%d/launch/" % awx.one("job_templates", "selfheal-probe")["id"]] == [
        path for _method, path, _body in awx.store.requests if path.endswith("/launch/")
    ]


@needs_awx
def test_the_escalation_goes_on_until_a_probe_says_that_it_helped(made: Tuple[Awx, Ended]) -> None:
    """After each runbook that succeeded the fleet is asked; a failure of either leads to the next runbook, if there is one."""
    awx, _first = made
    nodes = {thing["identifier"]: thing for thing in awx.store.things["workflow_job_template_nodes"].values()}
    names = {thing["id"]: name for name, thing in nodes.items()}
    ways = {
        name: {part: [names[to] for to in awx.tied(thing, part)] for part in ("success_nodes", "failure_nodes", "always_nodes")}
        for name, thing in nodes.items()
    }
    none: List[str] = []
    assert {
        "heal": {"success_nodes": ["heal-helped"], "failure_nodes": ["reconcile"], "always_nodes": none},
        "heal-helped": {"success_nodes": none, "failure_nodes": ["reconcile"], "always_nodes": none},
        "reconcile": {"success_nodes": ["reconcile-helped"], "failure_nodes": none, "always_nodes": none},
        "reconcile-helped": {"success_nodes": none, "failure_nodes": none, "always_nodes": none},
    } == ways
    probe = awx.one("job_templates", "selfheal-probe")["id"]
    assert [probe, probe] == [nodes[name]["unified_job_template"] for name in ("heal-helped", "reconcile-helped")]
    workflow = awx.one("workflow_job_templates", "selfheal-escalate")
    assert workflow["ask_limit_on_launch"] and workflow["ask_variables_on_launch"]
    assert [awx.one("notification_templates", "oncall")["id"]] == awx.tied(workflow, "notification_templates_error")


@needs_awx
def test_no_secret_is_in_what_is_shown_at_the_highest_verbosity_people_use(made: Tuple[Awx, Ended]) -> None:
    """Neither the token of AWX nor that of Slack stands in the output of -vvv; Slack's did reach AWX."""
    awx, first = made
    assert double.TOKEN not in first.text and SECRET not in first.text
    (sent,) = [body for _method, path, body in awx.store.requests if path == "notification_templates/"]
    assert SECRET == sent["notification_configuration"]["token"]


@needs_awx
def test_a_second_run_changes_nothing_but_what_it_starts(made: Tuple[Awx, Ended]) -> None:
    """Idempotent, notification secrets included."""
    awx, _first = made
    awx.forget()
    again = awx.play()
    assert (0, 1) == (again.code, again.counted()["changed"]), again.text
    assert ["POST"] == [method for method, _path, _body in awx.store.requests]
    assert awx.store.requests[0][1].endswith("/launch/")


@needs_awx
def test_check_mode_sends_nothing_to_an_awx_that_has_nothing(awx: Awx) -> None:
    """It says where it had to end; what cannot be asked for is no error."""
    looked = awx.play("--check", **FEW, awx_launch=[], awx_schedules=[])
    assert (0, []) == (looked.code, awx.store.requests), looked.text
    assert "Check mode ends here: the organization Faultline would be made" in looked.words


@needs_awx
def test_what_was_changed_in_awx_is_put_back(awx: Awx) -> None:
    """A template that somebody bent by hand, and a survey, are again what the file says, and nothing else; check mode foretells it."""
    few = {**FEW, "awx_schedules": []}
    assert 0 == awx.play(**few).code
    heal = awx.one("job_templates", "selfheal-heal")
    heal["ask_limit_on_launch"] = False
    awx.store.surveys[heal["related"]["survey_spec"]]["spec"][0]["choices"] = ["other"]
    awx.forget()
    looked = awx.play("--check", **few)
    assert (0, 1, []) == (looked.code, looked.counted()["changed"], awx.store.requests), looked.text
    mended = awx.play(**few, awx_launch=[])
    assert (0, 1) == (mended.code, mended.counted()["changed"]), mended.text
    assert [("PATCH", "job_templates/%d/" % heal["id"]), ("POST", "job_templates/%d/survey_spec/" % heal["id"])] == [
        (method, path) for method, path, _body in awx.store.requests
    ]
    assert heal["ask_limit_on_launch"]
    assert ["web", "worker", "billing"] == awx.store.surveys[heal["related"]["survey_spec"]]["spec"][0]["choices"]


@needs_awx
@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (("POST", "job_templates/", 500), "The host sent back a server error"),
        (("GET", "organizations/", 401), "Invalid authentication credentials"),
        (("POST", "notification_templates/", 400), "notification template oncall: it does not like the configuration"),
    ],
    ids=["server-error", "token", "notification-refused"],
)
def test_trouble_with_awx_is_told_and_not_its_secrets(awx: Awx, trouble: Tuple[str, str, int], told: str) -> None:
    """An AWX that breaks or refuses ends the run with what it said; an answer that repeats a secret is not shown."""
    awx.store.trouble = trouble
    ended = awx.play("-vvv", **FEW, awx_launch=[], awx_schedules=[])
    assert 2 == ended.code, ended.text
    assert told in ended.words, ended.text
    assert SECRET not in ended.text and double.TOKEN not in ended.text


@needs_awx
@pytest.mark.parametrize(
    ("more", "told"),
    [
        (
            {
                "awx_escalation": ["heel"],
                "awx_services": [],
                "awx_runbooks": {"heal": {"job_slice_count": 2, "timout": 2}},
                "awx_schedules": [{"name": "x", "runbook": "heal", "rrule": "FREQ=HOURLY"}],
            },
            [
                "There is no runbook heel.",
                "awx_services is empty",
                "slices heal, which must see the whole selection",
                "awx_runbooks says timout",
                "The rrule of x",
            ],
        ),
        ({"awx_runbooks_excluded": ["probe"]}, ["probe in awx_escalation"]),
        ({"awx_notifications": [{"name": "x", "type": "pigeon", "configuration": {}}]}, ["pigeon"]),
    ],
    ids=["slips", "excluded", "notification"],
)
def test_what_cannot_be_meant_is_refused_before_awx_is_asked(awx: Awx, more: Dict[str, Any], told: List[str]) -> None:
    """All slips in the file are told at once and in words, and nothing was sent."""
    ended = awx.play(**more)
    assert (2, []) == (ended.code, awx.store.requests), ended.text
    assert [] == [words for words in told if words not in ended.words], ended.text


def test_without_awx_awx_it_says_what_to_install(awx: Awx) -> None:
    """The collection is needed for this one playbook only, so its absence is a sentence and not a parser's error."""
    ended = awx.play(path="")
    assert (2, []) == (ended.code, awx.store.requests), ended.text
    assert "ansible-galaxy collection install awx.awx:24.6.1" in ended.words


def _catalogue() -> Dict[str, Any]:
    return dict(yaml.safe_load((COLLECTION / "roles" / "awx" / "vars" / "main.yml").read_text(encoding="utf-8"))["awx_catalogue"])


def test_every_runbook_is_in_the_catalogue() -> None:
    """A new playbook gets its job template, or is named here as one that AWX does not run."""
    not_from_awx = {"awx"}
    assert {path.stem for path in (COLLECTION / "playbooks").glob("*.yml")} - not_from_awx == set(_catalogue())
