# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documents name exists: plugins, roles, runbooks, their variables, alerts, reasons, verbs of the command line."""

from __future__ import annotations

import pathlib
import re

import pytest

PREFIXES = "selfheal|watchdog|monitoring|alert_receiver|runbook_schedule|failover_proxy|managed_service|drill|report|heal|runbook|awx"


@pytest.fixture(scope="module")
def documents(repository: pathlib.Path) -> dict[str, str]:
    """The text of every document, by its path."""
    paths = [repository / "README.md", *(repository / "docs").rglob("*.md"), *(repository / "roles").glob("*/README.md")]
    return {path.relative_to(repository).as_posix(): path.read_text(encoding="utf-8") for path in sorted(paths)}


def stems(repository: pathlib.Path, *patterns: str) -> set[str]:
    return {path.stem for pattern in patterns for path in repository.glob(pattern)} - {"__init__"}


def test_every_full_name_is_one_of_the_collection(repository: pathlib.Path, documents: dict[str, str]) -> None:
    """A module, role, runbook, filter, lookup, callback, rulebook or event filter that somebody copies from a document is there."""
    known = {path.name for path in (repository / "roles").iterdir()} | {"selfheal"}
    known |= stems(repository, "playbooks/*.yml", "plugins/filter/*.yml", "extensions/eda/rulebooks/*.yml")
    known |= stems(repository, "plugins/modules/*.py", "plugins/lookup/*.py", "plugins/callback/*.py", "extensions/eda/plugins/*/*.py")
    named = {(name, word) for name, text in documents.items() for word in re.findall(r"faultline\.selfheal\.(\w+)", text)}
    assert sorted(each for each in named if each[1] not in known) == []
    assert len({word for _name, word in named}) > 25


def test_every_variable_is_one_that_something_reads(repository: pathlib.Path, documents: dict[str, str]) -> None:
    """A variable of a role or a runbook that a document names is looked at somewhere; metrics are names of the same kind."""
    files = [path for folder in ("playbooks", "roles", "plugins", "extensions") for path in (repository / folder).rglob("*")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in files if path.suffix in (".yml", ".j2", ".py", ".json"))
    known = set(re.findall(r"\b(?:%s)_[a-z_]+" % PREFIXES, code))
    wrong = []
    for name, text in documents.items():
        for word in re.findall(r"`((?:%s)_[a-z_]*[a-z])`|-e ((?:%s)_[a-z_]+)=" % (PREFIXES, PREFIXES), text):
            if (word[0] or word[1]) not in known:
                wrong.append("%s: %s" % (name, word[0] or word[1]))
    assert wrong == []


def test_what_is_given_to_a_runbook_is_what_it_takes(repository: pathlib.Path, documents: dict[str, str]) -> None:
    """Every -e of a shown ansible-playbook is explained at the top of that playbook."""
    shown, wrong = 0, []
    for name, text in documents.items():
        for line in re.findall(r"ansible-playbook[^\n`]*faultline\.selfheal\.\w+[^\n`]*", text):
            runbook = re.findall(r"faultline\.selfheal\.(\w+)", line)[0]
            head = (repository / "playbooks" / (runbook + ".yml")).read_text(encoding="utf-8").split("\n- ", 1)[0]
            for variable in re.findall(r"(?:-e |[{,] ?\")([a-z]+_\w+)[=\"]", line):
                shown += 1
                if not re.search(r"^# %s\b" % variable, head, re.MULTILINE):
                    wrong.append("%s: %s takes no %s" % (name, runbook, variable))
    assert (wrong, shown > 12) == ([], True)


def test_every_verb_shown_is_one_of_the_command_line(documents: dict[str, str]) -> None:
    """`selfheal VERB` in text and in shown sessions."""
    from selfheal.daemon.cli import BY_NAME

    named = {
        (name, verb) for name, text in documents.items() for verb in re.findall(r"(?:^\$ |`|; )selfheal ([a-z]+)\b", text, re.MULTILINE)
    }
    assert sorted(each for each in named if each[1] not in BY_NAME) == []
    assert sorted(verb for verb in BY_NAME if not any(each == verb for _name, each in named)) == []


def test_the_tables_of_alerts_are_what_fires_and_what_is_dropped(repository: pathlib.Path, collection: pathlib.Path) -> None:
    """docs/alerts.md has every alert of the shipped rules, the one that watchdogs send themselves, and every reason of the guard."""
    text = (repository / "docs" / "alerts.md").read_text(encoding="utf-8")
    rules = (collection / "roles" / "monitoring" / "templates" / "rules.yml.j2").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", text, re.MULTILINE)
    named = {word for row in rows for word in re.findall(r"`(\w+)`", row)}
    alerts = {word for word in named if word.startswith("Selfheal")}
    assert alerts == set(re.findall(r"alert: (\w+)", rules)) | {"SelfhealEscalated"}
    guard = (collection / "extensions" / "eda" / "plugins" / "event_filter" / "guard.py").read_text(encoding="utf-8")
    assert named - alerts == set(re.findall(r'Dropped\("(\w+)"', guard)) | set(re.findall(r', "(duplicate|throttled)",', guard))


def test_the_table_of_runbooks_has_all_of_them(repository: pathlib.Path) -> None:
    """docs/runbooks.md has every playbook but the one that sets up AWX, which has a document of its own."""
    table = (repository / "docs" / "runbooks.md").read_text(encoding="utf-8").partition("## The brake")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == stems(repository, "playbooks/*.yml") - {"awx"}
