"""Many rows as one parameter: a statement for all of them, where a statement a row would cost a round trip a row.

`Given` is a FROM clause whose rows come as one JSON text, read by the database's own `json_each`, on SQLite and on
PostgreSQL alike. The statement is the same text however many rows there are, so that it is compiled and prepared once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

#: The only parameter of a `Given`; `rows_of` and `names_of` make its value.
ROWS: Final = "given"


class Given:
    """Rows given to a statement. Each column is taken from its place in the row, as its type."""

    def __init__(self, *types: type[sa.types.TypeEngine[Any]]) -> None:
        rows = sa.func.json_each(sa.bindparam(ROWS, type_=sa.JSON))
        self._rows = rows.table_valued(sa.column("key", sa.String), sa.column("value"), name="given")
        self.columns = tuple(sa.cast(_At(self._rows.c.value, place), kind) for place, kind in enumerate(types))

    @property
    def names(self) -> sa.Select[str]:
        """The names that `names_of` gave, for `IN`."""
        return sa.select(self._rows.c.key)


def rows_of(rows: Iterable[Iterable[Any]]) -> dict[str, Any]:
    """The parameter for these rows: plain JSON values, no times and no bytes."""
    return {ROWS: {str(number): tuple(row) for number, row in enumerate(rows)}}


def names_of(names: Iterable[str]) -> dict[str, Any]:
    """The parameter for a set of names."""
    return {ROWS: dict.fromkeys(names, 0)}


class _At(sa.sql.functions.FunctionElement[Any]):
    """One place of a JSON array, as the database reads it."""

    inherit_cache = True

    def __init__(self, array: sa.ColumnElement[Any], place: int) -> None:
        super().__init__(array, sa.literal_column(str(place)))


@compiles(_At, "postgresql")
def _at_postgresql(element: _At, compiler: SQLCompiler, **kw: Any) -> str:
    array, place = (compiler.process(each, **kw) for each in element.clauses)
    return f"({array} ->> {place})"


@compiles(_At, "sqlite")
def _at_sqlite(element: _At, compiler: SQLCompiler, **kw: Any) -> str:
    array, place = (compiler.process(each, **kw) for each in element.clauses)
    return f"json_extract({array}, '$[{place}]')"
