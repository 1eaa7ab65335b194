"""Writes a program for the GRBL family: modal words once, 0.001 mm, ASCII, short lines; arcs each with its own word.

grbl doc/markdown/commands.md and interface.md: absolute millimetres, XY plane, feed a minute; lines under 80 bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from designs.processes.arc_fitting import Arc, Point, fitted

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

    def raw(self, line: str) -> None:
        """A line as it is; F and S in it are forgotten, so that the next move states them again."""
        self._lines.append(line)
        self._words.pop("S", None)
        self._words.pop("F", None)

    def forget_place(self) -> None:
        """After a tool change nobody knows where the machine stands: the next move names all its axes."""
        for letter in "XYZ":
            self._words.pop(letter, None)
        self._mode = ""

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

    def follow(
        self,
        points: Sequence[Point],
        *,
        feed_mm_min: float | None = None,
        power: float | None = None,
        arcs_within_mm: float = 0.0,
        heights: Sequence[float] = (),
    ) -> None:
        """From the first point, where the tool is, through the others; arcs as G2 and G3 where they fit so well.

        `heights`: z of each point, even along the way (arcs become helices); none: z stays.
        """
        for step in fitted(points, arcs_within_mm):
            z = heights[step.to] if heights else None
            if isinstance(step, Arc):
                self._arc(step, z, feed_mm_min, power)
            else:
                self.feed(*step.end, z, feed_mm_min=feed_mm_min, power=power)

    def _arc(self, arc: Arc, z: float | None, feed_mm_min: float | None, power: float | None) -> None:
        """G2 or G3 with all its words: I and J are told from where the last line really ended (0.001 mm)."""
        centre = tuple(c - float(self._words[letter]) for c, letter in zip(arc.centre, "XY", strict=True))
        parts = ["G2" if arc.clockwise else "G3"]
        for letter, value in (("X", arc.end[0]), ("Y", arc.end[1]), ("Z", z)):
            if value is not None and (letter != "Z" or self._words.get(letter) != number(value)):
                self._words[letter] = number(value)
                parts.append(letter + self._words[letter])
        parts += [f"I{number(centre[0])}", f"J{number(centre[1])}"]
        for letter, value in (("F", feed_mm_min), ("S", power)):
            if value is not None and self._words.get(letter) != number(value, 0):
                self._words[letter] = number(value, 0)
                parts.append(letter + self._words[letter])
        self._mode = ""
        self._lines.append(" ".join(parts))

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
