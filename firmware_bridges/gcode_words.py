"""A line of G-code taken apart: comments off, words out.

Text in, letters and numbers out; knows no modal state. What cannot be read comes back as a value, never as a guess.
"""

from __future__ import annotations

import re
from typing import Final

_LETTER: Final = re.compile(r"([A-Z])")
_PARENTHESES: Final = re.compile(r"\([^)]*\)?")
_ALLOWED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.+-")

#: Printer commands whose argument is text or a file name, never words (Marlin src/gcode/parser.cpp, string arguments).
TEXT_COMMANDS: Final = frozenset({"M16", "M23", "M28", "M30", "M32", "M33", "M117", "M118", "M486", "M928", "M575"})


def without_comments(text: str) -> str:
    """`text` without `( … )` and `; …` comments, outer blanks and a lone `%`. Letters keep their case."""
    if ";" in text:
        text = _cut_semicolon(text)
    if "(" in text:
        text = _PARENTHESES.sub("", text)
    text = text.strip()
    return "" if text == "%" else text


def _cut_semicolon(text: str) -> str:
    """A semicolon inside parentheses is part of that comment (grbl/protocol.c reads them in this order)."""
    if "(" not in text:
        return text[: text.index(";")]
    depth = False
    for place, character in enumerate(text):
        if character == "(":
            depth = True
        elif character == ")":
            depth = False
        elif character == ";" and not depth:
            return text[:place]
    return text


def compact(text: str) -> str:
    """`text` as a controller with few bytes of buffer wants it: no comments, no blanks, capitals."""
    text = without_comments(text)
    if " " in text or "\t" in text:
        text = "".join(text.split())
    return text.upper()


def words(line: str) -> list[tuple[str, str]] | None:
    """(letter, number as written) of a compacted line; None where it is not letters each followed by characters.

    The numbers are not converted: an empty one is a flag to some printers and an error to a CNC controller.
    """
    parts = _LETTER.split(line)
    if parts[0]:
        return None
    return list(zip(parts[1::2], parts[2::2], strict=True))


def number(text: str) -> float | None:
    """The value of a G-code number, or None: sign, digits, one point; no exponent, no blank (RS274/NGC 3.3.2.1)."""
    if "_" in text:
        return None
    try:
        return float(text)
    except ValueError:
        return None


def only_plain_characters(line: str) -> bool:
    """Whether a compacted line holds nothing but letters, digits, points and signs."""
    return _ALLOWED.issuperset(line)
