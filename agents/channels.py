"""Journals beside the first scheduler's: one for each home and each further scheduler that granted something here.

Every channel has numbers and acknowledgements of its own, in the same spool and in the same transactions. A lease
whose granter is such a channel starts only on that channel's word.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from msgspec import structs

from agents.contract.envelope import decode, encode, wrap
from agents.contract.granting import Begun
from agents.contract.messages import JournalBody
from agents.lease import WAITING, LeaseState
from agents.spool import Lease, Spool

_HOME: Final = "home:"
_NETWORK: Final = "net:"


def home_channel(home: str) -> str:
    """The channel of a home, `{shop}/{agent}`."""
    return f"{_HOME}{home}"


def network_channel(network: str) -> str:
    """The channel of a further scheduler."""
    return f"{_NETWORK}{network}"


def of_network(channel: str) -> bool:
    """Whether a channel belongs to a further scheduler: what is told there is told nowhere else."""
    return channel.startswith(_NETWORK)


def book_of(spool: Spool, channel: str) -> Spool | Channel:
    """The journal of a channel; the spool's own for the first scheduler's."""
    return Channel(spool, channel) if channel else spool


def home_of(channel: str) -> str | None:
    """The home that a channel belongs to; None for a scheduler's."""
    return channel.removeprefix(_HOME) if channel.startswith(_HOME) else None


def channels(spool: Spool) -> tuple[str, ...]:
    """Every channel in which something was written."""
    return tuple(row[0] for row in spool.rows("SELECT channel FROM channel_last ORDER BY channel"))


def granter(spool: Spool, lease: str) -> str:
    """The channel whose word a lease's start waits for; empty for the first scheduler."""
    row = spool.row("SELECT channel FROM granters WHERE lease = ?", lease)
    return "" if row is None else str(row[0])


def set_granter(spool: Spool, lease: str, channel: str) -> None:
    """Who granted a lease, where it was not the first scheduler."""
    spool.write("INSERT OR REPLACE INTO granters VALUES (?, ?)", lease, channel)


def origin_of(spool: Spool, offer: str) -> str:
    """The channel that an offer came through, or that a claim was sent to; empty for the first scheduler's."""
    row = spool.row("SELECT home FROM board_claims WHERE claim = ?", offer)
    return "" if row is None else str(row[0])


def set_origin(spool: Spool, offer: str, job: str, channel: str) -> None:
    """Where an offer, or the claim that stands for one, belongs."""
    spool.write("INSERT OR REPLACE INTO board_claims VALUES (?, ?, ?)", offer, job, channel)


def start_verdict(spool: Spool, lease: Lease) -> tuple[bool, str | None]:
    """(acknowledged, why it was refused or None) of a lease's `start_intended`, by whoever granted the lease."""
    channel = granter(spool, lease.lease)
    return (Channel(spool, channel) if channel else spool).verdict(lease.start_seq or 0)


def begun(spool: Spool, lease: Lease) -> Begun:
    """How far the start of a lease is, for the rules of `contract.granting`."""
    if lease.state in WAITING:
        return Begun.NOT_ASKED
    permitted = lease.state is not LeaseState.INTENDED or start_verdict(spool, lease)[0]
    return Begun.PERMITTED if permitted else Begun.ASKED


def tell_granters(spool: Spool, lease: Lease, body: JournalBody, now: datetime) -> int:
    """Journal an event of a lease where it belongs: to the scheduler, and to the home that granted it. Its number with
    the granter."""
    channel = granter(spool, lease.lease)
    if not channel or of_network(channel):
        return book_of(spool, channel).journal(body, now)
    with spool.transaction():
        spool.journal(body, now)
        return Channel(spool, channel).journal(body, now)


def tell_progress(spool: Spool, lease: Lease, body: JournalBody, now: datetime) -> None:
    """How far a run is: to its scheduler alone, for a home need not know."""
    channel = granter(spool, lease.lease)
    book_of(spool, channel if of_network(channel) else "").journal(body, now)


class Channel:
    """One journal, told by a `Teller` as the first scheduler's is."""

    def __init__(self, spool: Spool, name: str) -> None:
        self._spool, self.name = spool, name

    def journal(self, body: JournalBody, now: datetime) -> int:
        """Append an event; its number in this channel."""
        with self._spool.transaction():
            seq = self.last_seq + 1
            envelope = wrap(body, sender=self._spool.sender, now=now, seq=seq)
            self._spool.write(
                "INSERT INTO channel_journal VALUES (?, ?, ?, ?, 0, NULL)",
                *(self.name, seq, envelope.id, encode(envelope)),
            )
            self._spool.write("INSERT OR REPLACE INTO channel_last VALUES (?, ?)", self.name, seq)
        return seq

    @property
    def last_seq(self) -> int:
        """The number of the last event; 0 before the first."""
        row = self._spool.row("SELECT seq FROM channel_last WHERE channel = ?", self.name)
        return 0 if row is None else int(row[0])

    @property
    def first_kept(self) -> int:
        """The lowest number from which on everything can be told; the next one where the last is not kept."""
        last = self.last_seq
        row = self._spool.row(
            "SELECT max(seq) FROM channel_journal AS j WHERE channel = ? AND NOT EXISTS"
            " (SELECT 1 FROM channel_journal WHERE channel = j.channel AND seq = j.seq - 1)",
            self.name,
        )
        return last + 1 if self.event(last) is None or row is None or row[0] is None else int(row[0])

    def unacknowledged(self, after: int = 0, limit: int = 200) -> tuple[tuple[int, bytes], ...]:
        """(seq, encoded envelope) of events not yet acknowledged, in order."""
        rows = self._spool.rows(
            "SELECT seq, body FROM channel_journal WHERE channel = ? AND acked = 0 AND seq > ? ORDER BY seq LIMIT ?",
            *(self.name, after, limit),
        )
        return tuple((int(row[0]), bytes(row[1])) for row in rows)

    def unacknowledged_count(self) -> int:
        """How many events wait for their acknowledgement."""
        row = self._spool.row("SELECT count(*) FROM channel_journal WHERE channel = ? AND acked = 0", self.name)
        return 0 if row is None else int(row[0])

    def event(self, seq: int) -> bytes | None:
        """The encoded envelope of one event."""
        row = self._spool.row("SELECT body FROM channel_journal WHERE channel = ? AND seq = ?", self.name, seq)
        return None if row is None else bytes(row[0])

    def verdict(self, seq: int) -> tuple[bool, str | None]:
        """(acknowledged, why it was refused or None) of one event."""
        row = self._spool.row(
            "SELECT acked, refused FROM channel_journal WHERE channel = ? AND seq = ?", self.name, seq
        )
        return (False, None) if row is None else (bool(row[0]), row[1])

    def acknowledge(self, upto: int, refused: dict[int, str]) -> None:
        """Everything up to `upto` is committed there, but for the refused."""
        with self._spool.transaction():
            for seq, why in refused.items():
                self._spool.write(
                    "UPDATE channel_journal SET refused = ? WHERE channel = ? AND seq = ? AND acked = 0",
                    *(why or "refused", self.name, seq),
                )
            self._spool.write(
                "UPDATE channel_journal SET acked = 1 WHERE channel = ? AND acked = 0 AND seq <= ?", self.name, upto
            )

    def note_used(self, used: dict[int, str]) -> None:
        """These numbers were another event's as well, whatever was acknowledged before."""
        with self._spool.transaction():
            for seq, why in used.items():
                self._spool.write(
                    "UPDATE channel_journal SET refused = ? WHERE channel = ? AND seq = ?", why, self.name, seq
                )

    def unacknowledge_after(self, upto: int) -> bool:
        """The other side knows nothing after `upto` (its memory is an old copy): tell all that again. True if there was
        any."""
        with self._spool.transaction():
            if self.acknowledged_upto <= upto:
                return False
            self._spool.write("UPDATE channel_journal SET acked = 0 WHERE channel = ? AND seq > ?", self.name, upto)
        return True

    @property
    def acknowledged_upto(self) -> int:
        """The highest number that was acknowledged; 0 for none."""
        row = self._spool.row("SELECT max(seq) FROM channel_journal WHERE channel = ? AND acked = 1", self.name)
        return 0 if row is None or row[0] is None else int(row[0])

    def renumber_from(self, first: int, now: datetime) -> None:
        """Give unacknowledged events new numbers from `first` on: the other side knows others under the old ones.

        `first` is above all that was acknowledged. No number is left out: a home waits for each.
        """
        own = "SELECT lease FROM granters WHERE channel = ?"
        with self._spool.transaction():
            waiting = self.unacknowledged(limit=1_000_000)
            moves = [(old, seq, payload) for seq, (old, payload) in enumerate(waiting, first)]
            upwards = [move for move in moves if move[1] > move[0]]
            downwards = [move for move in moves if move[1] < move[0]]
            for old, seq, payload in (*reversed(upwards), *downwards):  # none takes a number that is not free yet
                fresh = structs.replace(decode(payload), seq=seq, sent=now.astimezone(UTC))
                self._spool.write(
                    "UPDATE channel_journal SET seq = ?, body = ? WHERE channel = ? AND seq = ?",
                    *(seq, encode(fresh), self.name, old),
                )
                self._spool.write(
                    f"UPDATE leases SET start_seq = ? WHERE start_seq = ? AND lease IN ({own})", seq, old, self.name
                )
            last = first + len(waiting) - 1
            self._spool.write("INSERT OR REPLACE INTO channel_last VALUES (?, ?)", self.name, last)
