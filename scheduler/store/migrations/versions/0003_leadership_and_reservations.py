"""Who dispatches, and what is reserved

Revision 0003, after 0002.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from scheduler.store.tables import UtcTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "leadership",
        sa.Column("scope", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("term", sa.Integer(), nullable=False),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.Column("taken_at", UtcTime(), nullable=False),
        sa.Column("beaten_at", UtcTime(), nullable=False),
        sa.CheckConstraint("term > 0", name=op.f("ck_leadership_term_positive")),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_leadership")),
    )
    op.create_table(
        "reservations",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=129), nullable=False),
        sa.Column("machine", sa.String(length=64), nullable=False),
        sa.Column("start", UtcTime(), nullable=False),
        sa.Column("end", UtcTime(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("made_at", UtcTime(), nullable=False),
        sa.Column("cancelled_at", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["agent", "machine"],
            ["machines.agent", "machines.machine"],
            name=op.f("fk_reservations_agent_machine_machines"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reservations")),
    )
    with op.batch_alter_table("reservations", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_reservations_end"), ["end"], unique=False)
        batch_op.create_index("ix_reservations_machine", ["agent", "machine", "start"], unique=False)


def downgrade() -> None:
    op.drop_table("reservations")
    op.drop_table("leadership")
