"""Jobs lent to their homes, by way of the board. Same metadata as `tables`.

`lendings` has one row for each job that was ever posted with a home and is not known to be back: `hold` is
`agents.contract.granting.Hold`. `home_words` keeps what agents told of leases that only a home's book will explain.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from scheduler.store.tables import UtcTime, metadata

lendings: Final = sa.Table(
    "lendings",
    metadata,
    sa.Column("job", sa.String(64), primary_key=True),
    sa.Column("home", sa.String(129), nullable=False, index=True),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("hold", sa.String(16), nullable=False, index=True),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("mark", sa.LargeBinary),
    sa.Column("at", UtcTime, nullable=False),
    sa.ForeignKeyConstraint(["job"], ["jobs.id"]),
)

epochs: Final = sa.Table(
    "epochs",
    metadata,
    sa.Column("scheduler", sa.String(64), primary_key=True),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("began_at", UtcTime, nullable=False),
)

homes: Final = sa.Table(
    "homes",
    metadata,
    sa.Column("agent", sa.String(129), primary_key=True),
    sa.Column("volunteers", sa.Boolean, nullable=False),
    sa.Column("settled", sa.BigInteger, nullable=False),
    sa.Column("asked_at", UtcTime),
)

home_words: Final = sa.Table(
    "home_words",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("job", sa.String(64), nullable=False, index=True),
    sa.Column("agent", sa.String(129), nullable=False),
    sa.Column("fence", sa.BigInteger, nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
)
