"""The record's old lines are found by kind and time

Revision 0005, after 0004.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_job_events_kind_at", "job_events", ["kind", "at"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_job_events_kind_at", table_name="job_events")
