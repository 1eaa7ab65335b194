"""Lines as printers want them: without comments, ASCII only, numbered and with a checksum."""

from __future__ import annotations

import re
from functools import reduce
from operator import xor
from typing import Final

_PARENTHESES: Final = re.compile(r"\([^)]*\)")
#: Host business: M105 and M110 inside a toolpath would disturb the flow, and change nothing that is made.
_NOT_SENT: Final = re.compile(r"M(?:105|110)(?!\d)")
_SENT_NUMBER: Final = re.compile(r"N-?\d+\s*")
LONGEST: Final = 80
"""Characters of a command: Marlin's MAX_CMD_SIZE is 96, less number, checksum and end."""


def clean(raw: str) -> str:
    """The command of one line: no comments, no number or checksum of its own, ASCII, "" where nothing is left."""
    text = raw.split(";", 1)[0] if ";" in raw else raw
    text = text.strip()
    if not text:
        return ""
    if not text.isascii():
        text = text.encode("ascii", "replace").decode()
    if text[0] == "N":
        text = _SENT_NUMBER.sub("", text, count=1).split("*", 1)[0].rstrip()
    if text[:1] == "M":
        if text.startswith(("M117", "M118")):
            return text.replace("*", " ")[:LONGEST]
        if _NOT_SENT.match(text):
            return ""
    if "(" in text:
        text = _PARENTHESES.sub("", text).strip()
    return text


def checksum(data: bytes) -> int:
    """XOR of all bytes (Marlin src/gcode/queue.cpp)."""
    return reduce(xor, data, 0)


def numbered(number: int, text: str) -> bytes:
    """`N12 G1 X5*33` and a line feed."""
    body = b"N%d %b" % (number, text.encode("ascii", "replace"))
    return b"%b*%d\n" % (body, checksum(body))
