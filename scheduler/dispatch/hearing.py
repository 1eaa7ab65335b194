"""Just after a scheduler's start: what it read may be an old copy, until every agent has said what it holds.

One that stays away is not waited for longer than `Limits.reconcile`. That wait is counted in seconds in which this
process had a connection and was awake, by a clock that nobody sets: a wall clock put right meanwhile, a computer that
slept or a broker that was away would end it before anybody could have been heard. It begins when the broker has taken
the questions: over a line that is dead and not known to be, nobody is asked. What was answered once they went lies in
the broker's session and comes before any answer to what is sent later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from agents.contract.messages import ReconcileRequest
from scheduler.store import queries
from scheduler.store import tables as t
from scheduler.store.record import post

#: Who is there and silent is asked again, while a start's hearing goes on and later.
ASK_AGAIN_S: Final = 5.0
ASK_LATER_S: Final = 60.0
#: While it listens the dispatcher looks so often, and a longer gap between two looks counts as no more.
LOOK_EVERY_S: Final = 1.0
_MOST_A_LOOK_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Hearing:
    """A start that not everybody has answered: the term that began with it, and who is silent."""

    term: int
    silent: tuple[str, ...]


class Listening:
    """How long the present term has listened. `monotonic`: seconds that never go back."""

    def __init__(self, wait: timedelta, monotonic: Callable[[], float]) -> None:
        self._left_s, self._monotonic = wait.total_seconds(), monotonic
        self._looked_s: float | None = None

    def look(self, *, hears: bool) -> bool:
        """Count what passed since the look before, if `hears` then and now; True once it was long enough."""
        now_s = self._monotonic()
        if hears and self._looked_s is not None:
            self._left_s -= min(now_s - self._looked_s, _MOST_A_LOOK_S)
        self._looked_s = now_s if hears else None
        return self._left_s <= 0.0


def hearing(c: sa.Connection) -> Hearing | None:
    """The present term's hearing while it goes on; None once all were heard or the wait is over."""
    newest = sa.select(t.schedulers.c.term, t.schedulers.c.heard_at).order_by(t.schedulers.c.term.desc())
    row = c.execute(newest).first()
    if row is None or row.heard_at is not None:
        return None
    silent = tuple(agent.id for agent in queries.agents(c) if agent.holdings_term != row.term)
    return Hearing(row.term, silent) if silent else None


def end_hearing(c: sa.Connection, now: datetime) -> None:
    """The wait is over: who is still silent is silent for other reasons."""
    mine = t.schedulers.c.term == queries.present_term()
    c.execute(sa.update(t.schedulers).where(mine, t.schedulers.c.heard_at.is_(None)).values(heard_at=now))


def there_and_silent(c: sa.Connection) -> list[str]:
    """Agents that are connected and did not say in this term what they hold; nothing is offered to them.

    The question may be lost: a broker that is killed forgets what it had for somebody who was not there.
    """
    agents = t.agents.c
    silent = sa.select(agents.id).where(agents.online, agents.holdings_term != queries.present_term())
    return list(c.execute(silent.order_by(agents.id)).scalars())


def ask(c: sa.Connection, agents: Iterable[str], sender: str, now: datetime) -> None:
    """Ask these what they hold."""
    for agent in agents:
        post(c, agent, ReconcileRequest(why="the scheduler came"), now, sender=sender)


def asked_upto(c: sa.Connection) -> int:
    """The newest number in the outbox: whose questions this term wrote are among these."""
    return c.execute(sa.select(sa.func.max(t.outbox.c.id))).scalar() or 0


def went(c: sa.Connection, upto: int) -> bool:
    """Whether the broker has taken all that is in the outbox up to a number."""
    waits = sa.select(t.outbox.c.id).where(t.outbox.c.sent_at.is_(None), t.outbox.c.id <= upto).limit(1)
    return c.execute(waits).first() is None


def unproven_before(c: sa.Connection, *, asker: str) -> int | None:
    """What was offered or granted before this term, to `asker`, may have gone to another shop since; None: nothing."""
    going_on = hearing(c)
    return going_on.term if going_on is not None and set(going_on.silent) - {asker} else None


def from_before_this_start(c: sa.Connection, term: int) -> bool:
    """Whether something of `term` is older than the present one: what is told of it now may be history.

    A lease that still stands is its holder's own, however late: refusing its start by the clock would unmake a run.
    """
    present = c.execute(sa.select(queries.present_term())).scalar()
    return present is not None and term < present
