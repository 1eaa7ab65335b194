"""The agent's memory on disk: what it saw, decided, holds and has told, in one SQLite file.

Written before acting: message ids with their decisions, offers, leases, highest fences, the numbered journal, bed and
arming of each machine, operator-loaded material, checkpoints. WAL with `synchronous=FULL`: what a transaction committed
is there after kill -9 or power loss at any byte (https://www.sqlite.org/pragma.html#pragma_synchronous). A full disk
raises SpoolFull before anything was done, and so never becomes a motion.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from agents.contract.envelope import Envelope, encode, wrap
from agents.contract.messages import JournalBody, LoadedMaterial, Offer
from agents.deeds import Deeds
from agents.lease import LIVE, LeaseState
from agents.mark import Mark, NoMark
from agents.spool_rows import Lease as Lease
from agents.spool_rows import MachineFlags as MachineFlags
from agents.spool_rows import OfferRow as OfferRow
from agents.spool_rows import read_lease, stamp_of, time_of
from agents.spool_tables import TABLES

SCHEMA: Final = 1
#: Answered messages are remembered so long; a broker's session keeps undelivered ones for 7 days.
SEEN_KEPT_S: Final = 30 * 86400.0


class SpoolFull(OSError):
    """The spool could not be written (disk full, read-only or failing): nothing was decided and nothing may move."""


class SpoolBroken(RuntimeError):
    """The spool file is of a newer version or damaged; the text says what to do."""


class Spool:
    """One connection, one lock, safe from any thread. Every public write is a transaction, or part of an outer one."""

    def __init__(self, path: Path, *, sender: str) -> None:
        """Open or create. Raises SpoolFull when the disk will not take it, SpoolBroken when the file is not ours."""
        self._sender = sender
        self._lock = threading.RLock()
        self._depth = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA cache_size=-1024")
            self._db.executescript(TABLES)
            self._db.execute("INSERT OR IGNORE INTO meta VALUES ('schema', ?)", (str(SCHEMA),))
            found = self._db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()[0]
        except sqlite3.DatabaseError as error:
            raise _translated(error, path) from error
        if int(found) != SCHEMA:
            raise SpoolBroken(
                f"{path} was written by another version (schema {found}, here {SCHEMA}); update the agent"
            )
        self.deeds = Deeds(self, NoMark() if str(path) == ":memory:" else Mark(path.with_suffix(".mark")))

    @property
    def sender(self) -> str:
        """Who signs what is told from here."""
        return self._sender

    def close(self) -> None:
        """Close the file; the write-ahead log is folded in."""
        with self._lock:
            self._db.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; nests. Raises SpoolFull when it could not be made durable."""
        with self._lock:
            if self._depth:
                self._depth += 1
                try:
                    yield
                finally:
                    self._depth -= 1
                return
            try:
                self._db.execute("BEGIN IMMEDIATE")
            except sqlite3.DatabaseError as error:
                raise _translated(error) from error
            self._depth = 1
            try:
                yield
                self._db.execute("COMMIT")
                self.deeds.committed()
            except sqlite3.DatabaseError as error:
                self._roll_back()
                raise _translated(error) from error
            except BaseException:
                self._roll_back()
                raise
            finally:
                self._depth = 0

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    # --- messages seen -------------------------------------------------------------------------------------------

    def seen(self, message_id: str) -> str | None:
        """The decision recorded for a message id; None for a new one."""
        row = self.row("SELECT decision FROM seen WHERE id = ?", message_id)
        return None if row is None else str(row[0])

    def record_seen(self, message_id: str, kind: str, decision: str, now: datetime) -> None:
        """Remember what was decided about a message."""
        self.write("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?)", message_id, now.timestamp(), kind, decision)

    # --- offers --------------------------------------------------------------------------------------------------

    def put_offer(
        self, offer: Offer, decision: str, *, expires: datetime | None, seq: int | None, at: datetime
    ) -> None:
        """Record an offer with its decision, or change the decision."""
        self.write(
            "INSERT OR REPLACE INTO offers VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            *(offer.offer, offer.ticket.job, offer.machine, msgspec.json.encode(offer), decision),
            *(None if expires is None else expires.timestamp(), seq, at.timestamp()),
        )

    def offer(self, offer: str) -> OfferRow | None:
        """An offer by id."""
        row = self.row("SELECT body, decision, expires, seq FROM offers WHERE offer = ?", offer)
        return (
            None if row is None else OfferRow(msgspec.json.decode(row[0], type=Offer), row[1], time_of(row[2]), row[3])
        )

    def offers_waiting(self) -> tuple[OfferRow, ...]:
        """Offers the owner was asked about."""
        rows = self.rows("SELECT body, decision, expires, seq FROM offers WHERE decision = 'ask' ORDER BY at")
        return tuple(_offer_row(row) for row in rows)

    def claims_open(self, machine: str, since: datetime) -> int:
        """Claims on a machine that were neither granted nor taken back, made after `since`."""
        row = self.row(
            "SELECT count(*) FROM offers WHERE machine = ? AND decision = 'claimed' AND at >= ?",
            *(machine, since.timestamp()),
        )
        return 0 if row is None else int(row[0])

    # --- leases and fences ---------------------------------------------------------------------------------------

    def highest_fence(self, job: str) -> int:
        """The highest fence ever seen for a job; 0 for none."""
        row = self.row("SELECT fence FROM fences WHERE job = ?", job)
        return 0 if row is None else int(row[0])

    def highest_fences(self, limit: int = 500) -> dict[str, int]:
        """The highest fences of the jobs seen last."""
        return {row[0]: row[1] for row in self.rows("SELECT job, fence FROM fences ORDER BY rowid DESC LIMIT ?", limit)}

    def raise_fence(self, job: str, fence: int) -> None:
        """Note a fence; lower ones change nothing: fences only rise."""
        self.write(
            "INSERT INTO fences VALUES (?, ?) ON CONFLICT (job) DO UPDATE SET fence = max(fence, excluded.fence)",
            *(job, fence),
        )

    def put_lease(self, lease: Lease) -> None:
        """Insert or rewrite a lease. Every step of an own job is a deed, and so is the call of a machine."""
        with self.transaction():
            if lease.own or lease.state is LeaseState.STARTING:
                self.deeds.note()
            self.write(
                f"INSERT OR REPLACE INTO leases VALUES ({', '.join('?' * 20)})",
                *(lease.lease, lease.job, lease.fence, lease.machine, lease.state.value, int(lease.own)),
                *(msgspec.json.encode(lease.ticket), msgspec.json.encode(lease.toolpath)),
                *(stamp_of(lease.start_by), lease.planned_start.timestamp(), lease.p90_s, lease.at.timestamp()),
                *(lease.start_seq, int(lease.card)),
                None if lease.problems is None else msgspec.json.encode(lease.problems),
                *(lease.gates, lease.last_line, stamp_of(lease.started), stamp_of(lease.ended), lease.why),
            )

    def checkpoint(self, lease: str, line: int) -> None:
        """How far the machine confirmed."""
        self.write("UPDATE leases SET last_line = max(last_line, ?) WHERE lease = ?", line, lease)

    def lease(self, lease: str) -> Lease | None:
        """A lease by id."""
        row = self.row("SELECT * FROM leases WHERE lease = ?", lease)
        return None if row is None else read_lease(row)

    def leases(self, machine: str | None = None, states: frozenset[LeaseState] = LIVE) -> tuple[Lease, ...]:
        """Leases in some states, the owner's own first, then by planned start."""
        marks = ", ".join("?" * len(states))
        rows = self.rows(
            f"SELECT * FROM leases WHERE state IN ({marks}) AND (? IS NULL OR machine = ?)"
            " ORDER BY own DESC, planned_start, at, lease",
            *(state.value for state in sorted(states)),
            *(machine, machine),
        )
        return tuple(read_lease(row) for row in rows)

    def last_run(self, machine: str) -> Lease | None:
        """The run that ended last on a machine, of those that the machine confirmed a line of."""
        row = self.row(
            "SELECT * FROM leases WHERE machine = ? AND ended IS NOT NULL AND last_line > 0"
            " ORDER BY ended DESC LIMIT 1",
            machine,
        )
        return None if row is None else read_lease(row)

    def lease_of_job(self, job: str) -> Lease | None:
        """The lease of a job with the highest fence."""
        row = self.row("SELECT * FROM leases WHERE job = ? ORDER BY fence DESC, at DESC LIMIT 1", job)
        return None if row is None else read_lease(row)

    def put_restart(self, lease: str, from_line: int) -> None:
        """A person said that this lease goes on with a half-made part, from this line."""
        self.write("INSERT OR REPLACE INTO restarts VALUES (?, ?)", lease, from_line)

    def restart_of(self, lease: str) -> int | None:
        """The line that a lease goes on from; None for one that starts at the beginning."""
        row = self.row("SELECT from_line FROM restarts WHERE lease = ?", lease)
        return None if row is None else int(row[0])

    # --- the journal ---------------------------------------------------------------------------------------------

    def journal(self, body: JournalBody, now: datetime, *, traceparent: str = "") -> int:
        """Append an event; its number. It is told to the network after this transaction."""
        with self.transaction():
            row = self.row("SELECT value FROM meta WHERE key = 'last_seq'")
            seq = 1 + (0 if row is None else int(row[0]))
            envelope = wrap(body, sender=self._sender, now=now, seq=seq, traceparent=traceparent)
            self.write("INSERT INTO journal VALUES (?, ?, ?, 0, NULL)", seq, envelope.id, encode(envelope))
            self._set_last_seq(seq)
        return seq

    def _set_last_seq(self, seq: int) -> None:
        self.write("INSERT OR REPLACE INTO meta VALUES ('last_seq', ?)", str(seq))

    @property
    def last_seq(self) -> int:
        """The number of the last event; 0 before the first."""
        row = self.row("SELECT value FROM meta WHERE key = 'last_seq'")
        return 0 if row is None else int(row[0])

    def unacknowledged(self, after: int = 0, limit: int = 200) -> tuple[tuple[int, bytes], ...]:
        """(seq, encoded envelope) of events not yet acknowledged, in order."""
        rows = self.rows("SELECT seq, body FROM journal WHERE acked = 0 AND seq > ? ORDER BY seq LIMIT ?", after, limit)
        return tuple((int(row[0]), bytes(row[1])) for row in rows)

    def unacknowledged_count(self) -> int:
        """How many events wait for their acknowledgement."""
        row = self.row("SELECT count(*) FROM journal WHERE acked = 0")
        return 0 if row is None else int(row[0])

    @property
    def first_kept(self) -> int:
        """The lowest number from which on everything can be told; the next one where the last is not kept.

        Numbers that a renumbering left out are nobody's: whoever waited for them would wait for ever.
        """
        last = self.last_seq
        gaps = "SELECT max(seq) FROM journal AS j WHERE NOT EXISTS (SELECT 1 FROM journal WHERE seq = j.seq - 1)"
        row = self.row(gaps)
        return last + 1 if self.event(last) is None or row is None or row[0] is None else int(row[0])

    def event(self, seq: int) -> bytes | None:
        """The encoded envelope of one event."""
        row = self.row("SELECT body FROM journal WHERE seq = ?", seq)
        return None if row is None else bytes(row[0])

    def acknowledge(self, upto: int, refused: dict[int, str]) -> None:
        """Everything up to `upto` that exists now is committed, but for the refused. Later events are not covered."""
        with self.transaction():
            for seq, why in refused.items():
                self.write("UPDATE journal SET refused = ? WHERE seq = ? AND acked = 0", why or "refused", seq)
            self.write("UPDATE journal SET acked = 1 WHERE acked = 0 AND seq <= ?", upto)

    def unacknowledge_after(self, upto: int) -> bool:
        """The granter knows nothing after `upto` (it lost its newest state): tell it all again. True if there was any.

        Does nothing while the first event not acknowledged is the next one, which is the ordinary case.
        """
        row = self.row("SELECT max(seq) FROM journal WHERE acked = 1")
        if row is None or row[0] is None or row[0] <= upto:
            return False
        self.write("UPDATE journal SET acked = 0 WHERE seq > ?", upto)
        return True

    def verdict(self, seq: int) -> tuple[bool, str | None]:
        """(acknowledged, why it was refused or None) of one event."""
        row = self.row("SELECT acked, refused FROM journal WHERE seq = ?", seq)
        return (False, None) if row is None else (bool(row[0]), row[1])

    def renumber_from(self, first: int, now: datetime) -> None:
        """Give unacknowledged events new numbers from `first` on.

        For a spool restored from an old backup: the granter committed numbers beyond our last one, and would take
        these events for repetitions.
        """
        with self.transaction():
            seq = max(first, self.last_seq + 1)
            for old, payload in self.unacknowledged(limit=1_000_000):
                was = msgspec.json.decode(payload, type=Envelope)
                fresh = msgspec.structs.replace(was, seq=seq, sent=now.astimezone(UTC))
                self.write("INSERT INTO journal VALUES (?, ?, ?, 0, NULL)", seq, fresh.id, encode(fresh))
                self.write("UPDATE leases SET start_seq = ? WHERE start_seq = ?", seq, old)
                self.write("UPDATE offers SET seq = ? WHERE seq = ?", seq, old)
                self.write("DELETE FROM journal WHERE seq = ?", old)
                seq += 1
            self._set_last_seq(seq - 1)

    # --- machines ------------------------------------------------------------------------------------------------

    def flags(self, machine: str) -> MachineFlags:
        """What persists of a machine."""
        row = self.row("SELECT bed_clear, disarmed, disabled, materials FROM machines WHERE machine = ?", machine)
        if row is None:
            return MachineFlags()
        materials = None if row[3] is None else msgspec.json.decode(row[3], type=tuple[LoadedMaterial, ...])
        return MachineFlags(bool(row[0]), row[1], row[2], materials)

    def put_flags(self, machine: str, flags: MachineFlags) -> None:
        """Keep what persists of a machine: a deed."""
        materials = None if flags.materials is None else msgspec.json.encode(flags.materials)
        with self.transaction():
            self.deeds.note()
            self.write(
                "INSERT OR REPLACE INTO machines VALUES (?, ?, ?, ?, ?)",
                *(machine, int(flags.bed_clear), flags.disarmed, flags.disabled, materials),
            )

    def mark_deeds(self) -> None:
        """Raises OSError unless all that is committed is marked beside this file, too."""
        with self._lock:
            self.deeds.must_be_marked()

    # --- toolpath cache ------------------------------------------------------------------------------------------

    def cached(self) -> tuple[tuple[str, int], ...]:
        """(sha256, size) of the toolpaths on disk, least recently used first."""
        return tuple((row[0], row[1]) for row in self.rows("SELECT sha256, size FROM toolpaths ORDER BY used, sha256"))

    def touch_toolpath(self, sha256: str, size: int, now: datetime) -> None:
        """Note that a toolpath is on disk and was wanted now."""
        self.write("INSERT OR REPLACE INTO toolpaths VALUES (?, ?, ?)", sha256, size, now.timestamp())

    def forget_toolpath(self, sha256: str) -> None:
        """The file is gone."""
        self.write("DELETE FROM toolpaths WHERE sha256 = ?", sha256)

    # --- housekeeping --------------------------------------------------------------------------------------------

    def prune(self, now: datetime) -> None:
        """Forget what nobody can ask for any more. Fences are kept for ever: they are the proof."""
        limit = now.timestamp() - SEEN_KEPT_S
        with self.transaction():
            self.write("DELETE FROM seen WHERE at < ?", limit)
            self.write("DELETE FROM offers WHERE at < ? AND decision != 'ask'", limit)
            self.write("DELETE FROM journal WHERE acked = 1 AND seq < ?", self.last_seq - 10_000)

    # --- for the tables of other modules in this file ---------------------------------------------------------------

    def write(self, sql: str, *values: object) -> None:
        """One statement, alone or as part of a transaction."""
        with self.transaction():
            try:
                self._db.execute(sql, values)
            except sqlite3.DatabaseError as error:
                raise _translated(error) from error

    def rows(self, sql: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        """All rows of a question."""
        with self._lock:
            try:
                return self._db.execute(sql, values).fetchall()
            except sqlite3.DatabaseError as error:
                raise _translated(error) from error

    def row(self, sql: str, *values: object) -> tuple | None:  # type: ignore[type-arg]
        """The first row, or None."""
        rows = self.rows(sql, *values)
        return rows[0] if rows else None


def _translated(error: sqlite3.DatabaseError, path: Path | None = None) -> Exception:
    """Which of our errors a SQLite error is."""
    name = getattr(error, "sqlite_errorname", "") or ""
    at = f" {path}" if path else ""
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return SpoolBroken(
            f"the spool{at} is damaged ({error}). Move it aside and start again: the machines stay disarmed, and the "
            "scheduler is told that this agent holds nothing"
        )
    return SpoolFull(
        f"the spool{at} cannot be written ({error}). Free space on the disk of data_dir, or make it writable; nothing "
        "is claimed or started until then"
    )


def _offer_row(row: tuple) -> OfferRow:  # type: ignore[type-arg]
    return OfferRow(msgspec.json.decode(row[0], type=Offer), row[1], time_of(row[2]), row[3])
