# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases for a fleet, as an operator deploys them: the role managed_service and the playbooks, over SSH, on real units."""

from __future__ import annotations

import io
import json
import pathlib
import tarfile
from typing import Any, Callable, Dict

import lab
import pytest
from fleet import Fleet

APPLICATION = r"""#!/usr/bin/python3 -I
import http.server, os, sys
version = sys.argv[1]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        # This host has something that the release cannot stand.
        bad = os.path.exists("/srv/no-" + version)
        self.send_response(503 if bad and self.path == "/ready" else 200)
        self.end_headers()
        self.wfile.write(version.encode())
    def log_message(self, *arguments):
        sys.stdout.flush()
http.server.HTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
"""
UNIT = {
    "managed_service_name": "web",
    "managed_service_root": "/srv/www",
    "managed_service_command": ["bin/run"],
}
DEPLOYMENT = {
    "root": "/srv/www",
    "project": "web",
    "restart": {"unit": "web.service"},
    "health": [{"http": {"url": "http://127.0.0.1:8080/ready"}, "timeout": 2}],
    "health_within": 5,
}


def archive(folder: pathlib.Path, version: str) -> str:
    """A release as a build server would leave it."""
    path = folder / ("web-%s.tar.gz" % version)
    files = {"bin/app": APPLICATION, "bin/run": '#!/bin/sh\nexec "$(dirname "$0")/app" %s\n' % version, "public/index.html": version}
    with tarfile.open(path, "w:gz") as made:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text.encode()), 0o755
            made.addfile(info, io.BytesIO(text.encode()))
    return str(path)


def standing(host: lab.Host) -> str:
    """What `current` says and what answers; they are never two things."""
    link = host.sh("readlink /srv/www/web/current").strip()
    answer = host.sh("curl -s http://127.0.0.1:8080/version || python3 -c 'import urllib.request as r; "
                     "print(r.urlopen(\"http://127.0.0.1:8080/version\").read().decode())'").strip()  # fmt: skip
    assert link == "deployments/" + answer
    return answer


def serving(made: Fleet) -> Dict[str, str]:
    return {name: standing(host) for name, host in made.hosts.items()}


@pytest.mark.long(240)
def test_one_id_a_canary_and_a_batch_that_goes_back_as_a_whole(fleet: Callable[..., Fleet], tmp_path: pathlib.Path, measured: Any) -> None:
    """C50, ids are the same everywhere; where one host fails its batch goes back, and the rest is not touched."""
    made = fleet("debian12", "debian13", "debian12")
    made.variables = {"selfheal_deployment": DEPLOYMENT, "selfheal_root": "/srv/www", **UNIT}
    for host in made.hosts.values():
        host.sh("mkdir -p /srv/www")
    unit = tmp_path / "unit.yml"
    unit.write_text(
        json.dumps([{"hosts": "all", "become": True, "gather_facts": False, "roles": [{"role": "faultline.selfheal.managed_service"}]}])
    )

    # The unit may be there before the first release; the deployment starts it.
    made.ok(str(unit))
    first = made.ok("deploy", selfheal_archive=archive(tmp_path, "r1"), selfheal_release="r1")
    assert first.text.count("r1 serves on") >= 2
    assert serving(made) == {"one1": "r1", "one2": "r1", "one3": "r1"}
    again = made.ok(str(unit))
    assert all(counts["changed"] <= 1 for counts in again.recap.values()), "only being started at boot is new"

    # One after the other: the second fails, the third never had its turn.
    made.hosts["one2"].sh("touch /srv/no-r2 /srv/no-r3")
    stopped = made.play("deploy", selfheal_archive=archive(tmp_path, "r2"), selfheal_release="r2", selfheal_serial=[1, 1, 1])
    assert stopped.code != 0 and "r2 failed on one2" in stopped.text
    assert serving(made) == {"one1": "r2", "one2": "r1", "one3": "r1"}
    assert made.hosts["one3"].sh("ls /srv/www/web/.selfheal/deployments").split() == ["r1.json"]

    # All at once: two succeed, and go back to what each of them served before.
    back = made.play("deploy", selfheal_archive=archive(tmp_path, "r3"), selfheal_release="r3", selfheal_serial=["100%"])
    assert back.code != 0 and "serve what they served before" in back.text
    assert serving(made) == {"one1": "r2", "one2": "r1", "one3": "r1"}

    # Back by hand, on one host.
    assert made.play("rollback").code != 0, "all hosts for no selection"
    made.ok("rollback", "--limit", "one1")
    assert standing(made.hosts["one1"]) == "r1"

    # Links broken by hand: foreseen, repaired, and then nothing is left to do.
    made.hosts["one1"].sh("rm /srv/www/web/current")
    made.hosts["one3"].sh("ln -sfn /etc /srv/www/web/current")
    made.ok("resume")
    foreseen = made.ok("reconcile", "--check")
    assert made.hosts["one1"].sh("ls /srv/www/web/current 2>/dev/null || echo none").strip() == "none"
    done = made.ok("reconcile")
    assert {name: counts["changed"] for name, counts in done.recap.items()} == {"one1": 1, "one2": 0, "one3": 1}
    assert {name: counts["changed"] for name, counts in foreseen.recap.items()} == {"one1": 1, "one2": 0, "one3": 1}
    assert all(counts["changed"] == 0 for counts in made.ok("reconcile").recap.values())
    assert serving(made) == {"one1": "r1", "one2": "r1", "one3": "r1"}
    measured("a fleet of 3: canary, failed batch, rollback and reconcile as the playbooks promise")
