"""Typed reading of a TOML table: bounds are checked where a value is read, and nothing unread passes silently."""

from __future__ import annotations

import math
import re
import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar

_IDENTIFIER: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
_E = TypeVar("_E", bound=StrEnum)
_MISSING: Final = object()


class ConfigError(ValueError):
    """A setting is missing, misspelt or out of bounds; the text names the file, the key and what is allowed."""


def read_toml(path: Path) -> Section:
    """The whole file as a section. Raises ConfigError when it is absent or not TOML."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}. Give the path of an existing file.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    return Section(table, str(path))


class Section:
    """One table. Each getter takes the key once; `done` refuses keys that nobody read (misspelt ones)."""

    def __init__(self, table: dict[str, Any], where: str) -> None:
        self._table = table
        self.where = where
        self._read: set[str] = set()

    def _take(self, key: str, default: object) -> Any:
        self._read.add(key)
        if key in self._table:
            return self._table[key]
        if default is _MISSING:
            raise ConfigError(f"{self.where}: `{key}` is missing")
        return default

    def wrong(self, key: str, wanted: str) -> ConfigError:
        """The error to raise when the value of `key` is not `wanted`."""
        return ConfigError(f"{self.where}: `{key}` is {self._table.get(key)!r}; it must be {wanted}")

    def has(self, key: str) -> bool:
        """Whether the table has the key."""
        return key in self._table

    def text(self, key: str, default: object = _MISSING) -> str:
        """A string."""
        value = self._take(key, default)
        if not isinstance(value, str):
            raise self.wrong(key, "a string")
        return value

    def identifier(self, key: str, default: object = _MISSING) -> str:
        """A name that can stand in a topic."""
        value = self.text(key, default)
        if not _IDENTIFIER.match(value):
            raise self.wrong(key, "a name of letters, digits, - and _ (64 at most, first a letter or digit)")
        return value

    def flag(self, key: str, default: object = _MISSING) -> bool:
        """true or false."""
        value = self._take(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def whole(self, key: str, default: object = _MISSING, *, minval: int = 0, maxval: int | None = None) -> int:
        """A whole number within bounds (inclusive)."""
        value = self._take(key, default)
        ceiling = "" if maxval is None else f" and at most {maxval}"
        wrong = not isinstance(value, int) or isinstance(value, bool)
        if wrong or value < minval or (maxval is not None and value > maxval):
            raise self.wrong(key, f"a whole number of at least {minval}{ceiling}")
        return int(value)

    def number(
        self,
        key: str,
        default: object = _MISSING,
        *,
        minval: float | None = None,
        above: float | None = None,
        maxval: float | None = None,
    ) -> float:
        """A number within bounds: `minval` and `maxval` inclusive, `above` exclusive."""
        value = self._take(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise self.wrong(key, "a number")  # TOML knows nan and inf, and no bound holds against nan
        if minval is not None and value < minval:
            raise self.wrong(key, f"at least {minval}")
        if above is not None and value <= above:
            raise self.wrong(key, f"above {above}")
        if maxval is not None and not value <= maxval:
            raise self.wrong(key, f"at most {maxval}")
        return float(value)

    def optional_number(self, key: str, *, minval: float = 0.0) -> float | None:
        """A number, or None where the key is absent."""
        return self.number(key, minval=minval) if self.has(key) else None

    def choice(self, key: str, kind: type[_E], default: object = _MISSING) -> _E:
        """A value of an enumeration."""
        value = self._take(key, default)
        try:
            return kind(value)
        except ValueError:
            raise self.wrong(key, "one of " + ", ".join(kind)) from None

    def choices(self, key: str, kind: type[_E], default: object = _MISSING) -> tuple[_E, ...]:
        """A list of values of an enumeration."""
        value = self._take(key, default)
        try:
            if not isinstance(value, list | tuple):
                raise ValueError
            return tuple(kind(item) for item in value)
        except ValueError:
            raise self.wrong(key, "a list of " + ", ".join(kind)) from None

    def texts(self, key: str, default: object = _MISSING) -> tuple[str, ...]:
        """A list of strings."""
        value = self._take(key, default)
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise self.wrong(key, "a list of strings")
        return tuple(value)

    def triple(self, key: str, default: object = _MISSING) -> tuple[float, float, float]:
        """Three numbers (x, y, z)."""
        value = self._take(key, default)
        if (
            not isinstance(value, list | tuple)
            or len(value) != 3
            or not all(isinstance(item, int | float) and not isinstance(item, bool) for item in value)
            or not all(map(math.isfinite, value))
        ):
            raise self.wrong(key, "three numbers, [x, y, z]")
        return (float(value[0]), float(value[1]), float(value[2]))

    def table(self, key: str) -> Section:
        """A table; an empty one where the key is absent."""
        value = self._take(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, "a table")
        return Section(value, f"{self.where} [{key}]")

    def tables(self, key: str) -> tuple[Section, ...]:
        """A list of tables; none where the key is absent."""
        value = self._take(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.wrong(key, f"a list of tables ([[{key}]])")
        return tuple(Section(item, f"{self.where} [[{key}]] {number}") for number, item in enumerate(value, 1))

    def scalars(self, key: str) -> tuple[tuple[str, str], ...]:
        """A table of plain values, as strings (true and false in lower case)."""
        section = self.table(key)
        for name, value in section._table.items():
            if not isinstance(value, str | int | float | bool):
                raise section.wrong(name, "a plain value")
        return tuple(
            (name, str(value).lower() if isinstance(value, bool) else str(value))
            for name, value in section._table.items()
        )

    def names(self) -> tuple[str, ...]:
        """The keys of the table."""
        return tuple(self._table)

    def done(self) -> None:
        """Raises ConfigError when a key was never read: it is misspelt or does not belong here."""
        left = sorted(set(self._table) - self._read)
        if left:
            known = ", ".join(sorted(self._read))
            raise ConfigError(f"{self.where}: unknown key `{left[0]}`; known here are {known}")
