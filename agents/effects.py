"""What follows from a message, once it is written down: for supervisors, for who tells the journal, for the board."""

from __future__ import annotations

from dataclasses import dataclass

from agents.contract import messages as m
from agents.inputs import Asked, PauseAsked


@dataclass(frozen=True, slots=True)
class Look:
    """A machine has something new to look at."""

    machine: str


@dataclass(frozen=True, slots=True)
class Tell:
    """Something for a machine's supervisor."""

    machine: str
    item: Asked | PauseAsked


@dataclass(frozen=True, slots=True)
class Repeat:
    """Tell the journal again from this number on."""

    seq: int


@dataclass(frozen=True, slots=True)
class JournalGrew:
    """New events wait to be told."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The scheduler committed events up to a number."""

    upto: int


@dataclass(frozen=True, slots=True)
class Restored:
    """The spool turned out to be an old one: everything untold has new numbers, `holdings` the last of them."""

    holdings: int


@dataclass(frozen=True, slots=True)
class BookAsked:
    """A scheduler is back and asks this home for its book."""

    request: m.BookRequest


Effect = BookAsked | Restored | Look | Tell | Repeat | JournalGrew | Acknowledged
