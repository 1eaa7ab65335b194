"""Jobs lent to their homes

Revision 0004, after 0003.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from scheduler.store.tables import UtcTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "lendings",
        sa.Column("job", sa.String(length=64), nullable=False),
        sa.Column("home", sa.String(length=129), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("hold", sa.String(length=16), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("mark", sa.LargeBinary(), nullable=True),
        sa.Column("at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_lendings_job_jobs")),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_lendings")),
    )
    with op.batch_alter_table("lendings", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_lendings_home"), ["home"], unique=False)
        batch_op.create_index(batch_op.f("ix_lendings_hold"), ["hold"], unique=False)
    op.create_table(
        "epochs",
        sa.Column("scheduler", sa.String(length=64), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("began_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("scheduler", name=op.f("pk_epochs")),
    )
    op.create_table(
        "homes",
        sa.Column("agent", sa.String(length=129), nullable=False),
        sa.Column("volunteers", sa.Boolean(), nullable=False),
        sa.Column("settled", sa.BigInteger(), nullable=False),
        sa.Column("asked_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("agent", name=op.f("pk_homes")),
    )
    op.create_table(
        "home_words",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("job", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=129), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_home_words")),
    )
    with op.batch_alter_table("home_words", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_home_words_job"), ["job"], unique=False)


def downgrade() -> None:
    op.drop_table("home_words")
    op.drop_table("homes")
    op.drop_table("epochs")
    op.drop_table("lendings")
