# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The side of the library that faces AnsibleModule. Errors become ``fail_json`` here and nowhere else.

Of AnsibleModule only ``fail_json``, ``exit_json``, ``warn`` and ``no_log_values`` are used.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence

from ._core.errors import ContractError, Problem, SelfhealError


class Report(NamedTuple):
    """What a module returns: `result` as it is, failed with message `failure` if that is given, and `warnings` for people."""

    result: Mapping[str, Any]
    failure: Optional[str] = None
    warnings: Sequence[str] = ()


def run(module: Any, body: Callable[[Any], Report]) -> None:
    """Run a module's `body` and hand its report to Ansible. Only errors raised on purpose are caught: a bug keeps its traceback."""
    try:
        report = body(module)
    except SelfhealError as error:
        module.fail_json(msg=str(error), exception=error)
        return
    for warning in report.warnings:
        module.warn(warning)
    if report.failure is not None:
        module.fail_json(msg=report.failure, **report.result)
    module.exit_json(**report.result)


def counts(results: Iterable[Mapping[str, Any]], key: str, names: Sequence[str]) -> Dict[str, int]:
    """How many results say which of `names` under `key`; every name is there, also with 0."""
    found = dict.fromkeys(names, 0)
    for result in results:
        found[result[key]] = found.get(result[key], 0) + 1
    return found


def given(options: Any) -> Any:
    """Options as they were written: AnsibleModule fills suboptions that are absent with None, at any depth."""
    if isinstance(options, dict):
        return {key: given(value) for key, value in options.items() if value is not None}
    if isinstance(options, list):
        return [given(value) for value in options]
    return options


def absolute(options: Mapping[str, Any], *names: str) -> None:
    """Refuse paths that mean something else in every directory: a relative one would be made wherever the task happens to run.

    Raises ContractError naming all of them."""
    told = [(name, options[name]) for name in names if options[name] is not None and not os.path.isabs(options[name])]
    words = [
        (name, "expected an absolute path, found %r" % value if value else "is empty; leave it out for its default") for name, value in told
    ]
    if words:
        raise ContractError("options", [Problem(name, message) for name, message in words])


def listed(names: Sequence[str], most: int = 5) -> str:
    """Names for a message: the first few, and how many more."""
    shown: List[str] = list(names[:most])
    if len(names) > most:
        shown.append("%d more" % (len(names) - most))
    return ", ".join(shown)


__all__ = ["Report", "absolute", "counts", "given", "listed", "run"]
