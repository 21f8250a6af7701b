# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers: how soon a death or an unhealthy container is seen and served again, against Docker's own means and docker-autoheal's loop;
a hundred of them reconciled in one task against a loop over a module for one; and what watching a hundred costs.

    python tests/bench/bench_containers.py [--quick]

Needs Docker Engine, root, and a static busybox; takes about ten minutes. Everything it makes bears one label, and is removed.
"""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from typing import Any, Dict, Iterator, List, Optional, Tuple

from bench_urls import collections, run
from stage import Stage, Watchdog, wait
from table import Row, show, told

PREFIX = "selfheal-bench-%d" % os.getpid()
IMAGE = PREFIX + "/busybox:1"
SERVE = "trap 'exit 0' TERM; rm -f /bad; mkdir -p /www; echo ok > /www/live; httpd -f -p 80 -h /www & wait"
MANY = 100
LOOPED = 20
"""The loop is run over so many and counted up: each of its turns takes as long as the last."""


class Client(http.client.HTTPConnection):
    """Speaks to the engine for the anchors."""

    def __init__(self) -> None:
        super().__init__("engine", timeout=30)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect("/var/run/docker.sock")


def docker(*argv: str) -> str:
    done = subprocess.run(["docker", *argv], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit("docker %s: %s" % (" ".join(argv[:3]), done.stderr.strip()))
    return done.stdout.strip()


def image(folder: str) -> None:
    program = shutil.which("busybox")
    if program is None:
        raise SystemExit("there is no busybox: apt-get install busybox-static")
    tree = pathlib.Path(folder, "tree")
    (tree / "bin").mkdir(parents=True)
    shutil.copy(program, tree / "bin" / "busybox")
    for link in ("sh", "httpd", "rm", "mkdir", "echo", "test", "touch", "sleep"):
        (tree / "bin" / link).symlink_to("busybox")
    tar = subprocess.run(["tar", "-C", str(tree), "-cf", "-", "."], capture_output=True, check=True).stdout
    subprocess.run(["docker", "import", "-", IMAGE], input=tar, capture_output=True, check=True)


class Box:
    """A container that serves, and its address."""

    def __init__(self, name: str, port: int, *options: str) -> None:
        self.name = "%s-%s" % (PREFIX, name)
        self.port = port
        published = ("-p", "127.0.0.1:%d:80" % port)
        docker("run", "-d", "--label", "bench=" + PREFIX, "--name", self.name, *published, *options, IMAGE, "sh", "-c", SERVE)
        wait(self.serves, 20, self.name + " serves")

    def serves(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 0.2) as sock:
                sock.settimeout(0.2)
                sock.sendall(b"GET /live HTTP/1.0\r\n\r\n")
                return b"200" in sock.recv(100)
        except OSError:
            return False

    def kill(self) -> float:
        """kill -9 of its main process; when."""
        pid = int(docker("inspect", "-f", "{{.State.Pid}}", self.name))
        at = time.time()
        os.kill(pid, 9)
        return at

    def back(self, since: float, within: float = 90.0) -> float:
        """Seconds from `since` until it serves again, once it has been seen not to."""
        gone = False
        end = time.time() + within
        while time.time() < end:
            up = self.serves()
            gone = gone or not up
            if gone and up:
                return time.time() - since
            time.sleep(0.002)
        raise SystemExit("%s did not serve again within %g s" % (self.name, within))

    def contract(self, probe: str = "http", period: float = 10.0, **more: Any) -> Dict[str, Any]:
        target: Dict[str, Any] = {"http": {"url": "http://127.0.0.1:%d/live" % self.port}} if probe == "http" else {"process": {}}
        probes = [{"role": "liveness", "period": period, "timeout": 2, "failure_threshold": 1 if probe == "process" else 2, **target}]
        return {"name": self.name[-60:], "resource": {"container": self.name}, "probes": probes, "recovered_after": 1, **more}


def settled(watchdog: Watchdog, contract: Dict[str, Any]) -> None:
    wait(lambda: watchdog.ready(contract["name"]), 60, "%s is healthy" % contract["name"])


def die_heard(box: Box) -> float:
    """Seconds from a kill to the engine's own event ``die``, as an event listener hears it."""
    heard: List[float] = []
    ready = threading.Event()

    def listen() -> None:
        client = Client()
        client.request(
            "GET", "/events?filters=" + json.dumps({"container": [box.name], "event": ["die"]}).replace(" ", "").replace('"', "%22")
        )
        answer = client.getresponse()
        ready.set()
        answer.readline()
        heard.append(time.time())
        client.close()

    thread = threading.Thread(target=listen)
    thread.start()
    ready.wait(10)
    time.sleep(0.2)
    at = box.kill()
    thread.join(30)
    return heard[0] - at


def deaths(stage: Stage, times: int) -> Iterator[Row]:
    """Of a container that nothing else restarts; beside it one that Docker's own policy restarts."""
    ours, theirs = Box("plain", stage.port()), Box("policy", stage.port(), "--restart", "always")
    contract = ours.contract(ladder=[{"rung": "restart", "attempts": 99, "timeout": 10}], guard={"actions": 999, "backoff_cap": 0})
    contract["ladder_reset_after"] = 0
    watchdog = stage.watchdog("deaths", [contract])
    settled(watchdog, contract)
    seen, serving, heard, policy = [], [], [], []
    for number in range(times):
        done: List[float] = []
        before = len(watchdog.events(contract["name"], "failure"))
        at = ours.kill()
        done.append(ours.back(at))
        wait(lambda before=before: len(watchdog.events(contract["name"], "failure")) > before, 20, "the failure is on record")
        seen.append(stamp(watchdog.events(contract["name"], "failure")[-1]["timestamp"]) - at)
        serving += done
        settled(watchdog, contract)
        wait(lambda number=number: len(watchdog.events(contract["name"], "recover")) > number, 30, "its recovery is proven")
        heard.append(die_heard(theirs))
        wait(theirs.serves, 60, "Docker's policy has restarted it")
        time.sleep(11)  # until Docker forgets its pause
        policy.append(theirs.back(theirs.kill()))
        time.sleep(11)
    yield Row(
        "container: kill -9 → on record", told(seen), "Docker's event %s" % told(heard), "%.1f" % (median(seen) / median(heard)), "≤ 50 ms",
        median(seen) <= 0.05,
    )  # fmt: skip
    yield Row(
        "container: kill -9 → serving", told(serving), "Docker's policy %s" % told(policy), "%.2f" % (median(serving) / median(policy))
    )


def unhealthy(stage: Stage, times: int) -> Iterator[Row]:
    """By its own health check, every second, two in a row; the peer is docker-autoheal's loop: every 5 s, docker restart with 10 s."""
    check = ("--health-cmd", "test ! -e /bad", "--health-interval", "1s", "--health-retries", "2")
    ours, theirs = Box("ours", stage.port(), *check), Box("autoheal", stage.port(), *check)
    contract = ours.contract("process", failing_for=0, ladder=[{"rung": "restart", "attempts": 99, "timeout": 10}])
    contract.update(guard={"actions": 999, "backoff_cap": 0}, ladder_reset_after=0)
    watchdog = stage.watchdog("unhealthy", [contract])
    settled(watchdog, contract)
    mine, other, asked, asked_other = [], [], [], []
    for number in range(times):
        began = time.time()
        mine.append(after_unhealthy(ours))
        asked.append(until_asked(ours, began))
        wait(lambda number=number: len(watchdog.events(contract["name"], "recover")) > number, 60, "its recovery is proven")
        stop = threading.Event()
        loop = threading.Thread(target=autoheal, args=(theirs.name, stop))
        loop.start()
        time.sleep(number * 5.0 / max(1, times))  # a fault comes at any time of its five seconds
        began = time.time()
        other.append(after_unhealthy(theirs))
        asked_other.append(until_asked(theirs, began))
        stop.set()
        loop.join(60)
    yield Row(
        "container: unhealthy → serving", told(mine), "autoheal's loop %s" % told(other), "%.2f" % (median(mine) / median(other)), "< 1",
        median(mine) < median(other),
    )  # fmt: skip
    # Both pay what the container takes to stop and start, up to 10 s; this is what the healer adds to that.
    yield Row(
        "container: unhealthy → its stop asked for", told(asked), "autoheal's loop %s" % told(asked_other),
        "%.3f" % (median(asked) / median(asked_other)), "< 1", median(asked) < median(asked_other),
    )  # fmt: skip


def after_unhealthy(box: Box) -> float:
    """Make its health check fail; seconds from the engine's word `unhealthy` until a new instance of it serves."""
    pid = docker("inspect", "-f", "{{.State.Pid}}", box.name)
    docker("exec", box.name, "touch", "/bad")
    wait(
        lambda: (
            docker("inspect", "-f", "{{.State.Health.Status}}", box.name) != "healthy"
            or docker("inspect", "-f", "{{.State.Pid}}", box.name) != pid
        ),
        30,
        "unhealthy",
    )
    at = time.time()
    wait(lambda: docker("inspect", "-f", "{{.State.Pid}}", box.name) not in (pid, "0") and box.serves(), 60, "it serves again")
    return time.time() - at


def until_asked(box: Box, since: float) -> float:
    """Seconds from the engine's word `unhealthy` to the first signal that somebody had it sent, by the engine's own clock."""
    words = docker(
        "events", "--since", "%.6f" % since, "--until", "%.6f" % time.time(), "--filter", "container=" + box.name,
        "--format", "{{.TimeNano}} {{.Action}}",
    )  # fmt: skip
    at = {action: int(when) / 1e9 for when, _space, action in (line.partition(" ") for line in reversed(words.splitlines()))}
    return at["kill"] - at["health_status: unhealthy"]


def autoheal(name: str, stop: threading.Event) -> None:
    """docker-autoheal's loop as it is published: ask for unhealthy containers, restart each with 10 s to stop, sleep 5 s."""
    filters = json.dumps({"health": ["unhealthy"], "name": [name]}).replace(" ", "").replace('"', "%22")
    while not stop.is_set():
        client = Client()
        client.request("GET", "/containers/json?filters=" + filters)
        for each in json.loads(client.getresponse().read()):
            restart = Client()
            restart.request("POST", "/containers/%s/restart?t=10" % each["Id"])
            restart.getresponse().read()
            restart.close()
        client.close()
        stop.wait(5)


def many(stage: Stage, folder: str) -> Iterator[Row]:
    """A hundred containers: watched, and reconciled."""
    names = ["%s-many-%d" % (PREFIX, number) for number in range(MANY)]
    for name in names:
        docker("run", "-d", "--network", "none", "--label", "bench=" + PREFIX, "--name", name, IMAGE, "sh", "-c", "exec sleep 3600")
    probe = [{"role": "liveness", "process": {}, "period": 10, "timeout": 4}]
    contracts = [{"name": name[-60:], "resource": {"container": name}, "probes": probe} for name in names]
    watchdog = stage.watchdog("many", contracts)
    wait(lambda: all(watchdog.ready(each["name"]) for each in contracts), 120, "a hundred containers are healthy")
    before, began = ticks(watchdog.process.pid), time.monotonic()
    time.sleep(60)
    hours = (time.monotonic() - began) / 3600
    spent = (ticks(watchdog.process.pid) - before) / os.sysconf("SC_CLK_TCK") / hours
    memory = status(watchdog.process.pid, "VmRSS") / 1024
    yield Row("100 containers watched: RSS", "%.1f MB" % memory, must="≤ 50 MB", ok=memory <= 50)
    yield Row("100 containers watched, their health asked every 10 s", "%.1f CPU s/h" % spent)
    watchdog.process.terminate()
    watchdog.process.wait(30)
    environment = dict(
        os.environ,
        ANSIBLE_COLLECTIONS_PATH=os.pathsep.join([collections(folder), peers(folder)]),
        ANSIBLE_LOCALHOST_WARNING="false",
        ANSIBLE_PYTHON_INTERPRETER=sys.executable,
    )
    home = os.path.join(folder, "home")
    options = {"selector": {"bench": PREFIX}, "etc": home, "state_dir": home + "/state", "run_dir": home + "/run"}
    ours = [run(folder, "ours.json", {"faultline.selfheal.container_heal": options}, environment) for _turn in range(3)]
    looped = {"community.docker.docker_container": {"name": "{{ item }}", "state": "started", "image": IMAGE, "pull": "never",
              "comparisons": {"*": "ignore"}}, "loop": names[:LOOPED]}  # fmt: skip
    other = run(folder, "theirs.json", looped, environment)
    mine = statistics.median(each.wall for each in ours)
    counted = other.wall * MANY / LOOPED
    words = "loop over docker_container %.0f s (%d took %.1f s)" % (counted, LOOPED, other.wall)
    yield Row("100 containers reconciled in one task", "%.2f s" % mine, words, "%.0f" % (counted / mine), "≥ 10 ×", counted >= 10 * mine)


def peers(folder: str) -> str:
    """Where the module for one container is: in the package `ansible`, of which only two collections are unpacked."""
    given = os.environ.get("COMMUNITY_DOCKER_COLLECTIONS")
    if given:
        return given
    fetch = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":none:", "-d", folder, "ansible"]
    if subprocess.run(fetch, capture_output=True, check=False).returncode:
        raise SystemExit("community.docker cannot be had from PyPI's package ansible; name a path to it in COMMUNITY_DOCKER_COLLECTIONS")
    wheel = next(pathlib.Path(folder).glob("ansible-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        wanted = ("ansible_collections/community/docker/", "ansible_collections/community/library_inventory_filtering_v1/")
        archive.extractall(folder, [name for name in archive.namelist() if name.startswith(wanted)])
    return folder


def stamp(text: str) -> float:
    import datetime

    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=datetime.timezone.utc).timestamp()


def ticks(pid: int) -> int:
    fields = pathlib.Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def status(pid: int, key: str) -> float:
    line = next(line for line in pathlib.Path("/proc/%d/status" % pid).read_text().splitlines() if line.startswith(key))
    return float(line.split()[1])


def library(_stage: Optional[Stage] = None) -> Iterator[Row]:
    """What speaking to the engine costs a process: our requests beside the Docker SDK, where that is installed."""
    measure = (
        "import time; at = time.perf_counter(); %s; took = time.perf_counter() - at; "
        "print(took, next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmRSS')))"
    )

    def cost(statement: str) -> Optional[Tuple[float, float]]:
        environment = dict(os.environ, PYTHONPATH=str(pathlib.Path(__file__).resolve().parents[2] / "plugins"))
        done = [
            subprocess.run([sys.executable, "-c", measure % statement], capture_output=True, text=True, env=environment, check=False)
            for _turn in range(5)
        ]
        found = [tuple(map(float, each.stdout.split())) for each in done if each.returncode == 0]
        return (statistics.median(each[0] for each in found), statistics.median(each[1] for each in found) / 1024) if found else None

    ours, theirs, bare = cost("import module_utils._actuators.container"), cost("import docker.api.client"), cost("pass")
    if ours is None or bare is None:
        raise SystemExit("the library cannot be imported")
    shown = "%.0f ms, %.1f MB" % (ours[0] * 1000, ours[1] - bare[1])
    if theirs is None:
        yield Row("speaking to an engine: import, memory", shown, "the Docker SDK is not installed here")
    else:
        words = "Docker SDK %.0f ms, %.1f MB" % (theirs[0] * 1000, theirs[1] - bare[1])
        yield Row("speaking to an engine: import, memory", shown, words, "%.2f" % ((ours[1] - bare[1]) / (theirs[1] - bare[1])))


def median(values: List[float]) -> float:
    return statistics.median(values)


def rows(times: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="selfheal-bench-") as folder, Stage() as stage:
        image(folder)
        try:
            yield from library()
            yield from deaths(stage, times)
            yield from unhealthy(stage, times)
            yield from many(stage, folder)
        finally:
            made = docker("ps", "-aq", "--filter", "label=bench=" + PREFIX).split()
            if made:
                docker("rm", "-f", "-v", *made)
            docker("rmi", IMAGE)


if __name__ == "__main__":
    sys.exit(show(rows(2 if "--quick" in sys.argv[1:] else 5)))
