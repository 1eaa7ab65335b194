"""Open jobs of the board that the owner is asked about: kept in the spool, shown on the page, claimed after a yes.

A question stands as long as its mark is open. Nobody but the people of the shop hears of it: only a claim is said.
"""

from __future__ import annotations

import logging
from collections.abc import Set
from datetime import datetime
from typing import Final

from agents.channels import home_channel, home_of, origin_of, set_origin
from agents.contract import messages as m
from agents.spool import OfferRow, Spool

_log = logging.getLogger(__name__)

ASKED: Final = "ask"
AGREED: Final = "agreed"
DECLINED: Final = "declined"
#: A page with more is not read.
MOST_A_MACHINE: Final = 3

_Key = tuple[str, int, str]
"""Job, attempt, machine: what is asked once."""


class Questions:
    """Called under the board's lock; the owner's word comes through the spool."""

    def __init__(self, spool: Spool) -> None:
        """Takes up the questions that an earlier start left open, and what the owner declined."""
        self._spool = spool
        self._open: dict[_Key, str] = {}
        """The offer that stands for the question."""
        self._told_no: set[_Key] = set()
        rows = spool.rows(
            "SELECT offers.offer FROM offers JOIN board_claims ON claim = offers.offer WHERE decision IN (?, ?, ?)",
            *(ASKED, AGREED, DECLINED),
        )
        for (name,) in rows:
            row = spool.offer(name)
            if row is None or home_of(origin_of(spool, name)) is None:
                continue
            if row.decision == DECLINED:
                self._told_no.add(_key(row.offer))
            else:
                self._open[_key(row.offer)] = name

    def may_ask(self, offer: m.Offer) -> bool:
        """Whether the owner has not been asked this, and not too much already."""
        key = _key(offer)
        waiting = sum(other[2] == offer.machine for other in self._open)
        return key not in self._open and key not in self._told_no and waiting < MOST_A_MACHINE

    def ask(self, offer: m.Offer, home: str, expires: datetime | None, now: datetime) -> None:
        """Put it to the owner; nothing is said to anybody else."""
        with self._spool.transaction():
            self._spool.put_offer(offer, ASKED, expires=expires, seq=None, at=now)
            set_origin(self._spool, offer.offer, offer.ticket.job, home_channel(home))
        self._open[_key(offer)] = offer.offer
        _log.info("the owner is asked", extra={"fields": {"job": offer.ticket.job, "machine": offer.machine}})

    def agreed(self, machine: str) -> tuple[m.Offer, ...]:
        """What the owner said yes to and was not claimed yet, oldest question first."""
        found = []
        for key, name in list(self._open.items()):
            row = self._spool.offer(name)
            if row is None or row.decision not in (ASKED, AGREED):
                del self._open[key]
                if row is not None and row.decision == DECLINED:
                    self._told_no.add(key)
            elif row.decision == AGREED and key[2] == machine:
                found.append(row.offer)
        return tuple(found)

    def keep_only(self, open_jobs: Set[str], now: datetime) -> None:
        """Take back what is asked about jobs that are not open any more."""
        for key, name in list(self._open.items()):
            if key[0] in open_jobs:
                continue
            del self._open[key]
            row = self._spool.offer(name)
            if row is not None and row.decision in (ASKED, AGREED):
                self._spool.put_offer(row.offer, "withdrawn", expires=row.expires, seq=row.seq, at=now)


def of_board(spool: Spool, offer: str) -> bool:
    """Whether an offer stands for an open job of the board, which no scheduler offered."""
    return home_of(origin_of(spool, offer)) is not None


def answer(spool: Spool, row: OfferRow, word: str, now: datetime) -> None:
    """The owner's word (`AGREED` or `DECLINED`); the puller acts on it."""
    spool.put_offer(row.offer, word, expires=row.expires, seq=row.seq, at=now)


def _key(offer: m.Offer) -> _Key:
    return offer.ticket.job, offer.attempt, offer.machine
