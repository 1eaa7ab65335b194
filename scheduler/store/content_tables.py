"""What jobs contain, what they leave over, what they taught, and what was promised. Same metadata as `tables`.

`job_pieces` is the truth about whose pieces lie on a plate or sheet; `jobs.order` and `jobs.part` name the most
pressing of them only. `stock_moves` is a book that is only added to: its areas sum to zero per job.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from scheduler.store.tables import UtcTime, metadata

job_pieces: Final = sa.Table(
    "job_pieces",
    metadata,
    sa.Column("job", sa.String(64), primary_key=True),
    sa.Column("order", sa.String(64), primary_key=True, index=True),
    sa.Column("part", sa.String(128), primary_key=True),
    sa.Column("pieces", sa.Integer, nullable=False),
    sa.Column("good", sa.Integer, nullable=False),
    sa.Column("rejected", sa.Integer, nullable=False),
    sa.Column("body", sa.JSON, nullable=False),
    sa.Column("unwanted_at", UtcTime),
    sa.ForeignKeyConstraint(["job"], ["jobs.id"]),
    sa.ForeignKeyConstraint(["order", "part"], ["order_parts.order", "order_parts.part"]),
    sa.CheckConstraint("pieces > 0", name="pieces_positive"),
    sa.CheckConstraint("good + rejected <= pieces", name="pieces_conserved"),
)

remnants: Final = sa.Table(
    "remnants",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("shop", sa.String(64), nullable=False, index=True),
    sa.Column("material", sa.String(64), nullable=False),
    sa.Column("colour", sa.String(64), nullable=False),
    sa.Column("thickness_mm", sa.Float),
    sa.Column("outline_mm", sa.JSON, nullable=False),
    sa.Column("area_mm2", sa.Float, nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("from_job", sa.String(64)),
    sa.Column("from_remnant", sa.String(64)),
    sa.Column("used_by", sa.String(64)),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("changed_at", UtcTime, nullable=False),
    sa.ForeignKeyConstraint(["from_job"], ["jobs.id"]),
    sa.ForeignKeyConstraint(["from_remnant"], ["remnants.id"]),
    sa.ForeignKeyConstraint(["used_by"], ["jobs.id"]),
    sa.CheckConstraint("area_mm2 > 0", name="area_positive"),
)

stock_moves: Final = sa.Table(
    "stock_moves",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("shop", sa.String(64), nullable=False, index=True),
    sa.Column("material", sa.String(64), nullable=False),
    sa.Column("thickness_mm", sa.Float),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("area_mm2", sa.Float, nullable=False),
    sa.Column("mass_g", sa.Float),
    sa.Column("job", sa.String(64), index=True),
    sa.Column("remnant", sa.String(64)),
    sa.ForeignKeyConstraint(["job"], ["jobs.id"]),
    sa.ForeignKeyConstraint(["remnant"], ["remnants.id"]),
    sqlite_autoincrement=True,
)

outcomes: Final = sa.Table(
    "outcomes",
    metadata,
    sa.Column("job", sa.String(64), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("at", UtcTime, nullable=False, index=True),
    sa.Column("design", sa.String(64), nullable=False, index=True),
    sa.Column("process", sa.String(16), nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("shop", sa.String(64), nullable=False),
    sa.Column("machine", sa.String(200), nullable=False, index=True),
    sa.Column("estimated_s", sa.Float),
    sa.Column("expected_s", sa.Float),
    sa.Column("measured_s", sa.Float, nullable=False),
    sa.Column("material_g", sa.Float),
    sa.Column("pieces", sa.Integer, nullable=False),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("failure", sa.String(32)),
    sa.ForeignKeyConstraint(["job"], ["jobs.id"]),
)

quotes: Final = sa.Table(
    "quotes",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("order", sa.String(64), nullable=False, index=True),
    sa.Column("made_at", UtcTime, nullable=False),
    sa.Column("valid_until", UtcTime, nullable=False),
    sa.Column("finish_p50", UtcTime),
    sa.Column("finish_p90", UtcTime),
    sa.Column("reasons", sa.JSON, nullable=False),
    sa.Column("accepted_at", UtcTime),
    sa.ForeignKeyConstraint(["order"], ["orders.id"]),
)
