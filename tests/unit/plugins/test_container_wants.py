# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task may want of containers, and how what it may not is told."""

from __future__ import annotations

from typing import Any, Dict

import pytest

from ansible_collections.faultline.selfheal.plugins.module_utils._core.errors import ContractError
from ansible_collections.faultline.selfheal.plugins.modules.container_heal import wants_of

NOTHING = {"state": None, "desired": "by_admin", "image": None, "labels": None, "env": None, "restart_policy": None, "probe": None}


def params(**container: Any) -> Dict[str, Any]:
    numbers = {"stable_for": 10, "wait": 120, "budget": 3, "orphan_min_age": 3600, "max_removals": 10}
    return {"containers": [{**NOTHING, "name": "web", **container}], "state": "started", **numbers}


@pytest.mark.parametrize(
    ("container", "where"),
    [
        ({"name": "-web"}, "containers[0].name"),
        ({"name": "web\n"}, "containers[0].name"),
        ({"name": "wéb"}, "containers[0].name"),
        ({"name": "../web"}, "containers[0].name"),
        ({"image": "web latest"}, "containers[0].image"),
        ({"image": "web/../../containers/x"}, "containers[0].image"),
        ({"env": {"A=B": "c"}}, "containers[0].env"),
        ({"env": {"": "c"}}, "containers[0].env"),
        ({"env": {"A": True}}, "containers[0].env.A"),
        ({"restart_policy": "always:3"}, "containers[0].restart_policy"),
        ({"restart_policy": "on-failure:x"}, "containers[0].restart_policy"),
        ({"restart_policy": "on-failure:²"}, "containers[0].restart_policy"),
        ({"probe": {"unit": {"name": "web.service"}}}, "containers[0].probe"),
    ],
)
def test_what_is_refused(container: Dict[str, Any], where: str) -> None:
    """Before anything is asked of the engine, with its path."""
    with pytest.raises(ContractError) as caught:
        wants_of(params(**container))
    assert [where] == [problem.path for problem in caught.value.problems]


@pytest.mark.parametrize("image", ["web", "localhost:5000/a/web:2.4", "web@sha256:" + "a" * 64, "sha256:" + "a" * 64])
def test_images(image: str) -> None:
    """By name, by tag, by digest, by id."""
    (want,), _targets = wants_of(params(image=image, restart_policy="on-failure:3", env={"A": "b=c\nd"}, labels={"x": 1}))
    assert (image, "on-failure", 3, {"A": "b=c\nd"}, {"x": "1"}) == (want.image, want.restart_policy, want.retries, want.env, want.labels)
