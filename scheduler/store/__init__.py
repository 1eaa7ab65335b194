"""The scheduler's memory: tables, migrations, named queries, and files by content.

May touch: one database (SQLite or PostgreSQL) and one folder. In: domain values inside a write; out: rows as typed
values. Every write is one transaction by one writer; state, outgoing messages and the record commit together.
"""

from scheduler.store import board_tables as board_tables
from scheduler.store import content_tables as content_tables
from scheduler.store import dispatch_tables as dispatch_tables
from scheduler.store.blobs import Blobs, UnknownBlob
from scheduler.store.database import SteppedDown, Store, StoreTooNew, open_store

__all__ = ["Blobs", "SteppedDown", "Store", "StoreTooNew", "UnknownBlob", "open_store"]
