"""Writes a program for the GRBL family: modal words once, 0.001 mm, ASCII, short lines.

grbl doc/markdown/commands.md and interface.md: absolute millimetres, XY plane, feed a minute; lines under 80 bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

HEADER = "G90 G21 G17 G94"


def number(value: float, digits: int = 3) -> str:
    """Shortest decimal to `digits` places. Raises ValueError for what is no number."""
    if not math.isfinite(value):
        raise ValueError(f"{value} cannot stand in a program")
    text = f"{value:.{digits}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


class GcodeWriter:
    """Lines of a program; it remembers position, feed and power, and writes only what changes."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._words: dict[str, str] = {}
        self._mode = ""

    @property
    def line_count(self) -> int:
        """Lines so far."""
        return len(self._lines)

    def comment(self, text: str) -> None:
        """A comment for people: ASCII, cut to 70 characters."""
        clean = text.encode("ascii", "replace").decode().replace("\n", " ").replace("\r", " ")
        self._lines.append(f"; {clean[:70]}")

    def comments(self, texts: Iterable[str]) -> None:
        """Several comments."""
        for text in texts:
            self.comment(text)

    def raw(self, line: str) -> None:
        """A line as it is; F and S in it are forgotten, so that the next move states them again."""
        self._lines.append(line)
        self._words.pop("S", None)
        self._words.pop("F", None)

    def dwell(self, seconds: float) -> None:
        """G4 in seconds."""
        self._lines.append(f"G4 P{number(seconds)}")

    def rapid(self, x: float | None = None, y: float | None = None, z: float | None = None) -> None:
        """G0 to where it is not already."""
        self._move("G0", {"X": x, "Y": y, "Z": z})

    def feed(
        self,
        x: float | None = None,
        y: float | None = None,
        z: float | None = None,
        *,
        feed_mm_min: float | None = None,
        power: float | None = None,
    ) -> None:
        """G1 to where it is not already, at a feed and (laser) a power."""
        words = {"X": x, "Y": y, "Z": z, "F": feed_mm_min, "S": power}
        self._move("G1", words)

    def _move(self, mode: str, wanted: dict[str, float | None]) -> None:
        parts = []
        for letter, value in wanted.items():
            if value is None:
                continue
            text = number(value, 0 if letter in "FS" else 3)
            if self._words.get(letter) != text:
                self._words[letter] = text
                parts.append(letter + text)
        if not any(part[0] in "XYZ" for part in parts):
            if parts and mode == "G1":
                for part in parts:
                    self._words.pop(part[0], None)
            return
        if mode != self._mode:
            self._mode = mode
            parts.insert(0, mode)
        self._lines.append(" ".join(parts))

    def gcode(self) -> bytes:
        """The program, each line ended by LF."""
        return ("\n".join(self._lines) + "\n").encode("ascii")
