"""What is from before a scheduler's start is known by its term, and the end of its hearing is written down

Revision 0007, after 0006. Rows from before count as of a term before all others.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from scheduler.store.tables import UtcTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("schedulers", sa.Column("heard_at", UtcTime(), nullable=True))
    for table in ("offers", "leases"):
        op.add_column(table, sa.Column("term", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    for table in ("leases", "offers"):
        op.drop_column(table, "term")
    op.drop_column("schedulers", "heard_at")
