"""One line of the CNC dialect checked by itself: known words, one of each modal group, numbers that may be.

Tables and error numbers: grbl/gcode.c, grbl/gcode.h MODAL_GROUP_*, grbl/report.h.
"""

from __future__ import annotations

from typing import Final

from firmware_bridges.gcode_words import number
from firmware_bridges.modal import Problem

#: G word × 10 → modal group (grbl/gcode.h MODAL_GROUP_*); "0" are the non-modal ones.
_GROUPS: Final[dict[int, str]] = {
    **dict.fromkeys((0, 10, 20, 30, 382, 383, 384, 385, 800), "motion"),
    **dict.fromkeys((170, 180, 190), "plane"),
    **dict.fromkeys((900, 910), "distance"),
    911: "arc distance",
    **dict.fromkeys((930, 940), "feed mode"),
    **dict.fromkeys((200, 210), "units"),
    400: "cutter compensation",
    **dict.fromkeys((431, 490), "tool length"),
    **dict.fromkeys((540, 550, 560, 570, 580, 590), "system"),
    610: "path",
    **dict.fromkeys((40, 100, 280, 281, 300, 301, 530, 920, 921), "non-modal"),
}
PROBES: Final = frozenset((382, 383, 384, 385))
#: Non-modal words that take the axis words for themselves.
AXIS_TAKERS: Final = frozenset((100, 280, 300, 920))
_M_GROUPS: Final[dict[int, str]] = {
    **dict.fromkeys((0, 1, 2, 30), "stopping"),
    **dict.fromkeys((3, 4, 5), "spindle"),
    **dict.fromkeys((7, 8, 9), "coolant"),
    6: "tool change",
}
_VALUE_LETTERS: Final = frozenset("XYZIJKFSRPTLN")
_NEVER_NEGATIVE: Final = frozenset("FSPTN")


class Refusal(Exception):
    """Carries a Problem out of the depth of one line; never leaves `step`."""

    def __init__(self, word: str, why: str, number: int) -> None:
        super().__init__(why)
        self.problem = Problem(word, why, number)


class Block:
    """The words of one line, sorted."""

    __slots__ = ("groups", "m", "values")

    def __init__(self) -> None:
        self.groups: dict[str, int] = {}
        self.m: dict[str, int] = {}
        self.values: dict[str, float] = {}

    def take(self, letter: str, raw: str) -> None:
        value = number(raw)
        if value is None:
            raise Refusal(letter, f"{letter} is not followed by a number", 2)
        if letter in _VALUE_LETTERS:
            if letter in self.values:
                raise Refusal(letter, f"{letter} stands twice in the line", 25)
            if value < 0 and letter in _NEVER_NEGATIVE:
                raise Refusal(letter, f"{letter} may not be negative", 4)
            self.values[letter] = value
        elif letter == "G":
            self._take_g(raw, value)
        elif letter == "M":
            self._take_m(raw, value)
        else:
            raise Refusal(letter, f"the controller knows no word {letter}", 20)

    def _take_g(self, raw: str, value: float) -> None:
        code = round(value * 10)
        group = _GROUPS.get(code)
        if group is None or abs(code - value * 10) > 1e-6:
            raise Refusal(f"G{raw}", f"the controller knows no G{raw}", 20)
        if group in self.groups:
            raise Refusal(f"G{raw}", f"two {group} words in one line", 21)
        self.groups[group] = code

    def _take_m(self, raw: str, value: float) -> None:
        group = _M_GROUPS.get(int(value)) if value == int(value) else None
        if group is None:
            raise Refusal(f"M{raw}", f"the controller knows no M{raw}", 20)
        if group in self.m and group != "coolant":
            raise Refusal(f"M{raw}", f"two {group} words in one line", 21)
        self.m[group] = int(value)
