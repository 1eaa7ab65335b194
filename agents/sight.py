"""What an agent sees of the board and of schedulers on its present connection. Nothing of it outlives the connection.

A mark of the home counts over the scheduler's where the scheduler's names that home, in the same epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from agents.contract.granting import Sight
from agents.contract.messages import BoardMark, SchedulerPresence
from agents.contract.topics import BOARD, HOME_BOARD

#: A mark that must be read anew is asked for at most so often.
_ASK_EVERY_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A scheduler's presence, and since when (monotonic seconds) it is so."""

    epoch: int
    online: bool
    since: float


@dataclass(frozen=True, slots=True)
class ReadMark:
    """A mark with its place. `fresh`: read after the end of its epoch was announced."""

    mark: BoardMark
    place: dict[str, str]
    fresh: bool = False
    asked_at: float | None = None

    @property
    def topic(self) -> str:
        """Where the scheduler posted it."""
        return BOARD.of(**self.place)


@dataclass(slots=True)
class BoardSight:
    """Fed by the line's thread under the board's lock."""

    connected: bool = False
    schedulers: dict[str, Seen] = field(default_factory=dict)
    marks: dict[str, ReadMark] = field(default_factory=dict)
    overlays: dict[str, dict[str, BoardMark]] = field(default_factory=dict)
    """What homes say, by job and home."""

    def line_up(self) -> None:
        """A new connection: everything retained comes anew."""
        self.connected = True
        self.schedulers.clear()
        self.marks.clear()
        self.overlays.clear()

    def line_down(self) -> None:
        """Nothing seen counts any more."""
        self.connected = False

    def saw_scheduler(self, said: SchedulerPresence, now: float) -> None:
        """A scheduler's presence; a change makes every mark of it one to be read anew."""
        known = self.schedulers.get(said.scheduler)
        if known is not None and (known.epoch, known.online) == (said.epoch, said.online):
            return
        if known is not None and said.epoch < known.epoch:
            return
        self.schedulers[said.scheduler] = Seen(said.epoch, said.online, now)
        for job, read in self.marks.items():
            if read.mark.scheduler == said.scheduler:
                self.marks[job] = replace(read, fresh=False, asked_at=None)

    def saw_mark(self, place: dict[str, str], mark: BoardMark | None, *, retained: bool) -> None:
        """The scheduler's mark of a job; None where it was taken down. `retained`: the broker's kept copy."""
        job = place["job"]
        known = self.marks.get(job)
        if mark is None or mark.ticket.job != job:
            self.marks.pop(job, None)
            return
        fresh = retained and known is not None and known.asked_at is not None
        self.marks[job] = ReadMark(mark, place, fresh)

    def saw_overlay(self, home: str, job: str, mark: BoardMark | None) -> None:
        """What a home says of a job; None where it says nothing any more."""
        if mark is None or mark.ticket.job != job:
            self.overlays.get(job, {}).pop(home, None)
        else:
            self.overlays.setdefault(job, {})[home] = mark

    def standing(self, job: str) -> BoardMark | None:
        """The mark that counts for a job now."""
        read = self.marks.get(job)
        if read is None:
            return None
        return self.said_by_home(read.mark) or read.mark

    def said_by_home(self, mark: BoardMark) -> BoardMark | None:
        """What the mark's home says of its job, in the same epoch; None where it says nothing."""
        over = self.overlays.get(mark.ticket.job, {}).get(mark.home)
        return over if over is not None and over.epoch == mark.epoch else None

    def of_scheduler(self, scheduler: str, now: float, returned: int) -> Sight:
        """What a home may go by."""
        seen = self.schedulers.get(scheduler)
        if seen is None:
            return Sight(self.connected, 0, online=True, returned=returned)
        away_s = 0.0 if seen.online else now - seen.since
        return Sight(self.connected, seen.epoch, seen.online, away_s, returned)

    def away(self, mark: BoardMark, now: float, patience_s: float) -> bool:
        """Whether the scheduler of a mark has been away, in the mark's epoch, for longer than it is given."""
        seen = self.schedulers.get(mark.scheduler)
        if seen is None or not self.connected:
            return False
        return not seen.online and seen.epoch == mark.epoch and now - seen.since >= patience_s

    def to_read_anew(self, home: str, now: float, patience_s: float) -> tuple[str, ...]:
        """Topics of marks that this home must read once more before it may grant them, each behind its own word."""
        topics = []
        for job, read in self.marks.items():
            stale = not read.fresh and (read.asked_at is None or now - read.asked_at >= _ASK_EVERY_S)
            if stale and read.mark.home == home and self.away(read.mark, now, patience_s):
                self.marks[job] = replace(read, asked_at=now)
                topics += [overlay_topic(home, read.place), read.topic]
        return tuple(topics)


def overlay_topic(home: str, place: dict[str, str]) -> str:
    """Where a home says what it did with a job."""
    shop, _, agent = home.partition("/")
    return HOME_BOARD.of(shop=shop, agent=agent, **place)
