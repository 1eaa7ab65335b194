"""The dispatcher's heartbeat: woken by news and by deadlines; plans beside itself; never holds up what agents say.

Each of its steps is short (`timings`): what takes long is done by `rounds`, in a thread and in processes of its own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from scheduler.clock import Clock
from scheduler.dispatch.bell import Bell
from scheduler.dispatch.board import tidy
from scheduler.dispatch.carrying import Carrying
from scheduler.dispatch.hearing import (
    ASK_AGAIN_S,
    ASK_LATER_S,
    LOOK_EVERY_S,
    Listening,
    ask,
    asked_upto,
    end_hearing,
    there_and_silent,
    went,
)
from scheduler.dispatch.journal import prune
from scheduler.dispatch.moves import Mover
from scheduler.dispatch.offers import Reach
from scheduler.dispatch.picture import Picture
from scheduler.dispatch.rounds import Found, Rounds
from scheduler.dispatch.sweep import sweep
from scheduler.dispatch.timings import Step, Timings
from scheduler.planning.process import PlannerLost
from scheduler.store import SteppedDown, Store, queries
from scheduler.store.retention import forget_some
from scheduler.store.toolpath_files import ToolpathFiles

_log: Final = logging.getLogger(__name__)
_SWEEP_EVERY_S: Final = 5.0
#: Looking at everything costs with the size of the town: rest so many times as long for those who talk meanwhile.
_REST: Final = 4.0
_FORGET_EVERY_S: Final = 3600.0
#: While there is more to forget, so long between two transactions of it.
_FORGET_ON_S: Final = 0.2


class Dispatcher:
    """Runs `step` whenever there is news or a deadline; `step` alone is enough for tests with a clock of their own."""

    def __init__(
        self,
        store: Store,
        mover: Mover,
        rounds: Rounds,
        clock: Clock,
        bell: Bell,
        *,
        reach: Reach,
        files: ToolpathFiles,
        timings: Timings,
        hears: Callable[[], bool],
    ) -> None:
        self._store, self._mover, self._rounds, self._clock, self._bell = store, mover, rounds, clock, bell
        self._reach, self._files, self._hears = reach, files, hears
        self._listening: Listening | None = Listening(mover.limits.reconcile, clock.monotonic)
        self._asked_upto: int | None = None
        self._questions_went = False
        self.timings = timings
        # By the clock that nobody sets: one put back by an hour would stop all this for as long.
        self._planned_at: float | None = None
        self._ask_at = clock.monotonic() + ASK_AGAIN_S
        self._forget_at = clock.monotonic() + _FORGET_EVERY_S
        self._swept_at: float | None = None
        self._stale = True
        self._rest_until = 0.0
        self._round: Future[Found] | None = None
        self._carrying: Carrying | None = None
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
        """Do what is due now, for some milliseconds at most. Returns how many seconds it may sleep without news."""
        if self._bell.heard_news():
            self._stale = True
        now = self._clock.now()
        self.listen()
        self._take_result()
        if self._carrying is not None and self._carry(self._carrying, now):
            return 0.0
        # While a round is under way no other can begin: what it will be shown is looked at then, not at every word.
        fresh = self._stale and self._round is None and time.monotonic() >= self._rest_until
        self._sweep(now, fresh)
        self._forget(now)
        self._plan(now, fresh)
        return self._sleep_s(now)

    def plan_now(self) -> None:
        """Plan and carry out at once, in this thread (for tests that own the clock)."""
        self.listen()
        self._sweep(self._clock.now(), fresh=True)
        found = self._rounds.make(self._clock.now())
        if found.planned is not None:
            carrying = Carrying(self._mover, found.picture, found.planned, self._reach)
            while self._carry(carrying, self._clock.now()):
                pass

    def listen(self) -> None:
        """Ask again who is silent; count towards the end of the wait since this term began, and write that end down."""
        were_asked = self._were_asked()  # before more is asked
        self._ask_again()
        if self._listening is None or not self._listening.look(hears=were_asked and self._hears()):
            return
        with self._store.write() as c:
            end_hearing(c, self._clock.now())
        self._listening, self._stale = None, True

    def _were_asked(self) -> bool:
        if not self._questions_went:
            with self._store.read() as c:
                if self._asked_upto is None:
                    self._asked_upto = asked_upto(c)
                self._questions_went = went(c, self._asked_upto)
        return self._questions_went

    def _ask_again(self) -> None:
        turn = self._clock.monotonic()
        if turn < self._ask_at:
            return
        self._ask_at = turn + (ASK_LATER_S if self._listening is None else ASK_AGAIN_S)
        with self._store.read() as c:
            silent = there_and_silent(c)
        if silent:
            with self._store.write() as c:
                ask(c, silent, self._mover.sender, self._clock.now())

    def look(self, now: datetime) -> Picture:
        """What the planner would be shown at this moment."""
        return self._rounds.look(now)

    def _take_result(self) -> None:
        if self._round is None or not self._round.done():
            return
        finished, self._round = self._round, None
        try:
            found = finished.result()
        except PlannerLost as error:
            _log.error("there is no plan this time: %s", error)
            self._stale = True
            return
        if found.planned is not None:
            self._carrying = Carrying(self._mover, found.picture, found.planned, self._reach)

    def _carry(self, carrying: Carrying, now: datetime) -> bool:
        """One slice of a plan. Whether anything is left of it; one that cannot be written is given up for a new one."""
        self._carrying = None
        try:
            with self.timings.of(Step.CARRY_OUT), self._store.write() as c:
                left = carrying.slice(c, now)
        except Exception:
            self._stale = True
            raise
        if left:
            self._carrying = carrying
            return True
        if carrying.news:
            self._bell.news()
        _log.info("%s", carrying)
        return False

    def _sweep(self, now: datetime, fresh: bool) -> None:
        with self._store.read() as c:
            due = queries.any_past_deadline(c, now)
        turn = self._clock.monotonic()
        if not due and not fresh and self._swept_at is not None and turn - self._swept_at < _SWEEP_EVERY_S:
            return
        self._swept_at = turn
        turns = sweep(self._store, self._mover, now)
        touched: int | None = 0
        while touched is not None and not self._stopping:
            self._stale = self._stale or touched > 0
            with self.timings.of(Step.SWEEP):
                touched = next(turns, None)
        more = True
        while more and not self._stopping:
            with self.timings.of(Step.SWEEP), self._store.write() as c:
                more = tidy(c, self._mover, now)

    def _forget(self, now: datetime) -> None:
        turn = self._clock.monotonic()
        if turn < self._forget_at:
            return
        with self.timings.of(Step.FORGET), self._store.write() as c:
            more = forget_some(c, now) or prune(c) or self._files.look(c, now) or self._files.free(c, now)
        self._forget_at = turn + (_FORGET_ON_S if more else _FORGET_EVERY_S)

    def _plan(self, now: datetime, fresh: bool) -> None:
        if self._round is not None or self._carrying is not None:
            return
        turn, replan_s = self._clock.monotonic(), self._mover.limits.replan.total_seconds()
        old = self._planned_at is None or turn - self._planned_at >= replan_s
        if not fresh and not old:
            return
        self._stale, self._planned_at = False, turn
        self._round = self._executor.submit(self._rounds.make, now)
        self._round.add_done_callback(self._round_over)

    def _round_over(self, finished: Future[Found]) -> None:
        if not finished.cancelled() and finished.exception() is None:
            self._rest_until = time.monotonic() + _REST * finished.result().looked_s
        self._bell.wake()

    def _sleep_s(self, now: datetime) -> float:
        with self._store.read() as c:
            deadline = queries.next_deadline(c)
        wait = _SWEEP_EVERY_S if self._listening is None else LOOK_EVERY_S
        if deadline is not None and deadline > now:
            wait = min(wait, (deadline - now).total_seconds())
        wait = min(wait, max(0.0, self._forget_at - self._clock.monotonic()))
        if self._stale and self._round is None:
            wait = min(wait, max(0.0, self._rest_until - time.monotonic()))
        return wait
