"""Alembic's migrations, one file a version, for SQLite and PostgreSQL alike.

Touches the database it is pointed at. In: a database of any older version; out: the tables of this one.
"""
