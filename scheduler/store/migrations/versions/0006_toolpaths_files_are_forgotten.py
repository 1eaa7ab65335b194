"""Toolpaths' files are forgotten, and what still needs one is found by an index

Revision 0006, after 0005.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from scheduler.store.tables import UtcTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "forgotten_toolpaths",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("forgotten_at", UtcTime(), nullable=False),
        sa.Column("freed_at", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(["sha256"], ["toolpaths.sha256"], name=op.f("fk_forgotten_toolpaths_sha256_toolpaths")),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_forgotten_toolpaths")),
    )
    op.create_index(op.f("ix_forgotten_toolpaths_freed_at"), "forgotten_toolpaths", ["freed_at"], unique=False)
    op.create_index(op.f("ix_recipes_sha256"), "recipes", ["sha256"], unique=False)
    op.create_index(op.f("ix_offers_sha256"), "offers", ["sha256"], unique=False)
    op.create_index("ix_jobs_file_key_since", "jobs", ["file_key", "since"], unique=False)
    op.drop_index(op.f("ix_jobs_file_key"), table_name="jobs")


def downgrade() -> None:
    op.create_index(op.f("ix_jobs_file_key"), "jobs", ["file_key"], unique=False)
    op.drop_index("ix_jobs_file_key_since", table_name="jobs")
    op.drop_index(op.f("ix_offers_sha256"), table_name="offers")
    op.drop_index(op.f("ix_recipes_sha256"), table_name="recipes")
    op.drop_index(op.f("ix_forgotten_toolpaths_freed_at"), table_name="forgotten_toolpaths")
    op.drop_table("forgotten_toolpaths")
