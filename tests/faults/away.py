"""Faults in which the scheduler is away for longer than shops are patient, alone or with another one beside it.

Then agents pull open jobs from the board, and each job's home grants them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.contract import decode
from agents.contract import messages as m
from tests.faults.scheduling import CLIENT

if TYPE_CHECKING:
    from tests.faults.lives import Life
    from tests.faults.shop import Shop

#: In turns. Most turns are longer than 2 s, and a shop's patience is 30 s.
_SOONEST_BACK: Final = 10
_LATEST_BACK: Final = 45
#: When something more breaks, in turns after the scheduler went.
_BESIDE: Final = (3, 25)


def scheduler_away(life: Life) -> None:
    """kill -9, and nobody looks for a long while."""
    _away(life)
    life.end(CLIENT)


def away_and_agent_killed(life: Life) -> None:
    """Then the agent of a home, or of a holder, is killed."""
    _away(life)
    shop = life.chance.choice(life.shops)

    def killed() -> None:
        life.later(lambda: life.begin_shop(shop))
        life.end(shop.id)

    life.later(killed, *_BESIDE)
    life.end(CLIENT)


def away_and_agent_cut(life: Life) -> None:
    """Then a home, or a holder, is cut off; only one side of the line notices at first."""
    _away(life)
    shop = life.chance.choice(life.shops)
    life.later(lambda: _half_cut(life, shop.id), *_BESIDE)
    life.end(CLIENT)


def away_and_agent_paused(life: Life) -> None:
    """Then a home, or a holder, stands still (SIGSTOP), also beyond the scheduler's return."""
    _away(life)
    shop = life.chance.choice(life.shops)

    def stops() -> None:
        if any(bench.beam > 0 or bench.busy for bench in shop.benches.values()):
            return  # nothing in its shop could hold a beam then

        def goes_on() -> None:
            shop.paused = False

        shop.paused = True
        life.later(goes_on, 2, 30)

    life.later(stops, *_BESIDE)
    life.end(CLIENT)


def away_and_agent_put_back(life: Life) -> None:
    """Then a home, or a holder, is put back to a copy of its memory from about when the scheduler went."""
    _away(life)
    shop = life.chance.choice(life.shops)
    life.later(lambda: put_back_later(life, shop), 1, 12)
    life.end(CLIENT)


def away_and_back_on_an_old_database(life: Life) -> None:
    """The scheduler comes back on a copy from before."""
    if life.side.scheduler is None:
        return
    copy = life.folder / "scheduler.copy"
    life.side.copy(copy)

    def goes() -> None:
        if life.side.scheduler is None:
            return
        life.side.kill()

        def comes() -> None:
            if life.side.scheduler is None:
                life.side.restore(copy)
                life.begin_scheduler(old=True)

        life.later(comes, _SOONEST_BACK, _LATEST_BACK)

    life.later(goes, 1, 20)


def scheduler_cut_on_one_side(life: Life) -> None:
    """The broker announces the scheduler's end; the scheduler itself believes in its connection for a long while."""
    _half_cut(life, CLIENT, _SOONEST_BACK, _LATEST_BACK)


def scheduler_stopped_for_long(life: Life) -> None:
    """SIGSTOP until the broker has announced its end; it goes on, and believes in its connection for some turns."""
    side = life.side
    side.paused = True

    def goes_on() -> None:
        side.paused = False

    life.later(goes_on, _SOONEST_BACK, _LATEST_BACK)
    _half_cut(life, CLIENT, _LATEST_BACK, _LATEST_BACK + 5)


def put_back_later(life: Life, shop: Shop) -> None:
    """Copy a shop's memory now; some turns from now its agent is put back to that copy."""
    copy = life.folder / f"{shop.name}.copy"
    if not shop.copy_spool(copy):
        return

    def put_back() -> None:
        if shop.agent is None:
            return
        # What only the lost memory knew: the machine finished, and no scheduler had heard of it.
        untold = [decode(payload).body for _, payload in shop.agent.spool.unacknowledged()]
        life.books.unknowable |= {body.job for body in untold if isinstance(body, m.Finished)}
        shop.kill()
        shop.restore(copy)
        life.books.restore(shop.id)
        life.begin_shop(shop)

    life.later(put_back, 2, 60)


def _away(life: Life) -> None:
    life.later(life.begin_scheduler, _SOONEST_BACK, _LATEST_BACK)


def _half_cut(life: Life, client: str, soonest: int = 1, latest: int = 20) -> None:
    """No byte passes; the broker says at once that the client is gone, the client learns of it later."""
    session = life.office.sessions[client]
    life.office.gone(client, will=True, memory_lost=False)
    session.cut = session.silent = True

    def healed() -> None:
        session.cut = session.silent = False

    life.later(healed, soonest, latest)
