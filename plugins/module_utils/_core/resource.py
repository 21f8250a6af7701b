# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A resource as plain data and back, for an order that goes to another process."""

from __future__ import annotations

from typing import Any, Dict, Mapping

from .model import ContainerResource, ProcessResource, Resource, UnitResource


def resource_data(resource: Resource) -> Dict[str, Any]:
    """A resource as plain data, for the process that acts on it."""
    given = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(resource).items()}
    return {**given, "kind": resource.kind}


def resource_from(data: Mapping[str, Any]) -> Resource:
    """The resource that `resource_data` was given. Raises KeyError, TypeError, ValueError."""
    given = {key: value for key, value in data.items() if key != "kind"}
    if data["kind"] == "unit":
        return UnitResource(**given)
    if data["kind"] == "container":
        return ContainerResource(**given)
    if data["kind"] != "process":
        raise ValueError("%r is no kind of resource" % (data["kind"],))
    given["argv"] = tuple(given["argv"])
    return ProcessResource(**given)


__all__ = ["resource_data", "resource_from"]
