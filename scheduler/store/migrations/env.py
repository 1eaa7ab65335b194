"""Alembic's way in: runs the migrations on the engine it is given."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from scheduler.store.content_tables import job_pieces

_engine: sa.Engine = context.config.attributes["engine"]

with _engine.connect() as _connection:
    context.configure(
        connection=_connection, target_metadata=job_pieces.metadata, render_as_batch=True, compare_type=True
    )
    with context.begin_transaction():
        context.run_migrations()
    _connection.commit()
