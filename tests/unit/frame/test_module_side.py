# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The side of the library that faces AnsibleModule, as far as it needs none."""

from __future__ import annotations

import pytest

from selfheal._core.errors import ContractError
from selfheal._module import absolute


def test_relative_and_empty_paths_are_refused_all_at_once() -> None:
    """A relative path would be made wherever the task happens to run; an option that was left out has its default."""
    absolute({"etc": "/etc/selfheal", "state_dir": None, "host": "relative"}, "etc", "state_dir")
    with pytest.raises(ContractError) as refused:
        absolute({"etc": "selfheal", "state_dir": "", "run_dir": "/run"}, "etc", "state_dir", "run_dir")
    assert ["etc", "state_dir"] == [problem.path for problem in refused.value.problems]
    assert "expected an absolute path, found 'selfheal'" in str(refused.value) and "is empty" in str(refused.value)
