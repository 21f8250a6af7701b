# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role monitoring ships, judged by Prometheus' and Alertmanager's own tools, and by what the watchdog really exports."""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
from typing import Any, Dict, Iterator, List, Set, Tuple

import pytest
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from alert_chain import collections
from alerting import ROLE, ROOT, program, rendered

OUTSIDE = [{"host": "web1", "service": "web", "target": "http://web1/ready"}]
# What others than the watchdog export: Prometheus itself, Alertmanager, the blackbox exporter; and what our own rules record.
FOREIGN = {
    "up": {"job", "host", "instance"},
    "alertmanager_notifications_failed_total": {"integration", "reason"},
    "probe_success": {"job", "host", "service", "instance"},
}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Rules and routes with everything that can be in them."""
    return rendered(
        tmp_path_factory.mktemp("shipped"),
        monitoring_outside=OUTSIDE,
        monitoring_people={"webhook_configs": [{"url": "http://127.0.0.1:9/"}]},
        monitoring_receivers=[{"name": "dba"}],
        monitoring_routes=[{"receiver": "dba", "matchers": ['team="dba"']}],
    )


def run(*argv: str, cwd: Any = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, cwd=cwd)


def test_the_rules_pass_promtool_and_do_what_the_cases_say(shipped: pathlib.Path) -> None:
    """Healed is only what a host cannot heal itself; a person hears of the rest, and of what no heal has helped."""
    checked = run(program("promtool"), "check", "rules", str(shipped / "rules.yml"))
    assert checked.returncode == 0 and "SUCCESS" in checked.stdout, checked.stdout + checked.stderr
    cases = shipped / "cases.yml"
    cases.write_text((ROOT / "tests" / "system" / "alert_rules_cases.yml").read_text())
    tested = run(program("promtool"), "test", "rules", str(cases))
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_a_wrong_expectation_is_seen(shipped: pathlib.Path) -> None:
    """The cases above judge: with another annotation they fail."""
    text = (ROOT / "tests" / "system" / "alert_rules_cases.yml").read_text()
    cases = shipped / "wrong.yml"
    cases.write_text(text.replace("web on web1 is down, and its watchdog only looks on", "all is well"))
    assert run(program("promtool"), "test", "rules", str(cases)).returncode == 1


def test_the_configuration_passes_promtool(shipped: pathlib.Path) -> None:
    """The scrape jobs are ones that Prometheus takes, with the files they name."""
    jobs = yaml.safe_load((shipped / "scrape.yml").read_text())
    config = shipped / "prometheus.yml"
    config.write_text(json.dumps({"rule_files": [str(shipped / "rules.yml")], "scrape_configs": jobs}))
    done = run(program("promtool"), "check", "config", str(config))
    assert done.returncode == 0, done.stdout + done.stderr
    assert [job["job_name"] for job in jobs] == ["selfheal", "selfheal-outside"]


ROUTES = [
    ("alertname=SelfhealObservedServiceDown selfheal=heal host=web1 service=web", "selfheal-heal"),
    ("alertname=SelfhealUnwatchedService selfheal=heal host=web1 service=web", "selfheal-heal"),
    ("alertname=SelfhealEscalated severity=critical host=web1 service=web", "selfheal-people"),
    ("alertname=SelfhealTimelineWentBackwards severity=critical host=web1", "selfheal-people"),
    ("alertname=SelfhealObservedServiceStillDown severity=critical host=web1 service=web", "selfheal-people"),
    ("alertname=Other team=dba", "dba"),
]


@pytest.mark.parametrize("labels, receiver", ROUTES)
def test_alerts_go_where_they_should(shipped: pathlib.Path, labels: str, receiver: str) -> None:
    """What is healed goes to the alert receiver and to nobody else, what is told goes to people."""
    path = str(shipped / "alertmanager.yml")
    checked = run(program("amtool"), "check-config", path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    routed = run(program("amtool"), "config", "routes", "test", "--config.file=" + path, *labels.split())
    assert routed.stdout.strip() == receiver, routed.stdout + routed.stderr


def test_only_alerts_of_the_rules_are_taken_by_the_rulebook(shipped: pathlib.Path) -> None:
    """The guard of the shipped rulebook knows the alerts that heal, and no others."""
    rules = yaml.safe_load((shipped / "rules.yml").read_text())
    heal = [rule["alert"] for group in rules["groups"] for rule in group["rules"] if rule.get("labels", {}).get("selfheal") == "heal"]
    rulebook = yaml.safe_load((ROLE.parents[1] / "extensions" / "eda" / "rulebooks" / "alertmanager.yml").read_text())
    filters = {name: options for each in rulebook[0]["sources"][0]["filters"] for name, options in each.items()}
    assert sorted(filters["faultline.selfheal.guard"]["alerts"]) == sorted(heal)
    known = (ROOT / "docs" / "alerts.md").read_text()
    names = [rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule]
    assert [name for name in names if "`%s`" % name not in known] == []


CONFIGS = {
    "Debian's": "alerting:\n  alertmanagers: []\nrule_files:\n  # - first.yml\n\nscrape_configs:\n  # own\n  - job_name: own\n",
    "at the margin, without rules": "scrape_configs:\n- job_name: own\n",
    "with rules of its own": "rule_files:\n    - own.yml\nscrape_configs:\n    - job_name: own\n",
}


@pytest.mark.parametrize("text", CONFIGS.values(), ids=CONFIGS)
def test_the_hosts_own_configuration_is_added_to_and_kept(tmp_path: pathlib.Path, text: str) -> None:
    """Every line of before is there, in its order, promtool takes the whole, and a second run changes nothing."""
    config = tmp_path / "prometheus.yml"
    config.write_text(text)
    (tmp_path / "rules.yml").write_text("groups: []\n")
    role = {"name": "faultline.selfheal.monitoring", "tasks_from": "prometheus.yml"}
    tasks = [{"ansible.builtin.include_role": role, "vars": {"monitoring_text": "{{ lookup('ansible.builtin.file', monitoring_config) }}"}}]
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}]))
    extra = {"monitoring_config": str(config), "monitoring_rules": str(tmp_path / "rules.yml"), "monitoring_hosts": []}
    extra["monitoring_targets_path"] = str(tmp_path / "targets.yml")
    where = {"ANSIBLE_COLLECTIONS_PATH": str(collections(tmp_path / "collections"))}
    where["PATH"] = "%s:%s" % (pathlib.Path(program("promtool")).parent, os.environ["PATH"])
    argv = ["ansible-playbook", "-i", "localhost,", "-e", json.dumps(extra), str(playbook)]
    for changed in (True, False):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **where})
        assert done.returncode == 0 and ("changed=0 " in done.stdout) is not changed, done.stdout + done.stderr
    read = yaml.safe_load(config.read_text())
    assert [job["job_name"] for job in read["scrape_configs"]] == ["selfheal", "own"]
    assert read["rule_files"][0] == str(tmp_path / "rules.yml") and "alertmanagers" in read["alerting"]
    lines = config.read_text().splitlines()
    assert [line for line in lines if line in text.splitlines()] == text.splitlines()


# -- what is asked for is what is exported ------------------------------------------------------------------------------------------------

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
KEYWORDS = {"by", "without", "on", "ignoring", "and", "or", "unless", "bool", "group_left", "group_right", "offset", "inf", "nan"}


def asked(expression: str) -> Iterator[Tuple[str, Set[str]]]:
    """Names of metrics in a query, each with the labels that are matched on it."""
    plain = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    plain = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", plain)
    plain = re.sub(r"\[[^\]]*\]", " ", plain)
    place = 0
    while True:
        found = NAME.search(plain, place)
        if found is None:
            return
        place = found.end()
        rest = plain[place:].lstrip()
        if found.group() in KEYWORDS or rest.startswith("("):
            continue
        labels: Set[str] = set()
        if rest.startswith("{"):
            inner = rest[1 : rest.index("}")]
            labels = set(re.findall(r"([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)", inner))
            place = plain.index("}", place) + 1
        yield found.group(), labels


def grouped(expression: str) -> Set[str]:
    """The labels that a query groups or joins by."""
    found = re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression)
    return {label.strip() for each in found for label in each.split(",") if label.strip()}


def test_the_reader_of_queries_reads_them() -> None:
    """Names, labels and groupings are told apart from functions, keywords and texts."""
    query = 'histogram_quantile(0.5, sum by (le) (increase(a_bucket{s=~"x(y)",t!="b"}[1h]))) unless on (host) b:c == bool 0'
    assert list(asked(query)) == [("a_bucket", {"s", "t"}), ("b:c", set())]
    assert grouped(query) == {"le", "host"}


def queries(shipped: pathlib.Path) -> Dict[str, str]:
    """Every query of rules and dashboard, by where it stands."""
    found: Dict[str, str] = {}
    rules = yaml.safe_load((shipped / "rules.yml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            found["rule " + (rule.get("alert") or rule["record"])] = rule["expr"]
    dashboard = json.loads((ROLE / "files" / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            found["panel %s %s" % (panel["title"], target["refId"])] = target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            matched = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"])
            assert matched is not None, variable
            found["variable " + variable["name"]] = "max by (%s) (%s)" % (matched.group(2), matched.group(1))
    for annotation in dashboard["annotations"]["list"]:
        found["annotation " + annotation["name"]] = annotation["expr"]
    return found


def exported(bed: Any) -> Dict[str, Set[str]]:
    """Names and labels of what a watchdog with everything in its contract, and an incident behind it, really exports."""
    port = bed.port
    bed.configure(network_reference={"tcp": {"host": "127.0.0.1", "port": 9}}, notify=[{"command": {"argv": ["/bin/true"]}}])
    bed.contracts(
        bed.service(
            dependencies=[{"name": "payments", "probe": {"tcp": {"host": "127.0.0.1", "port": port}}}],
            keep_warm={"http": {"url": "http://127.0.0.1:%d/health/live" % port}, "period": 1},
        )
    )
    bed.watch()
    bed.healthy()
    bed.run("hold", "web")
    os.kill(bed.pid(), signal.SIGKILL)
    bed.event("blocked", within=20)
    bed.run("unhold", "web")
    bed.event("recover", within=20)
    names: Dict[str, Set[str]] = {}
    for line in bed.get("/metrics")[1].splitlines():
        if line and not line.startswith("#"):
            matched = re.match(r"([a-z_]+)(?:\{(.*)\})? ", line)
            assert matched is not None, line
            labels = set(re.findall(r'(\w+)="', matched.group(2) or ""))
            names.setdefault(matched.group(1), set()).update(labels | {"host", "job", "instance"})
    return names


def test_every_query_asks_for_what_is_exported(bed: Any, shipped: pathlib.Path) -> None:
    """No rule waits for a metric or a label that no watchdog has, and no panel stays empty for ever."""
    known = exported(bed)
    found = queries(shipped)
    for name, expression in found.items():
        if name.startswith("rule selfheal:"):
            known[name[len("rule ") :]] = grouped(expression) | {"host", "service"}
    known.update(FOREIGN)
    unknown: List[str] = []
    for place, expression in found.items():
        reach: Set[str] = set()
        for name, labels in asked(expression):
            if name not in known:
                unknown.append("%s: %s" % (place, name))
            elif labels - known[name]:
                unknown.append("%s: %s has no %s" % (place, name, ", ".join(sorted(labels - known[name]))))
            reach |= known.get(name, set())
        if grouped(expression) - reach:
            unknown.append("%s: nothing in it has %s" % (place, ", ".join(sorted(grouped(expression) - reach))))
    assert unknown == [], "\n" + "\n".join(unknown)


def test_prometheus_understands_every_query_of_the_dashboard(shipped: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Judged as the expressions of rules, with the dashboard's variables filled in."""
    filled = {"$host": ".*", "$service": ".*", "$__rate_interval": "1m"}
    rules = []
    for number, (place, expression) in enumerate(queries(shipped).items()):
        if not place.startswith("rule "):
            for variable, value in filled.items():
                expression = expression.replace(variable, value)
            rules.append({"record": "query:%d" % number, "expr": expression})
    path = tmp_path / "queries.yml"
    path.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    done = run(program("promtool"), "check", "rules", str(path))
    assert len(rules) > 25 and done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_fits_together() -> None:
    """Panels have names of their own, a size, and a place that no other one has; nothing is read but the chosen source."""
    dashboard = json.loads((ROLE / "files" / "dashboard.json").read_text())
    places: Set[Tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        grid = panel["gridPos"]
        assert panel["title"] and panel["description"] and grid["x"] + grid["w"] <= 24, panel["title"]
        taken = {(x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])}
        assert not taken & places, panel["title"]
        places |= taken
        assert {target["datasource"]["uid"] for target in panel["targets"]} <= {"${source}"}
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids)) and dashboard["uid"] == "selfheal"
