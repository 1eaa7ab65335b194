"""What jobs contain, remnants, outcomes, quotes

Revision 0002, after 0001. Every job already there becomes the only line of its own contents.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from scheduler.store.tables import UtcTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_OWN_LINE = """
    INSERT INTO job_pieces (job, "order", part, pieces, good, rejected, body)
    SELECT id, "order", part, pieces, good, rejected, body FROM jobs
"""


def upgrade() -> None:
    op.add_column("orders", sa.Column("quote_asked_at", UtcTime(), nullable=True))
    op.add_column("orders", sa.Column("promised", UtcTime(), nullable=True))
    op.add_column("toolpaths", sa.Column("layout", sa.JSON(), nullable=True))

    op.create_table(
        "quotes",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("order", sa.String(length=64), nullable=False),
        sa.Column("made_at", UtcTime(), nullable=False),
        sa.Column("valid_until", UtcTime(), nullable=False),
        sa.Column("finish_p50", UtcTime(), nullable=True),
        sa.Column("finish_p90", UtcTime(), nullable=True),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("accepted_at", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(["order"], ["orders.id"], name=op.f("fk_quotes_order_orders")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quotes")),
    )
    with op.batch_alter_table("quotes", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_quotes_order"), ["order"], unique=False)

    op.create_table(
        "job_pieces",
        sa.Column("job", sa.String(length=64), nullable=False),
        sa.Column("order", sa.String(length=64), nullable=False),
        sa.Column("part", sa.String(length=128), nullable=False),
        sa.Column("pieces", sa.Integer(), nullable=False),
        sa.Column("good", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("unwanted_at", UtcTime(), nullable=True),
        sa.CheckConstraint("good + rejected <= pieces", name=op.f("ck_job_pieces_pieces_conserved")),
        sa.CheckConstraint("pieces > 0", name=op.f("ck_job_pieces_pieces_positive")),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_job_pieces_job_jobs")),
        sa.ForeignKeyConstraint(
            ["order", "part"],
            ["order_parts.order", "order_parts.part"],
            name=op.f("fk_job_pieces_order_part_order_parts"),
        ),
        sa.PrimaryKeyConstraint("job", "order", "part", name=op.f("pk_job_pieces")),
    )
    with op.batch_alter_table("job_pieces", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_job_pieces_order"), ["order"], unique=False)

    op.create_table(
        "outcomes",
        sa.Column("job", sa.String(length=64), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("design", sa.String(length=64), nullable=False),
        sa.Column("process", sa.String(length=16), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("shop", sa.String(length=64), nullable=False),
        sa.Column("machine", sa.String(length=200), nullable=False),
        sa.Column("estimated_s", sa.Float(), nullable=True),
        sa.Column("expected_s", sa.Float(), nullable=True),
        sa.Column("measured_s", sa.Float(), nullable=False),
        sa.Column("material_g", sa.Float(), nullable=True),
        sa.Column("pieces", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("failure", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_outcomes_job_jobs")),
        sa.PrimaryKeyConstraint("job", "attempt", name=op.f("pk_outcomes")),
    )
    with op.batch_alter_table("outcomes", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_outcomes_at"), ["at"], unique=False)
        batch_op.create_index(batch_op.f("ix_outcomes_design"), ["design"], unique=False)
        batch_op.create_index(batch_op.f("ix_outcomes_machine"), ["machine"], unique=False)

    op.create_table(
        "remnants",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("shop", sa.String(length=64), nullable=False),
        sa.Column("material", sa.String(length=64), nullable=False),
        sa.Column("colour", sa.String(length=64), nullable=False),
        sa.Column("thickness_mm", sa.Float(), nullable=True),
        sa.Column("outline_mm", sa.JSON(), nullable=False),
        sa.Column("area_mm2", sa.Float(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("from_job", sa.String(length=64), nullable=True),
        sa.Column("from_remnant", sa.String(length=64), nullable=True),
        sa.Column("used_by", sa.String(length=64), nullable=True),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("changed_at", UtcTime(), nullable=False),
        sa.CheckConstraint("area_mm2 > 0", name=op.f("ck_remnants_area_positive")),
        sa.ForeignKeyConstraint(["from_job"], ["jobs.id"], name=op.f("fk_remnants_from_job_jobs")),
        sa.ForeignKeyConstraint(["from_remnant"], ["remnants.id"], name=op.f("fk_remnants_from_remnant_remnants")),
        sa.ForeignKeyConstraint(["used_by"], ["jobs.id"], name=op.f("fk_remnants_used_by_jobs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_remnants")),
    )
    with op.batch_alter_table("remnants", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_remnants_shop"), ["shop"], unique=False)
        batch_op.create_index(batch_op.f("ix_remnants_state"), ["state"], unique=False)

    op.create_table(
        "stock_moves",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("shop", sa.String(length=64), nullable=False),
        sa.Column("material", sa.String(length=64), nullable=False),
        sa.Column("thickness_mm", sa.Float(), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("area_mm2", sa.Float(), nullable=False),
        sa.Column("mass_g", sa.Float(), nullable=True),
        sa.Column("job", sa.String(length=64), nullable=True),
        sa.Column("remnant", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_stock_moves_job_jobs")),
        sa.ForeignKeyConstraint(["remnant"], ["remnants.id"], name=op.f("fk_stock_moves_remnant_remnants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stock_moves")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("stock_moves", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_stock_moves_job"), ["job"], unique=False)
        batch_op.create_index(batch_op.f("ix_stock_moves_shop"), ["shop"], unique=False)
    op.execute(_OWN_LINE)


def downgrade() -> None:
    with op.batch_alter_table("stock_moves", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_stock_moves_shop"))
        batch_op.drop_index(batch_op.f("ix_stock_moves_job"))

    op.drop_table("stock_moves")
    with op.batch_alter_table("remnants", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_remnants_state"))
        batch_op.drop_index(batch_op.f("ix_remnants_shop"))

    op.drop_table("remnants")
    with op.batch_alter_table("outcomes", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_outcomes_machine"))
        batch_op.drop_index(batch_op.f("ix_outcomes_design"))
        batch_op.drop_index(batch_op.f("ix_outcomes_at"))

    op.drop_table("outcomes")
    with op.batch_alter_table("job_pieces", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_job_pieces_order"))

    op.drop_table("job_pieces")
    with op.batch_alter_table("quotes", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_quotes_order"))

    op.drop_table("quotes")
    with op.batch_alter_table("toolpaths") as batch_op:
        batch_op.drop_column("layout")
    with op.batch_alter_table("orders") as batch_op:
        batch_op.drop_column("promised")
        batch_op.drop_column("quote_asked_at")
