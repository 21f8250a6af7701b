# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the library importable by the names it has elsewhere.

``selfheal`` is its name in the zip application the hosts run, ``ansible_collections.faultline.selfheal`` the one modules and plugins use.
The library is that of SELFHEAL_COLLECTION_ROOT when it is set (`make unit` names the installed tarball), otherwise the checkout's.
"""

from __future__ import annotations

import os
import pathlib
import sys
import types

import pytest
from hypothesis import HealthCheck, settings

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLLECTION = pathlib.Path(os.environ.get("SELFHEAL_COLLECTION_ROOT") or ROOT)


def _package(name: str, folder: pathlib.Path) -> None:
    module = types.ModuleType(name)
    module.__path__ = [str(folder)]
    sys.modules.setdefault(name, module)


_package("selfheal", COLLECTION / "plugins" / "module_utils")
_package("selfheal.daemon", COLLECTION / "roles" / "watchdog" / "files" / "daemon")
_package("ansible_collections", COLLECTION)
_package("ansible_collections.faultline", COLLECTION)
_package("ansible_collections.faultline.selfheal", COLLECTION)

# What properties hold is asked, not how fast this machine is just now: a busy one takes seconds for a first example.
settings.register_profile("selfheal", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("selfheal")


@pytest.fixture(scope="session")
def repository() -> pathlib.Path:
    """The checkout's root: what is committed, tests and documents included."""
    return ROOT


@pytest.fixture(scope="session")
def collection() -> pathlib.Path:
    """The root of the collection under test."""
    return COLLECTION
