# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets the stage of the demonstration up and clears it: one watchdog, and the services it starts, in one private directory.

stage.py prepare DIRECTORY --service-port N --watchdog-port N --release-port N    end an earlier run, make the directories, find free ports
stage.py start DIRECTORY --lifetime SECONDS                       start the watchdog, wait until it and its services are ready
stage.py reload DIRECTORY                                         have it read its contracts again, wait until all services are ready
stage.py stop DIRECTORY                                           end everything, wait until it is gone

A guard stands beside the watchdog. It ends everything when somebody asks (SIGTERM), when the Ansible run that called `start` is gone,
when the watchdog dies, or when the lifetime is over. So a run that was interrupted or killed leaves no process behind.
Prints one JSON object. Exit status 1, with a sentence on stderr, when something cannot be done.
"""

import argparse
import errno
import fcntl
import glob
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

STOP_WITHIN = 20.0
READY_WITHIN = 30.0
MADE = ("etc", "log", "run", "state", "www", "sources")


class Failed(Exception):
    """What could not be done, and what to do about it."""


# ---- processes, by pid and start time


def stat(pid):
    """(state, parent, start time) of a process, None when there is none."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return fields[0].decode(), int(fields[1]), int(fields[19])


def alive(process):
    found = stat(process[0])
    return found is not None and found[2] == process[1] and found[0] not in "ZX"


def send(process, number):
    """Signal that very process; False when it is gone."""
    if not alive(process):
        return False
    try:
        os.kill(process[0], number)
    except ProcessLookupError:
        return False
    return True


def gone(process, seconds):
    """Wait for a process of anybody's to end."""
    until = time.monotonic() + seconds
    while alive(process):
        if time.monotonic() >= until:
            return False
        time.sleep(0.02)
    return True


def end(process, patience):
    """TERM, wait, KILL, wait. A stopped process takes only the last of them."""
    if send(process, signal.SIGTERM) and not gone(process, patience):
        send(process, signal.SIGKILL)
        gone(process, 5.0)


def controller():
    """The Ansible run we belong to: the oldest of our ancestors, without a gap, that runs a program of Ansible's. None over SSH."""
    pid, found = os.getppid(), None
    while pid > 1:
        about = stat(pid)
        if about is None:
            break
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            words = [os.path.basename(word) for word in file.read().split(b"\0")[:3]]
        if any(word.startswith((b"ansible-playbook", b"ansible-runner", b"ansible-navigator")) for word in words):
            found = pid, about[2]
        pid = about[1]
    return found


# ---- the directory


def path(directory, *parts):
    return os.path.join(directory, *parts)


def read_json(name):
    try:
        with open(name, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Failed("%s cannot be understood: %s; remove it" % (name, error)) from error


def write_json(name, data):
    with open(name + ".new", "w", encoding="utf-8") as file:
        json.dump(data, file)
    os.replace(name + ".new", name)


def free(port):
    """Whether one can listen there: as the service does it, so that what only lingers from an earlier one does not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
        return True


def any_port(unlike):
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in unlike:
            return port


def prepare(arguments):
    directory = arguments.directory
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        found = os.lstat(directory)
    except OSError as error:
        raise Failed("%s cannot be made: %s. Give another with SELFHEAL_DEMO_DIRECTORY." % (directory, error.strerror)) from error
    if found.st_uid != os.geteuid():
        raise Failed(
            "%s belongs to uid %d, we are uid %d. Give another with SELFHEAL_DEMO_DIRECTORY." % (directory, found.st_uid, os.geteuid())
        )
    os.chmod(directory, 0o700)
    clear(directory)
    previous = path(directory, "previous")
    if os.path.isdir(previous):
        shutil.rmtree(previous)
    os.mkdir(previous, 0o700)
    for name in MADE:
        if os.path.isdir(path(directory, name)):
            os.rename(path(directory, name), path(previous, name))
        os.mkdir(path(directory, name), 0o700)
    ports, taken = [], []
    asked = (arguments.service_port, arguments.watchdog_port, arguments.release_port)
    for wanted in asked:
        if free(wanted) and wanted not in ports:
            ports.append(wanted)
        else:
            taken.append(wanted)
            ports.append(any_port([*ports, *asked]))
    return {"ports": ports, "taken": taken, "python": sys.executable}


# ---- the guard


def start(arguments):
    directory = arguments.directory
    if running(directory) is not None:
        raise Failed("a stage is set up in %s already; end it with: stage.py stop %s" % (directory, directory))
    owner = controller()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            if os.fork() == 0:
                guard(directory, owner, arguments.lifetime)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    await_ready(directory)
    return dict(read_json(path(directory, "stage.json")), controller=owner)


def guard(directory, owner, lifetime):
    """The guard's life. It has let go of everything it was started with."""
    os.chdir("/")
    with open(path(directory, "log", "stage.log"), "ab", buffering=0) as log, open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.closerange(3, 1024)
    told = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: told.append(number))
    lock = os.open(path(directory, "stage.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    until = time.monotonic() + lifetime
    argv = [sys.executable, "-I", path(directory, "bin", "selfheal.pyz"), "--etc", path(directory, "etc"), "watch"]
    with open(path(directory, "log", "watchdog.log"), "ab") as log:
        watchdog = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        own = stat(os.getpid())
        about = stat(watchdog.pid)
        write_json(
            path(directory, "stage.json"),
            {"guard": [os.getpid(), own[2]], "watchdog": [watchdog.pid, about[2] if about is not None else 0]},
        )
        watched = [os.pidfd_open(watchdog.pid)] + ([os.pidfd_open(owner[0])] if owner is not None and alive(owner) else [])
        while not told and time.monotonic() < until and (owner is None or alive(owner)) and watchdog.poll() is None:
            select.select(watched, [], [], 1.0)
        why = "signal %d" % told[0] if told else "the watchdog ended" if watchdog.poll() is not None else "the run or the lifetime is over"
        print("the stage is cleared: %s" % why, flush=True)
    finally:
        if watchdog.poll() is None:
            watchdog.terminate()
            try:
                watchdog.wait(5.0)
            except subprocess.TimeoutExpired:
                watchdog.kill()
                watchdog.wait(5.0)
        end_keepers(directory)
        end_deployers(directory)
        end_services(directory)


def end_keepers(directory):
    """End what stands beside faults of an interrupted drill, waiting for a recovery that will not come."""
    folder = path(directory, "run", "faults")
    if not os.path.isdir(folder):
        return
    for name in sorted(os.listdir(folder)):
        if name.endswith(".json") and not name.startswith("."):
            keeper = (read_json(path(folder, name)) or {}).get("keeper")
            if keeper:
                end((keeper["pid"], keeper["start_time"]), 3.0)


def end_deployers(directory):
    """End who still deploys on the stage: it would start what is ended here."""
    for journal in glob.glob(path(glob.escape(directory), "www", "*", ".selfheal", "deployments", "*.json")):
        entry = read_json(journal) or {}
        owner = entry.get("owner") or {}
        if entry.get("phase") not in ("active", "failed") and owner.get("pid", 0) > 1:
            end((owner["pid"], owner.get("start_time", 0)), 3.0)


def end_services(directory):
    """End what the watchdog has started; it runs no more, so nothing new is started meanwhile."""
    folder = path(directory, "run", "processes")
    if not os.path.isdir(folder):
        return
    for name in sorted(os.listdir(folder)):
        if name.startswith(".") or not name.endswith(".json"):
            continue
        record = read_json(path(folder, name)) or {}
        if record.get("unit"):
            subprocess.run(["systemctl", "stop", record["unit"]], stdin=subprocess.DEVNULL, timeout=15, check=False)
        process = record.get("pid", 0), record.get("start_time", 0)
        if process[0] > 1:
            send(process, signal.SIGCONT)
            end(process, 2.0)


def running(directory):
    """The stage's processes when its guard lives."""
    found = read_json(path(directory, "stage.json"))
    return found if found is not None and alive(found["guard"]) else None


def clear(directory):
    """End everything; was there anything?"""
    found = read_json(path(directory, "stage.json"))
    if found is None:
        return False
    was = alive(found["guard"])
    if was:
        send(found["guard"], signal.SIGTERM)
        if not gone(found["guard"], STOP_WITHIN):
            raise Failed("the guard, pid %d, does not end; see %s" % (found["guard"][0], path(directory, "log", "stage.log")))
    # Where somebody killed the guard, its work is ours.
    if alive(found["watchdog"]):
        was = True
        end(found["watchdog"], 5.0)
    end_keepers(directory)
    end_deployers(directory)
    end_services(directory)
    os.unlink(path(directory, "stage.json"))
    return was


# ---- ready?


def await_ready(directory):
    """Wait until the watchdog and all of its services are ready."""
    config = read_json(path(directory, "etc", "watchdog.json"))
    services = read_json(path(directory, "etc", "contracts.json"))["services"]
    port = int(config["listen"].rpartition(":")[2])
    until = time.monotonic() + READY_WITHIN
    wanted = ["/health/ready"] + ["/services/%s/ready" % service["name"] for service in services]
    while wanted:
        if ask(port, wanted[0]) == 200:
            wanted.pop(0)
            continue
        found = read_json(path(directory, "stage.json"))
        if time.monotonic() >= until or found is not None and not alive(found["guard"]):
            with open(path(directory, "log", "watchdog.log"), encoding="utf-8", errors="replace") as log:
                last = "".join(log.readlines()[-8:]).strip()
            clear(directory)
            raise Failed(
                "%s was not ready%s; the end of %s:\n%s"
                % (
                    wanted[0],
                    " within %g s" % READY_WITHIN if time.monotonic() >= until else ", as the watchdog ended",
                    path(directory, "log", "watchdog.log"),
                    last,
                )
            )
        time.sleep(0.03)


def ask(port, url):
    """The status of one of the watchdog's pages, 0 while there is none."""
    try:
        with socket.create_connection(("127.0.0.1", port), 2.0) as client:
            client.sendall(b"GET %s HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n" % url.encode())
            words = client.recv(64).split()
    except OSError:
        return 0
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def reload(arguments):
    """Have the watchdog read its contracts, and wait until it serves by them."""
    found = running(arguments.directory)
    if found is None or not send(found["watchdog"], signal.SIGHUP):
        raise Failed("no watchdog runs in %s; start the stage first" % arguments.directory)
    await_ready(arguments.directory)
    return {}


def stop(arguments):
    return {"changed": clear(arguments.directory)}


def main():
    parser = argparse.ArgumentParser(description="Set the stage of the demonstration up, and clear it.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, run in (("prepare", prepare), ("start", start), ("reload", reload), ("stop", stop)):
        verb = verbs.add_parser(name)
        verb.set_defaults(run=run)
        verb.add_argument("directory", type=os.path.abspath)
        if name == "prepare":
            verb.add_argument("--service-port", type=int, required=True)
            verb.add_argument("--watchdog-port", type=int, required=True)
            verb.add_argument("--release-port", type=int, required=True)
        elif name == "start":
            verb.add_argument("--lifetime", type=float, required=True)
    arguments = parser.parse_args()
    try:
        print(json.dumps(arguments.run(arguments)))
    except (Failed, OSError) as error:
        sys.stderr.write("stage: %s\n" % error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
