"""Who dispatches on this database, which machines people reserved, which toolpaths' files are not kept any more. Same
metadata as `tables`.

`leadership` has one row a scope. Its term only rises; every write of a scheduler compares its own with it, inside the
same transaction. `beat` is counted up by the holder: others watch it by their own clocks, so clocks need not agree.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from scheduler.store.tables import UtcTime, metadata

leadership: Final = sa.Table(
    "leadership",
    metadata,
    sa.Column("scope", sa.String(64), primary_key=True),
    sa.Column("holder", sa.String(64), nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("term", sa.Integer, nullable=False),
    sa.Column("beat", sa.BigInteger, nullable=False),
    sa.Column("taken_at", UtcTime, nullable=False),
    sa.Column("beaten_at", UtcTime, nullable=False),
    sa.CheckConstraint("term > 0", name="term_positive"),
)

reservations: Final = sa.Table(
    "reservations",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("agent", sa.String(129), nullable=False),
    sa.Column("machine", sa.String(64), nullable=False),
    sa.Column("start", UtcTime, nullable=False),
    sa.Column("end", UtcTime, nullable=False, index=True),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("made_at", UtcTime, nullable=False),
    sa.Column("cancelled_at", UtcTime),
    sa.Index("ix_reservations_machine", "agent", "machine", "start"),
    sa.ForeignKeyConstraint(["agent", "machine"], ["machines.agent", "machines.machine"]),
)

#: A row here says: the toolpath's record is kept, its file is not. `freed_at` once the file is gone from the disk.
forgotten_toolpaths: Final = sa.Table(
    "forgotten_toolpaths",
    metadata,
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column("forgotten_at", UtcTime, nullable=False),
    sa.Column("freed_at", UtcTime, index=True),
    sa.ForeignKeyConstraint(["sha256"], ["toolpaths.sha256"]),
)
