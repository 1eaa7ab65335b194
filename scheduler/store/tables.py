"""The tables, with `content_tables`. The migrations make exactly these (a test compares, on SQLite and on PostgreSQL).

Times are UTC and aware on both databases. `jobs.version` rises with every change and is the compare-and-set of every
update. Two partial unique indexes hold what must never be broken even by a bug: one live lease a job, one open offer.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from scheduler.store.packing import PackedJson

NAMING: Final = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
metadata: Final = sa.MetaData(naming_convention=NAMING)


class UtcTime(sa.types.TypeDecorator[datetime]):
    """An aware UTC time; a naive one is refused at the door."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """To UTC. Raises ValueError for a naive time."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"the time {value.isoformat()} carries no zone; stored times are UTC")
        return value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        """SQLite forgets the zone: it is UTC."""
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _id(name: str = "id", **kw: Any) -> sa.Column[str]:
    return sa.Column(name, sa.String(64), **kw)


def _agent(**kw: Any) -> sa.Column[str]:
    return sa.Column("agent", sa.String(129), **kw)


def _term() -> sa.Column[int]:
    """The scheduler's term in which a row was written."""
    return sa.Column("term", sa.Integer, nullable=False, server_default="0")


def _text(name: str, **kw: Any) -> sa.Column[str]:
    return sa.Column(name, sa.Text, **{"nullable": False, **kw})


def _serial(name: str = "id") -> sa.Column[int]:
    # AUTOINCREMENT: an event id is never used twice, even after rows were removed (clients resume from it).
    return sa.Column(name, sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True)


schedulers: Final = sa.Table(
    "schedulers",
    metadata,
    _id(primary_key=True),
    sa.Column("term", sa.Integer, nullable=False),
    sa.Column("started_at", UtcTime, nullable=False),
    sa.Column("heard_at", UtcTime),
)

tokens: Final = sa.Table(
    "tokens",
    metadata,
    _id("sha256", primary_key=True),
    _text("name"),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("revoked_at", UtcTime),
)

designs: Final = sa.Table(
    "designs",
    metadata,
    _id(primary_key=True),
    _text("name"),
    _text("licence"),
    sa.Column("licence_open", sa.Boolean, nullable=False),
    _text("licence_why"),
    _id("manifest_sha256"),
    sa.Column("body", sa.JSON, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
)

design_files: Final = sa.Table(
    "design_files",
    metadata,
    _id("design", primary_key=True),
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    _id("sha256", nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("report", sa.JSON),
    sa.ForeignKeyConstraint(["design"], ["designs.id"]),
)

orders: Final = sa.Table(
    "orders",
    metadata,
    _id(primary_key=True),
    _id("design", nullable=False, index=True),
    _text("title"),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("quantity", sa.Integer, nullable=False),
    sa.Column("need_class", sa.String(16), nullable=False),
    sa.Column("ring", sa.String(16), nullable=False),
    sa.Column("own_use", sa.Boolean, nullable=False),
    _text("requester"),
    _text("delivery"),
    _text("note"),
    sa.Column("due", UtcTime),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("accepted_at", UtcTime),
    sa.Column("made_at", UtcTime),
    sa.Column("handed_over_at", UtcTime),
    sa.Column("quote_asked_at", UtcTime),
    sa.Column("promised", UtcTime),
    sa.Column("idempotency_key", sa.String(128), unique=True),
    _id("request_sha256"),
    sa.ForeignKeyConstraint(["design"], ["designs.id"]),
    sa.CheckConstraint("quantity > 0", name="quantity_positive"),
)

order_parts: Final = sa.Table(
    "order_parts",
    metadata,
    _id("order", primary_key=True),
    sa.Column("part", sa.String(128), primary_key=True),
    sa.Column("quantity", sa.Integer, nullable=False),
    sa.Column("process", sa.String(16), nullable=False),
    sa.Column("body", sa.JSON, nullable=False),
    sa.ForeignKeyConstraint(["order"], ["orders.id"]),
    sa.CheckConstraint("quantity > 0", name="quantity_positive"),
)

order_steps: Final = sa.Table(
    "order_steps",
    metadata,
    _id("order", primary_key=True),
    sa.Column("step", sa.String(128), primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),
    _text("instruction"),
    sa.Column("needs", sa.JSON, nullable=False),
    sa.Column("opened_at", UtcTime),
    sa.Column("done_at", UtcTime),
    _text("done_by"),
    sa.ForeignKeyConstraint(["order"], ["orders.id"]),
)

jobs: Final = sa.Table(
    "jobs",
    metadata,
    _id(primary_key=True),
    _id("order", nullable=False, index=True),
    sa.Column("part", sa.String(128), nullable=False),
    sa.Column("pieces", sa.Integer, nullable=False),
    sa.Column("process", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("fence", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    _id("file_key", nullable=False),
    sa.Column("body", sa.JSON, nullable=False),
    sa.Column("deadline", UtcTime, index=True),
    sa.Column("not_before", UtcTime),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("since", UtcTime, nullable=False),
    sa.Column("started_at", UtcTime),
    sa.Column("finished_at", UtcTime),
    sa.Column("machine_s", sa.Float, nullable=False),
    _agent(),
    _id("machine"),
    sa.Column("line", sa.Integer, nullable=False),
    sa.Column("progress", sa.Float, nullable=False),
    sa.Column("good", sa.Integer, nullable=False),
    sa.Column("rejected", sa.Integer, nullable=False),
    _id("replaces"),
    _text("flag"),
    _text("cancel_why"),
    sa.Column("failure", sa.String(32)),
    sa.Column("placement", sa.JSON),
    sa.Column("waiting", sa.JSON),
    sa.ForeignKeyConstraint(["order"], ["orders.id"]),
    sa.ForeignKeyConstraint(["order", "part"], ["order_parts.order", "order_parts.part"]),
    sa.CheckConstraint("pieces > 0", name="pieces_positive"),
    sa.CheckConstraint("fence >= 0", name="fence_natural"),
    sa.CheckConstraint("good + rejected <= pieces", name="pieces_conserved"),
    sa.Index("ix_jobs_file_key_since", "file_key", "since"),
)

offers: Final = sa.Table(
    "offers",
    metadata,
    _id(primary_key=True),
    _id("job", nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    _agent(nullable=False),
    _id("machine", nullable=False),
    _id("sha256", nullable=False, index=True),
    sa.Column("planned_start", UtcTime, nullable=False),
    sa.Column("planned_finish", UtcTime, nullable=False),
    sa.Column("made_at", UtcTime, nullable=False),
    _term(),
    sa.Column("closed_at", UtcTime),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.ForeignKeyConstraint(["job"], ["jobs.id"]),
    sa.Index(
        "uq_offers_open",
        "job",
        unique=True,
        sqlite_where=sa.text("closed_at IS NULL"),
        postgresql_where=sa.text("closed_at IS NULL"),
    ),
)

leases: Final = sa.Table(
    "leases",
    metadata,
    _id(primary_key=True),
    _id("job", nullable=False),
    sa.Column("fence", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    _id("offer", nullable=False),
    _agent(nullable=False),
    _id("machine", nullable=False, index=True),
    sa.Column("granted_at", UtcTime, nullable=False),
    _term(),
    sa.Column("start_by", UtcTime, nullable=False),
    sa.Column("ended_at", UtcTime),
    _text("ended_why"),
    sa.ForeignKeyConstraint(["job"], ["jobs.id"]),
    sa.ForeignKeyConstraint(["offer"], ["offers.id"]),
    sa.UniqueConstraint("job", "fence"),
    sa.Index(
        "uq_leases_live",
        "job",
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    ),
)

declines: Final = sa.Table(
    "declines",
    metadata,
    _id("job", primary_key=True),
    _agent(primary_key=True),
    _id("machine", primary_key=True),
    sa.Column("until", UtcTime, nullable=False),
    sa.Column("reasons", sa.JSON, nullable=False),
    sa.ForeignKeyConstraint(["job"], ["jobs.id"]),
)

events: Final = sa.Table(
    "job_events",
    metadata,
    _serial(),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("kind", sa.String(48), nullable=False),
    _id("order", index=True),
    _id("job", index=True),
    _id("machine"),
    _agent(),
    sa.Column("fence", sa.Integer),
    sa.Column("from_state", sa.String(16)),
    sa.Column("to_state", sa.String(16)),
    sa.Column("body", sa.JSON, nullable=False),
    sa.Index("ix_job_events_kind_at", "kind", "at"),
    sqlite_autoincrement=True,
)

outbox: Final = sa.Table(
    "outbox",
    metadata,
    _serial(),
    _text("topic"),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Column("retained", sa.Boolean, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime),
    sa.Column("sent_at", UtcTime, index=True),
    sqlite_autoincrement=True,
)

inbox: Final = sa.Table(
    "inbox",
    metadata,
    _agent(primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    _id("message", nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("received_at", UtcTime, nullable=False),
    sa.Column("applied", sa.Boolean, nullable=False),
    sa.Column("payload", sa.LargeBinary),
    sa.Column("refused", sa.Text),
    sa.Index(
        "ix_inbox_refused",
        "agent",
        "seq",
        sqlite_where=sa.text("refused IS NOT NULL"),
        postgresql_where=sa.text("refused IS NOT NULL"),
    ),
)

agents: Final = sa.Table(
    "agents",
    metadata,
    sa.Column("id", sa.String(129), primary_key=True),
    _id("shop", nullable=False),
    _id("agent", nullable=False),
    sa.Column("online", sa.Boolean, nullable=False),
    _text("boot"),
    _text("program"),
    _text("http"),
    sa.Column("heard_at", UtcTime, nullable=False),
    sa.Column("cursor", sa.BigInteger, nullable=False),
    sa.Column("holdings_at", UtcTime),
    sa.Column("holdings_term", sa.Integer, nullable=False),
)

machines: Final = sa.Table(
    "machines",
    metadata,
    _agent(primary_key=True),
    _id("machine", primary_key=True),
    _id("shop", nullable=False),
    sa.Column("process", sa.String(16), nullable=False),
    _text("model"),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("heard_at", UtcTime, nullable=False),
    sa.Column("changed_at", UtcTime, nullable=False),
    sa.Column("report", sa.JSON, nullable=False),
    sa.Column("faults_in_a_row", sa.Integer, nullable=False),
    sa.Column("quarantined_at", UtcTime),
    _text("quarantine_why"),
    sa.ForeignKeyConstraint(["agent"], ["agents.id"]),
)

file_faults: Final = sa.Table(
    "file_faults",
    metadata,
    _id("file_key", primary_key=True),
    sa.Column("machine", sa.String(200), primary_key=True),
    sa.Column("failure", sa.String(32), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("forgiven_at", UtcTime),
)

toolpaths: Final = sa.Table(
    "toolpaths",
    metadata,
    _id("sha256", primary_key=True),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("dialect", sa.String(32), nullable=False),
    _text("made_by"),
    _text("settings"),
    sa.Column("duration_s", sa.Float, nullable=False),
    sa.Column("lines", sa.Integer, nullable=False),
    sa.Column("bounds_mm", sa.JSON, nullable=False),
    sa.Column("material_g", sa.Float),
    sa.Column("stock_used_mm", sa.JSON),
    _text("work_card"),
    sa.Column("findings", sa.JSON, nullable=False),
    sa.Column("layout", sa.JSON),
    sa.Column("created_at", UtcTime, nullable=False),
)

recipes: Final = sa.Table(
    "recipes",
    metadata,
    _id("key", primary_key=True),
    _id("file_key", nullable=False, index=True),
    _text("model"),
    sa.Column("status", sa.String(16), nullable=False),
    _id("sha256", index=True),
    _text("why"),
    sa.Column("asked_at", UtcTime, nullable=False),
    sa.Column("done_at", UtcTime),
    sa.ForeignKeyConstraint(["sha256"], ["toolpaths.sha256"]),
)

plans: Final = sa.Table(
    "plans",
    metadata,
    _serial(),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("body", PackedJson, nullable=False),
    sqlite_autoincrement=True,
)
