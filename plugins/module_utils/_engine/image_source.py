# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image's source is: its id on this engine."""

from __future__ import annotations

from typing import Any, Dict, Optional

from .._core.deployment_request import Source
from .._core.image_request import Wanted
from .._core.reasons import Reason
from .._host import Host
from .deploy_run import PhaseFailed
from .image_engine import Containers


def wanted_of(source: Source) -> Wanted:
    """What ``source.image`` says. Raises PhaseFailed."""
    if source.image is None:
        raise PhaseFailed(Reason.UNSUPPORTED, "source.image: names no image")
    return source.image


def identified(host: Host, source: Source, pinned: Optional[str] = None) -> Dict[str, Any]:
    """The source's identity: the image's id on this engine. Raises PhaseFailed where it has none, before anything is touched."""
    wanted = wanted_of(source)
    told = Containers(host).image(pinned or wanted.reference)
    if told is None:
        words = "image %s is not on this engine; pull or load it first. Nothing was touched." % (pinned or wanted.reference)
        raise PhaseFailed(Reason.IMAGE_MISSING, words)
    return {"kind": "image", "reference": wanted.reference, "image": str(told.get("Id") or ""), "container": wanted.container}


__all__ = ["identified", "wanted_of"]
