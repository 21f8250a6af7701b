# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The house rules that a machine can read: headers, sizes, syntax, and what library code must not do."""

from __future__ import annotations

import ast
import pathlib
import re
from typing import Any

LIBRARY = "plugins/module_utils"
DAEMON = "roles/watchdog/files/daemon"
RUNS_ON_HOSTS = (LIBRARY, DAEMON, "plugins/modules")
SPDX = "SPDX-License-Identifier: GPL-3.0-or-later"
# These have no comments, are read as they stand by people, or are written by a tool.
WITHOUT_HEADER = {".md", ".json", ".jsonl", ".txt.golden", ".rst"}
DOCUMENTATION = {"DOCUMENTATION", "EXAMPLES", "RETURN"}
# Where nothing could be waited for: flock(2) has no deadline, so the one place that waits for a lock asks again within its own; and two
# commands that show something anew to a person at a terminal until that person ends them.
MAY_SLEEP = {
    (LIBRARY + "/_records/files.py", "lock_file"),
    (DAEMON + "/commands/status.py", "_on_and_on"),
    (DAEMON + "/commands/timeline.py", "_tail"),
    ("plugins/modules/incident_follow.py", "look"),
}
# There /root is the home of a host that the tests make themselves.
TEST_HOSTS = (("tests", "lab"), ("extensions", "molecule"))
MAX_LINES = 400
MAX_FUNCTION = 70


def text_of(path: pathlib.Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


def test_every_file_carries_the_licence(committed: list[pathlib.Path], repository: pathlib.Path) -> None:
    """Whoever copies one file out of the collection still sees its terms."""
    missing = []
    for path in committed:
        relative = path.relative_to(repository).as_posix()
        if path.suffix in WITHOUT_HEADER or path.stat().st_size == 0 or relative == "LICENSE" or relative == "changelogs/changelog.yaml":
            continue
        # ansible-test reads every line of the first as an entry; the second are answers of other programs, as they came.
        if relative.startswith("tests/sanity/ignore-") or "/recorded/" in relative:
            continue
        if SPDX not in "\n".join(text_of(path).splitlines()[:8]):
            missing.append(relative)
    assert missing == []


def test_package_markers_are_empty_and_present(sources: list[Any], repository: pathlib.Path) -> None:
    """An import of a package runs no code of ours, in the module, the archive and the sanity tests alike."""
    full = [str(source) for source in sources if source.path.name == "__init__.py" and source.below("plugins", "roles") and source.text]
    folders = {source.path.parent for source in sources if source.below(LIBRARY, DAEMON)}
    without = [str(folder) for folder in sorted(folders) if not (repository / folder / "__init__.py").exists()]
    assert (full, without) == ([], [])


def test_code_for_hosts_is_python_3_9(sources: list[Any]) -> None:
    """The oldest Python of a supported host parses every file it is given."""
    wrong = []
    for source in sources:
        if source.below(*RUNS_ON_HOSTS):
            try:
                ast.parse(source.text, feature_version=(3, 9))
            except SyntaxError as exc:
                wrong.append("%s:%s: %s" % (source, exc.lineno, exc.msg))
            else:
                wrong += [
                    "%s:%d: match statement" % (source, node.lineno) for node in ast.walk(source.tree) if type(node).__name__ == "Match"
                ]
    assert wrong == [], "\n" + "\n".join(wrong)


def _lines_without_documentation(source: Any) -> int:
    lines = source.text.count("\n")
    for node in source.tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in DOCUMENTATION:
            lines -= (node.end_lineno or node.lineno) - node.lineno + 1
    return lines


def test_files_and_functions_stay_readable(sources: list[Any]) -> None:
    """A file is read in one sitting and a function on one screen."""
    long = []
    for source in sources:
        if not source.below("plugins", "roles", "extensions", "tests/tools"):
            continue
        lines = _lines_without_documentation(source)
        if lines >= MAX_LINES:
            long.append("%s: %d lines" % (source, lines))
        for node in ast.walk(source.tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length >= MAX_FUNCTION:
                    long.append("%s:%d: %s has %d lines" % (source, node.lineno, node.name, length))
    assert long == [], "\n" + "\n".join(long)


def _misdeed(node: ast.AST, may_sleep: set[ast.AST]) -> str | None:
    if isinstance(node, ast.Assert):
        return "assert: gone under -O; raise an error that says what was expected"
    if isinstance(node, ast.ExceptHandler) and all(
        isinstance(one, ast.Pass) or (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)) for one in node.body
    ):
        return "an exception is swallowed"
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "time.sleep" and node not in may_sleep:
        return "time.sleep: wait for the event, with a deadline"
    return None


def test_library_and_daemon_swallow_nothing_and_wait_for_events(sources: list[Any]) -> None:
    """An unattended healer must not hide an error from its operator, nor sleep while a service is down."""
    wrong = []
    for source in sources:
        if not source.below(*RUNS_ON_HOSTS):
            continue
        excused: set[ast.AST] = set()
        for node in ast.walk(source.tree):
            if isinstance(node, ast.FunctionDef) and (str(source), node.name) in MAY_SLEEP:
                excused.update(ast.walk(node))
        for node in ast.walk(source.tree):
            misdeed = _misdeed(node, excused)
            if misdeed:
                wrong.append("%s:%d: %s" % (source, node.lineno, misdeed))
    assert wrong == [], "\n" + "\n".join(wrong)


def test_the_library_neither_prints_nor_exits(sources: list[Any]) -> None:
    """Inside a module a print breaks the answer to Ansible, and an exit takes the caller with it."""
    wrong = []
    for source in sources:
        if not source.below(LIBRARY):
            continue
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "exit", "quit", "sys.exit", "os._exit"):
                if str(source) == LIBRARY + "/_spawn.py" and ast.unparse(node.func) == "os._exit":
                    continue  # the end of a forked child
                wrong.append("%s:%d: %s" % (source, node.lineno, ast.unparse(node.func)))
    assert wrong == [], "\n" + "\n".join(wrong)


def test_library_files_close_with_their_sorted_public_names(sources: list[Any]) -> None:
    """What a file offers is found at one place."""
    wrong = []
    for source in sources:
        if not source.below(LIBRARY) or source.path.name == "__init__.py":
            continue
        last = source.tree.body[-1]
        names = None
        if isinstance(last, ast.Assign) and ast.unparse(last.targets[0]) == "__all__":
            names = ast.literal_eval(last.value)
        if names is None or list(names) != sorted(names):
            wrong.append("%s: %s" % (source, "no __all__ at the end" if names is None else "__all__ is not sorted"))
    assert wrong == [], "\n" + "\n".join(wrong)


def test_nothing_committed_names_a_machine_or_an_open_end(committed: list[pathlib.Path], repository: pathlib.Path) -> None:
    """A clone elsewhere behaves alike, and what is shipped is finished."""
    forbidden = re.compile(
        "|".join(["/" + "work/", "/tmp/" + "(venv|brief)", "/root/" + r"\.", "TO" + "DO\\b", "FIX" + "ME\\b", "X" + "XX\\b"])
    )
    wrong = []
    for path in committed:
        if path.name == "LICENSE":
            continue
        for number, line in enumerate(text_of(path).splitlines(), 1):
            found = forbidden.search(line)
            if found and not (found.group() == "/root/" + "." and path.relative_to(repository).parts[0:2] in TEST_HOSTS):
                wrong.append("%s:%d: %s" % (path.relative_to(repository), number, found.group()))
    assert wrong == [], "\n" + "\n".join(wrong)
