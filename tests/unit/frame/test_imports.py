# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may import whom, and who may start processes."""

from __future__ import annotations

import ast
import sys
from typing import Any, Iterator

LIBRARY = "plugins/module_utils"
DAEMON = "roles/watchdog/files/daemon"
MODULES = "plugins/modules"

OURS = ["ansible_collections", "faultline", "selfheal"]

# The arrows of the design, each layer with those it may import. `_version` is a constant, free for all.
ARROWS: dict[str, set[str]] = {
    "_version": set(),
    "_core": {"_core"},
    "_host": {"_core"},
    "_spawn": {"_core", "_host", "_spawn"},
    "_probes": {"_core", "_host", "_spawn", "_probes"},
    "_records": {"_core", "_host", "_spawn", "_records"},
    "_actuators": {"_core", "_host", "_spawn", "_probes", "_records", "_actuators"},
    "_engine": {"_core", "_host", "_spawn", "_probes", "_records", "_actuators", "_engine"},
    "_module": {"_core", "_host", "_spawn", "_probes", "_records", "_actuators", "_engine"},
    "daemon": {"_core", "_host", "_spawn", "_probes", "_records", "_actuators", "_engine", "daemon"},
    "modules": {"_core", "_host", "_spawn", "_probes", "_records", "_actuators", "_engine", "_module"},
}
# What _spawn.py needs to know of accounts, environments and /proc stands beside it and has its place among the layers.
BESIDE_SPAWN = {"_environment", "_proc", "_transient"}
# The interpreter's own SHA-256, under the names it has had: four megabytes lighter than hashlib with OpenSSL, and asked for in a try.
OF_SOME_VERSIONS = {"_sha2", "_sha256"}
# What a decision must not reach: clocks, files, the network, processes, threads.
IMPURE = set(
    "asyncio ctypes fcntl glob http io logging multiprocessing os pathlib queue select selectors shutil signal socket ssl subprocess"
    " tempfile threading time".split()
)
STARTS_PROCESSES = {"subprocess", "multiprocessing", "pty"}
STARTING_CALLS = ("fork", "exec", "spawn", "posix_spawn", "system", "popen")


def imports(tree: ast.AST) -> Iterator[tuple[int, int, str, str]]:
    """Yields (line, level, module, name) of every import statement, those inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, 0, alias.name, ""
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.lineno, node.level, node.module or "", alias.name


def merged(layer: str) -> str:
    return "_spawn" if layer in BESIDE_SPAWN else layer


def layer_of(path: str) -> str | None:
    if path.startswith(LIBRARY + "/"):
        return merged(path[len(LIBRARY) + 1 :].split("/")[0].removesuffix(".py"))
    if path.startswith(DAEMON + "/"):
        return "daemon"
    return "modules" if path.startswith(MODULES + "/") else None


def imported_layer(path: str, level: int, module: str, name: str) -> str | None:
    """The layer an import of ours points at, "outside" for a relative one that leaves it, None for everybody else's packages."""
    full = (module.split(".") if module else []) + [name]
    if level:
        package = (
            ["selfheal", "daemon"] + path[len(DAEMON) + 1 :].split("/") if path.startswith(DAEMON + "/") else OURS + path.split("/")
        )[:-1]
        full = package[: len(package) - (level - 1)] + full
    if full[:4] == [*OURS, "plugins"]:
        return merged(full[5]) if full[4] == "module_utils" else full[4]
    if full[0] == "selfheal":
        return merged(full[1])
    return "outside" if level else None


def test_layers_import_only_what_the_design_allows(sources: list[Any]) -> None:
    """An import against the arrows would let a decision depend on an effect, or two drivers depend on each other."""
    wrong = []
    for source in sources:
        layer = layer_of(str(source))
        if layer is None or source.path.name == "__init__.py":
            continue
        assert layer in ARROWS, "%s: a new layer; say in the design and here what it may import" % source
        for line, level, module, name in imports(source.tree):
            target = imported_layer(str(source), level, module, name)
            if target is not None and target != "_version" and target not in ARROWS[layer]:
                wrong.append("%s:%d: %s imports %s" % (source, line, layer, target))
    assert wrong == [], "\n" + "\n".join(wrong)


def test_the_library_imports_itself_relatively_and_else_only_the_standard_library(sources: list[Any]) -> None:
    """The same directory runs inside a module and inside the zip application, on hosts that have nothing from a package index."""
    wrong = []
    for source in sources:
        if not source.below(LIBRARY, DAEMON):
            continue
        allowed = OF_SOME_VERSIONS | ({"ansible"} if source.path.name == "_module.py" else set())
        for line, level, module, _name in imports(source.tree):
            top = module.split(".")[0]
            if level == 0 and top not in sys.stdlib_module_names and top not in allowed:
                wrong.append("%s:%d: %s" % (source, line, module))
    assert wrong == [], "\n" + "\n".join(wrong)


def test_decisions_reach_no_clock_no_file_and_no_network(sources: list[Any]) -> None:
    """`_core` is a pure function of facts and `now`; what it cannot import or call it cannot depend on."""
    wrong = []
    for source in sources:
        if not source.below(LIBRARY + "/_core"):
            continue
        for line, level, module, _name in imports(source.tree):
            if level == 0 and (module.split(".")[0] in IMPURE or module == "urllib.request"):
                wrong.append("%s:%d: import %s" % (source, line, module))
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in ("open", "input") or called.rpartition(".")[2] in ("now", "utcnow", "today") and "date" in called:
                    wrong.append("%s:%d: %s()" % (source, node.lineno, called))
    assert wrong == [], "\n" + "\n".join(wrong)


def test_only_spawn_starts_processes(sources: list[Any]) -> None:
    """One file starts, bounds, kills and reaps every child, so no child can be forgotten elsewhere."""
    wrong = []
    for source in sources:
        if not source.below(LIBRARY, DAEMON, MODULES) or str(source) == LIBRARY + "/_spawn.py":
            continue
        for line, level, module, _name in imports(source.tree):
            if level == 0 and module.split(".")[0] in STARTS_PROCESSES:
                wrong.append("%s:%d: import %s" % (source, line, module))
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "os" and node.attr.startswith(STARTING_CALLS):
                wrong.append("%s:%d: os.%s" % (source, node.lineno, node.attr))
    assert wrong == [], "\n" + "\n".join(wrong)


def test_imports_are_read_as_python_reads_them() -> None:
    """The arrows are only held if every way to write an import is understood."""
    deep, daemon, module = LIBRARY + "/_core/x.py", DAEMON + "/commands/x.py", MODULES + "/x.py"
    table = [
        (deep, 1, "model", "Probe", "_core"),
        (deep, 2, "_host", "Host", "_host"),
        (deep, 2, "", "_proc", "_spawn"),
        (LIBRARY + "/_host.py", 1, "_core.model", "Probe", "_core"),
        (daemon, 1, "", "status", "daemon"),
        (daemon, 2, "view", "line", "daemon"),
        (daemon, 3, "_engine.healer", "Healer", "_engine"),
        (module, 2, "module_utils._module", "run", "_module"),
        (module, 1, "", "other", "modules"),
        (module, 2, "plugin_utils", "_archive", "plugin_utils"),
        (module, 0, "ansible_collections.faultline.selfheal.plugins.module_utils._engine", "x", "_engine"),
        (module, 0, "ansible.module_utils.basic", "AnsibleModule", None),
        (module, 4, "", "x", "outside"),
    ]
    assert [imported_layer(*row[:4]) for row in table] == [row[4] for row in table]
