# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documents point at is there, and what they show can be used."""

from __future__ import annotations

import json
import pathlib
import re

import pytest
import yaml


@pytest.fixture(scope="module")
def documents(repository: pathlib.Path) -> list[pathlib.Path]:
    return [repository / "README.md", repository / "CONTRIBUTING.md", *sorted((repository / "docs").rglob("*.md"))]


def _anchors(path: pathlib.Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_lead_somewhere(documents: list[pathlib.Path]) -> None:
    """Every relative link in a document has its file, and its heading there."""
    wrong = []
    for document in documents:
        for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
            if "://" in link:
                continue
            file, _mark, anchor = link.partition("#")
            target = document.parent / file if file else document
            if not target.exists() or (anchor and anchor not in _anchors(target)):
                wrong.append("%s: %s" % (document.name, link))
    assert wrong == []


def test_failure_modes_name_tests_that_exist(repository: pathlib.Path) -> None:
    """Whoever doubts a row of docs/failure-modes.md finds the test that holds it."""
    text = (repository / "docs" / "failure-modes.md").read_text(encoding="utf-8")
    named, wrong, last = 0, [], ""
    for file, function in re.findall(r"`([a-z_/]+\.py|…)(?:::(test_[a-z0-9_]+))?`", text):
        last = last if file == "…" else file
        path = repository / "tests" / last
        named += 1
        if not path.is_file() or (function and not re.search(r"^def %s\b" % function, path.read_text(encoding="utf-8"), re.MULTILINE)):
            wrong.append("%s::%s" % (last, function))
    assert wrong == []
    assert named > 40


def test_the_contracts_shown_are_contracts(documents: list[pathlib.Path]) -> None:
    """What the README and the guide show as a contract is read by the parser that reads contracts on hosts."""
    from selfheal._core.contract import parse_services

    shown = []
    for document in documents[:1] + [path for path in documents if path.name == "guide.md"]:
        for language, block in re.findall(r"```(yaml|json)\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL):
            data = yaml.safe_load(block) if language == "yaml" else json.loads(block)
            found = data.get("selfheal_services", data.get("services")) if isinstance(data, dict) else None
            if found is not None:
                shown += [service.name for service in parse_services(found)]
    assert shown == ["web"] * 2
