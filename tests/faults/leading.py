"""Which of several scheduler processes may write: the product's own leadership on a real database, in every order.

Three processes: one, a second beside it, and the first one's successor under the same name while the first still lives.
Each may try to take the lead, beat, write and give it up at any time; time passes for all, and each sees the row only
when it looks. A process that does nothing for as long as others like is one that was stopped and wakes.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import sqlalchemy as sa

from scheduler.dispatch.leadership import Holder, Leadership
from scheduler.store import SteppedDown, Store
from scheduler.store import tables as t
from scheduler.store.dispatch_tables import leadership as lead
from tests.faults.worlds import Broken

NAMES: Final = ("a", "a", "b")
_LEASE: Final = timedelta(seconds=10)


class Process(NamedTuple):
    """What one process remembers. `waited`: the row it saw last has stood still for a lease since."""

    term: int = 0
    seen: Holder | None = None
    waited: bool = False


class State(NamedTuple):
    row: Holder | None = None
    processes: tuple[Process, ...] = (Process(),) * len(NAMES)


class _Still:
    def now(self) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0


class Room:
    """One database and one real `Leadership`, put into any state and asked for one move."""

    def __init__(self) -> None:
        engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool, connect_args={"check_same_thread": False})
        t.metadata.create_all(engine)
        self.store = Store(engine)

    def move(self, state: State, number: int, deed: str) -> State:
        """One process does one thing. Raises Broken when it writes and may not."""
        before = state.processes[number]
        one = Leadership(
            self.store, _Still(), instance=NAMES[number], url="", lease=_LEASE, monotonic=lambda: _LEASE.total_seconds()
        )
        one.term, one._seen, one._seen_at = before.term, before.seen, 0.0 if before.waited else _LEASE.total_seconds()
        self._put(state.row)
        if deed == "write":
            self._write(one, before.term, state)
        else:
            getattr(one, deed)()
        after = Process(one.term, one._seen, one._seen_at == 0.0)
        return State(self._row(), (*state.processes[:number], after, *state.processes[number + 1 :]))

    def _write(self, one: Leadership, term: int, state: State) -> None:
        self.store.fence(one.guard)
        try:
            with self.store.write():
                pass
        except SteppedDown:
            return
        if state.row is None or term != state.row.term:
            raise Broken(f"{one._name} writes under term {term}, and the row is {state.row}")

    def _put(self, row: Holder | None) -> None:
        with self.store.write_unfenced() as c:
            for table in (lead, t.schedulers, t.events):
                c.execute(sa.delete(table))
            if row is not None:
                at = _Still().now()
                values = {"holder": row.name, "url": "", "term": row.term, "beat": row.beat}
                c.execute(sa.insert(lead).values(scope="all", taken_at=at, beaten_at=at, **values))

    def _row(self) -> Holder | None:
        with self.store.read() as c:
            row = c.execute(sa.select(lead)).first()
        return None if row is None else Holder(row.holder, row.url, row.term, row.beat)


def explore(terms: int = 2, beats: int = 2) -> int:
    """All states within so many terms and beats; how many. Raises Broken with the shortest story."""
    room, first = Room(), State()
    stories: dict[State, str] = {first: ""}
    queue = deque([first])
    while queue:
        state = queue.popleft()
        aged = tuple(each._replace(waited=True) for each in state.processes)
        found = [("a lease passes", state._replace(processes=aged))]
        for number, name in enumerate(NAMES):
            for deed in ("take", "beat", "write", "release"):
                if deed != "take" and not state.processes[number].term:
                    continue
                if deed == "take" and state.processes[number].term:
                    continue
                story = f"{stories[state]}, {name}{number} {deed}"
                try:
                    found.append((f"{name}{number} {deed}", room.move(state, number, deed)))
                except Broken as error:
                    raise Broken(f"{error}, after: {story}") from error
        for name, after in found:
            if after in stories or (after.row is not None and (after.row.term > terms or after.row.beat > beats)):
                continue
            stories[after] = f"{stories[state]}, {name}"
            leading = [p for p in after.processes if after.row is not None and p.term == after.row.term]
            if len(leading) > 1:
                raise Broken(f"two processes hold term {leading[0].term}, after: {stories[after]}")
            queue.append(after)
    return len(stories)
