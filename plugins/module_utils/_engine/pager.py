# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages reach people: every target of a page is told, again and again until it worked, and once more when it is over.

It rides on the driver's loop and waits for nothing: each delivery is a step with a deadline, each target has its own, so one that
hangs delays neither a probe nor another target. What is still to be said lies in the spool before it is said, so a killed process loses
nothing; it repeats at most the one message whose answer it did not live to read.
"""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from .._actuators.notify import CannotTell, telling, told
from .._core import pages as core
from .._core.model import Notify
from .._core.reasons import Reason
from .._core.times import format_time
from .._host import Handle, Host, Outcome
from .._records.events import clean
from .._records.pages import Page, Pages, Told
from .ports import Records
from .post import Post, Task
from .spool import Spool

LOOK_EVERY = 1.0
IDLE = 60.0
UNWATCHED_FOR = 86400.0
"""A page about a service nobody watches any more is closed after so long, or when it is acknowledged."""
AT_ONCE = 4
"""Messages under way to one target. What is beyond waits, and delays no other target."""


class Pager:
    """The pages of one host, or of one run. `wake`: when it next wants a turn.

    targets(service): who is told about it (None: about the host) as configured now; None when the service is not known here.
    standing(page): is its incident still open? None when that cannot be told. Given only to the process that stays: it takes up what others
    leave behind.
    """

    def __init__(
        self,
        host: Host,
        name: str,
        store: Pages,
        records: Records,
        targets: Callable[[Optional[str]], Optional[Sequence[Notify]]],
        source: str = "watchdog",
        standing: Optional[Callable[[Page], Optional[bool]]] = None,
    ) -> None:
        self.wake = -math.inf
        self.counts: Dict[Tuple[str, str, str], int] = {}
        """Deliveries by service ("" for the host), target and outcome: delivered, failed (an attempt), given_up."""
        self._host = host
        self._name = name
        self._spool = Spool(host, store, self._complain)
        self._records = records
        self._targets = targets
        self._source = source
        self._standing = standing
        self._posts: Dict[str, Post] = {}
        self._same: Dict[str, str] = {}
        self._recoveries: Dict[str, Dict[str, Any]] = {}
        self._look_at = -math.inf

    @property
    def healer(self) -> Pager:
        """Whose turn it is when one of its steps has ended."""
        return self

    @property
    def waiting(self) -> int:
        """Messages that somebody should have and does not have yet."""
        return sum(1 for post in self._posts.values() for task in post.tasks if task.owes(post.page))

    def tally(self, services: Iterable[str]) -> Dict[Tuple[str, str, str], int]:
        """`counts`, with zeros for everybody who could be told: a first increase can only be seen from there."""
        found = {}
        for service in services:
            for name in core.names_of(self._targets(service) or ()):
                found.update({(service, name, outcome): 0 for outcome in ("delivered", "failed")})
        found.update(self.counts)
        return found

    def incidents(self) -> List[str]:
        """What somebody is called about at present."""
        return [post.page.incident for post in self._posts.values() if post.page.closed is None]

    # -- what is heard ---------------------------------------------------------------------------------------------------

    def paged(self, service: Optional[str], incident: str, data: Mapping[str, Any], written: Optional[Mapping[str, Any]]) -> None:
        """A person is to be called. Who was called about this incident is not called again, whoever asks."""
        if incident in self._posts or self._claim(incident) is not None or self._spool.there(incident):
            return
        if service is None:
            if self._standing is not None and not self._spool.known:
                self._take_up(self._host.monotonic())  # a storm goes on though the watchdog was restarted in it
            lasting = next(
                (post.page.incident for post in self._posts.values() if post.page.service is None and post.page.closed is None), None
            )
            if lasting is not None:
                self._same[incident] = lasting
                return
        wall = self._host.wall()
        timestamp = str(written["timestamp"]) if written is not None else format_time(wall)
        message = core.firing(self._name, service, incident, clean(data), timestamp, None if written is None else written["seq"])
        page = Page(incident, service, wall, message, [Told(notify) for notify in self._targets(service) or ()], owner=self._spool.me())
        self._spool.save(self._adopt(page))
        # Said at the next turn: until then whoever pages has saved that it did, so that a crash does not page twice.
        self.wake = -math.inf

    def recovered(self, incident: str, data: Mapping[str, Any]) -> None:
        """How an incident ended, for the message that follows."""
        self._recoveries = {incident: dict(data)}

    def resolved(self, incident: str, written: Optional[Mapping[str, Any]]) -> None:
        """It is over. Who had the page is told."""
        incident = self._same.pop(incident, incident)
        post = self._posts.get(incident) or self._claim(incident)
        recovery = self._recoveries.pop(incident, None)
        if post is None or post.page.closed is not None:
            return
        how = "it has recovered" if post.page.service is not None else "the storm is over"
        if recovery is not None:
            how += " after %.1f s" % (float(recovery.get("recovery_duration_ms", 0)) / 1000.0)
        self._close(post, how, written, recovery)

    def retarget(self) -> None:
        """Contracts have changed: open pages go to whom they name now."""
        for post in self._posts.values():
            if post.page.closed is None and self._retarget(post):
                self._spool.save(post)
        self.wake = -math.inf

    def unwatched(self, service: str) -> None:
        """A service is no longer in the contracts."""
        for post in list(self._posts.values()):
            if post.page.service == service and post.page.closed is None:
                self._close(post, "it is no longer watched")

    # -- what the driver calls -------------------------------------------------------------------------------------------

    def turn(self, now: float) -> None:
        """Say whatever is due. Cheap when nothing is."""
        if now >= self._look_at:
            self._look_at = now + LOOK_EVERY
            self._look(now)
        if now >= self.wake:
            self._serve(now)

    def _serve(self, now: float) -> None:
        self.wake = now + LOOK_EVERY  # should anything below break, it is not tried again at once
        wake = now + IDLE
        busy: Dict[str, int] = {}
        due: List[Tuple[float, Post, Task, str]] = []
        for post in list(self._posts.values()):
            if post.unsaved and now >= self._spool.save_at:
                self._spool.save(post)
            if post.unsaved:
                wake = min(wake, self._spool.save_at)
            for task in post.tasks:
                kind, at = self._next(post, task, now)
                if task.handle is not None:
                    busy[task.name] = busy.get(task.name, 0) + 1
                elif kind is not None and at <= now:
                    due.append((at, post, task, kind))
                else:
                    wake = min(wake, at)
            if post.done:
                del self._posts[post.page.incident]
                self._spool.remove(post.page.incident)
        # Who has waited longest goes first, or a target that hangs would hear of the oldest pages only.
        for _at, post, task, kind in sorted(due, key=lambda each: each[0]):
            if busy.get(task.name, 0) < AT_ONCE:
                busy[task.name] = busy.get(task.name, 0) + 1
                self._send(post, task, kind, now)
                if task.handle is None:
                    wake = now
        self.wake = wake

    def _next(self, post: Post, task: Task, now: float) -> Tuple[Optional[str], float]:
        """What to say to a target next and when; None when there is nothing."""
        if task.handle is not None:
            return None, math.inf
        kind, at = task.next(post.page, now, self._superseded, lambda: self._spool.acknowledged(post.page.incident))
        if kind == "give_up":
            self._give_up(post, task)
            return None, math.inf
        return kind, at

    def ended(self, handle: Handle) -> None:
        """A delivery is over."""
        post, task = handle.tag
        task.handle = None
        outcome = handle.outcome or Outcome("unknown", Reason.INTERNAL_ERROR, "it ended without an outcome")
        self._heard(post, task, outcome, self._host.monotonic())

    def deliver(self, seconds: float) -> None:
        """For a run that ends: up to so many seconds for what is still to be said; what is left after that is the watchdog's."""
        end = self._host.monotonic() + seconds
        while True:
            self.turn(self._host.monotonic())
            if not self.waiting or self._host.monotonic() >= end:
                break
            for handle in self._host.poll(min(self.wake, end)):
                if handle.owner is self:
                    self.ended(handle)
                    self.wake = -math.inf
        self.stop()

    def stop(self) -> None:
        """Let go of everything under way; whoever comes next goes on with it."""
        for post in self._posts.values():
            for task in post.tasks:
                if task.handle is not None:
                    self._host.cancel(task.handle)
                    task.handle = None
            if self._standing is None or post.unsaved:
                post.page.owner = None
                self._spool.save(post)
        self._posts.clear()

    # -- one page --------------------------------------------------------------------------------------------------------

    def _superseded(self, page: Page) -> bool:
        """Is there another open page with the same labels? An Alertmanager would take the end of this one for the end of that."""
        return any(
            other.page is not page and other.page.service == page.service and other.page.closed is None for other in self._posts.values()
        )

    def _send(self, post: Post, task: Task, kind: str, now: float) -> None:
        page = post.page
        message = page.message
        if kind == "resolved":
            message = page.closing or page.message
        elif kind == "reminder":
            message = {**message, "reminder": task.told.reminders + 1}
        task.kind = kind
        try:
            step, limit = telling(task.told.notify, message, page.opened, self._host.wall())
        except CannotTell as error:
            self._heard(post, task, error.outcome, now)
            return
        task.handle = self._host.start(step, now + limit, self)
        task.handle.tag = post, task

    def _heard(self, post: Post, task: Task, outcome: Outcome, now: float) -> None:
        page = post.page
        if outcome.status == "ok":
            late = task.told.failed and task.kind == "page"
            tries = task.tries + 1
            if task.delivered(now, self._host.wall()):
                self._spool.save(post)
                self._count(page, task, "delivered")
            if late:
                text = "%s was told after all, at attempt %d" % (task.name, tries)
                self._say("note", page, {"text": text, "notify": task.name, "attempts": tries})
            return
        task.failed(now, "%s %s" % (self._name, task.name))
        self._count(page, task, "failed")
        if not task.told.failed:
            task.told.failed = True
            self._say(
                "page_failed",
                page,
                {
                    "reason": str(outcome.reason or Reason.ACTION_FAILED),
                    "detail": told(task.told.notify, outcome),
                    "notify": task.name,
                    "message": task.kind,
                },
            )
            self._spool.save(post)

    def _give_up(self, post: Post, task: Task) -> None:
        task.told.over = True
        self._count(post.page, task, "given_up")
        what = "that it is over" if task.told.delivered is not None else "of it"
        self._say(
            "note",
            post.page,
            {"text": "%s was not told %s: it was not reached for an hour after the end" % (task.name, what), "notify": task.name},
        )
        self._spool.save(post)

    def _close(
        self, post: Post, how: str, written: Optional[Mapping[str, Any]] = None, recovery: Optional[Mapping[str, Any]] = None
    ) -> None:
        page = post.page
        page.closed = self._host.wall()
        timestamp = str(written["timestamp"]) if written is not None else format_time(page.closed)
        seq = written["seq"] if written is not None else page.message["timeline"]["seq"]
        page.closing = core.resolved(page.message, how, timestamp, seq, recovery)
        post.over(self._host.monotonic())
        self._spool.save(post)
        self.wake = -math.inf

    # -- all of them -----------------------------------------------------------------------------------------------------

    def _look(self, now: float) -> None:
        """Take up what others left, and see which incidents were closed by others."""
        if self._standing is None:
            return
        if self._spool.news(now):
            self._take_up(now)
        for post in list(self._posts.values()):
            if post.page.closed is not None:
                continue
            stands = self._standing(post.page)
            if stands is False:
                self._close(post, "its incident is closed: it was healed by other means, or the host was rebooted")
            elif stands is None and (post.page.opened + UNWATCHED_FOR < self._host.wall() or self._spool.acknowledged(post.page.incident)):
                self._close(post, "it is not watched here")

    def _take_up(self, now: float) -> None:
        for page in self._spool.take_up(self._posts, now):
            self._adopt(page)

    def _claim(self, incident: str) -> Optional[Post]:
        page = self._spool.claim(incident)
        return self._adopt(page) if page is not None else None

    def _adopt(self, page: Page) -> Post:
        post = self._posts[page.incident] = Post(page, self._host.monotonic(), self._host.wall())
        if page.closed is None:
            self._retarget(post)
        self.wake = -math.inf
        return post

    def _retarget(self, post: Post) -> bool:
        wanted = self._targets(post.page.service)
        return wanted is not None and post.retarget(wanted)

    def _complain(self, problem: str) -> None:
        text = "pages cannot be kept on disk: they are delivered from memory, and lost if this process ends first"
        data = {"reason": str(Reason.RECORDS_UNWRITABLE), "detail": problem, "text": text}
        self._records.record("note", None, None, self._source, data)

    def _count(self, page: Page, task: Task, outcome: str) -> None:
        key = page.service or "", task.name, outcome
        self.counts[key] = self.counts.get(key, 0) + 1

    def _say(self, type: str, page: Page, data: Dict[str, Any]) -> None:
        self._records.record(type, page.service, page.incident, self._source, data)


__all__ = ["Pager"]
