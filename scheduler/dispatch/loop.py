"""The dispatcher's heartbeat: woken by news and by deadlines; plans beside itself; never holds up what agents say."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from scheduler.clock import Clock
from scheduler.dispatch.bell import Bell
from scheduler.dispatch.board import post_marks, tidy
from scheduler.dispatch.journal import prune
from scheduler.dispatch.moves import Mover
from scheduler.dispatch.offers import Reach, carry_out
from scheduler.dispatch.owners import make_way
from scheduler.dispatch.picture import Picture, take_picture
from scheduler.dispatch.quoting import Planned, Planner, plan_and_quote, write_quotes
from scheduler.dispatch.sweep import sweep
from scheduler.orders import composing
from scheduler.orders.making import ToolpathRoom
from scheduler.planning.process import PlannerLost
from scheduler.planning.snapshot import PlanPolicy
from scheduler.store import SteppedDown, Store, queries
from scheduler.store import tables as t

_log: Final = logging.getLogger(__name__)
_SWEEP_EVERY: Final = timedelta(seconds=5)
#: Looking at everything costs with the size of the town: rest so many times as long for those who talk meanwhile.
_REST: Final = 4.0
_PRUNE_EVERY: Final = timedelta(hours=1)
_KEPT_OUTBOX: Final = timedelta(days=1)


class Dispatcher:
    """Runs `step` whenever there is news or a deadline; `step` alone is enough for tests with a clock of their own."""

    def __init__(
        self,
        store: Store,
        mover: Mover,
        planner: Planner,
        room: ToolpathRoom,
        clock: Clock,
        bell: Bell,
        *,
        reach: Reach,
        policy: PlanPolicy,
    ) -> None:
        self._store, self._mover, self._planner, self._room = store, mover, planner, room
        self._clock, self._bell, self._reach, self._policy = clock, bell, reach, policy
        self._started_at = clock.now()
        self._planned_at: datetime | None = None
        self._pruned_at = self._started_at
        self._swept_at: datetime | None = None
        self._stale = True
        self._rest_until = 0.0
        self._composed: tuple[object, ...] = ()
        self._result: tuple[Picture, Future[Planned]] | None = None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="planning")
        self._thread = threading.Thread(target=self._run, name="dispatch", daemon=True)
        self._stopping = False

    def start(self) -> None:
        """Begin to dispatch."""
        self._thread.start()

    def stop(self) -> None:
        """End; a plan that is being made is thrown away."""
        self._stopping = True
        self._bell.wake()
        if self._thread.ident is not None:
            self._thread.join(timeout=10)
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _run(self) -> None:
        while not self._stopping:
            try:
                wait_s = self.step()
            except sa.exc.OperationalError as error:
                _log.error("dispatch waits: the database does not answer: %s", error.orig)
                wait_s = 1.0
            except SteppedDown as error:
                _log.warning("dispatch ends here: %s", error)
                return
            except Exception:  # noqa: BLE001 (one bad job must not end dispatch; it is logged whole, and tried again)
                _log.exception("dispatch stumbled")
                wait_s = 1.0
            self._bell.wait(max(0.0, wait_s))

    def step(self) -> float:
        """Do all that is due now. Returns how many seconds it may sleep if there is no news."""
        if self._bell.heard_news():
            self._stale = True
        now = self._clock.now()
        self._carry_out(now)
        fresh = self._stale and time.monotonic() >= self._rest_until
        self._sweep(now, fresh)
        self._plan(now, fresh)
        return self._sleep_s(now)

    def plan_now(self) -> None:
        """Plan and carry out at once, in this thread (for tests that own the clock)."""
        now = self._clock.now()
        self._sweep(now, fresh=True)
        picture = self._look(now)
        self._apply(picture, plan_and_quote(self._planner, picture), self._clock.now())

    def _carry_out(self, now: datetime) -> None:
        if self._result is None or not self._result[1].done():
            return
        picture, future = self._result
        self._result = None
        try:
            planned = future.result()
        except PlannerLost as error:
            _log.error("there is no plan this time: %s", error)
            self._stale = True
            return
        self._apply(picture, planned, now)

    def _apply(self, picture: Picture, planned: Planned, now: datetime) -> None:
        plan = planned.plan
        with self._store.write() as c:
            post_marks(c, self._mover, picture, self._reach, now)
            offered = carry_out(c, self._mover, picture, plan, now, self._reach)
            if write_quotes(c, planned, now):
                self._bell.news()
            if make_way(c, self._mover, picture, plan, now):
                self._bell.news()
        _log.info("planned %d, waiting %d, offered %d", len(plan.placements), len(plan.waiting), len(offered))

    def _sweep(self, now: datetime, fresh: bool) -> None:
        with self._store.read() as c:
            due = bool(queries.jobs_past_deadline(c, now))
        if not due and not fresh and self._swept_at is not None and now - self._swept_at < _SWEEP_EVERY:
            return
        self._swept_at = now
        with self._store.write() as c:
            if sweep(c, self._mover, now):
                self._stale = True
            tidy(c, self._mover, now)
            if now - self._pruned_at > _PRUNE_EVERY:
                self._pruned_at = now
                prune(c)
                c.execute(sa.delete(t.outbox).where(t.outbox.c.sent_at < now - _KEPT_OUTBOX))

    def _plan(self, now: datetime, fresh: bool) -> None:
        if self._result is not None:
            return
        old = self._planned_at is None or now - self._planned_at >= self._mover.limits.replan
        if not fresh and not old:
            return
        self._stale, self._planned_at = False, now
        began = time.monotonic()
        picture = self._look(now)
        self._rest_until = time.monotonic() + _REST * (time.monotonic() - began)
        if not any(job.fixed is None for job in picture.snapshot.jobs) and not picture.held_back:
            return
        future = self._executor.submit(plan_and_quote, self._planner, picture)
        self._result = (picture, future)
        future.add_done_callback(lambda _: self._bell.wake())

    def _look(self, now: datetime) -> Picture:
        with self._store.read() as c:
            picture = take_picture(c, now, self._mover.limits, self._policy)
        if self._compose(picture, now):
            with self._store.read() as c:
                picture = take_picture(c, now, self._mover.limits, self._policy)
        if picture.missing:
            with self._store.write() as c:
                for key, recipe in picture.missing.items():
                    if queries.recipe(c, key) is None:
                        self._room.want(c, recipe, picture.file_keys[key], now)
        self._room.begin({**picture.missing, **picture.asked})
        return picture

    def _compose(self, picture: Picture, now: datetime) -> bool:
        """Let waiting pieces share plates and sheets, and part those that cannot. Whether anything changed."""
        seen = composing.fingerprint(picture)
        changes = [] if seen == self._composed else composing.propose(picture)
        refused = composing.misfits(picture)
        self._composed = seen
        if not changes and not refused:
            return False
        with self._store.write() as c:
            touched = composing.carry_out(c, self._mover, changes, now)
            return bool([*touched, *composing.separate(c, picture, refused, now)])

    def _sleep_s(self, now: datetime) -> float:
        with self._store.read() as c:
            deadline = queries.next_deadline(c)
        wait = _SWEEP_EVERY.total_seconds()
        if deadline is not None and deadline > now:
            wait = min(wait, (deadline - now).total_seconds())
        if self._stale and self._result is None:
            wait = min(wait, max(0.0, self._rest_until - time.monotonic()))
        return wait
