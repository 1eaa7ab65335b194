"""A toolpath on disk, read line by line in constant memory, from any line.

In: a path. Out: the `Toolpath` protocol of `bridge.py`. Line numbers are those of the file, comments and blank lines
counted. What a controller could misread never comes out: bytes that are not printable ASCII are dropped from comments
and refused anywhere else, because a controller of the GRBL family takes bytes above 0x7F for commands (grbl/serial.c)
and a carriage return in mid-line for a line's end.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from firmware_bridges.gcode_words import without_comments

_PRINTABLE: Final = bytes([0x09, *range(0x20, 0x7F)])
_CHUNK_BYTES: Final = 1 << 18
_LINES_PER_MARK: Final = 1024
#: Slicers write settings of several thousand characters as one comment; beyond this it is not G-code.
MAX_LINE_BYTES: Final = 1 << 16
_TOO_LONG: Final = "the line is longer than 64 kB: this is not G-code"


class UnreadableToolpath(ValueError):
    """The file is not a toolpath that could be sent safely; the text says where and why."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line}: {why}")
        self.line = line
        self.why = why


class ToolpathFile:
    """The lines of one file. Opening it reads it once to check every byte and to note where every 1024th line begins.

    Memory: 8 bytes a 1024 lines, and one piece of 256 kB while reading. Raises OSError, UnreadableToolpath.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._marks = array("Q", [0])
        self.total_lines = 0
        self.size_bytes = 0
        self._scan()

    def lines(self, from_line: int = 1) -> Iterator[tuple[int, str]]:
        """(line number, text without line end) from `from_line` (counted from 1) on.

        Raises OSError where the card cannot be read, or the file is shorter than it was; at every later pull, too.
        """
        return _Lines(self._read(from_line))

    def _read(self, from_line: int) -> Iterator[tuple[int, str]]:
        if from_line < 1:
            raise ValueError("lines are counted from 1")
        mark = (from_line - 1) // _LINES_PER_MARK
        if mark >= len(self._marks) or from_line > self.total_lines:
            return
        with self.path.open("rb") as file:
            file.seek(self._marks[mark])
            skip = from_line - 1 - mark * _LINES_PER_MARK
            number = from_line - 1
            for number, raw in enumerate(islice(file, skip, None), start=from_line):
                yield number, _text(raw)
        if number < self.total_lines:
            raise OSError(f"{self.path} ends at line {number}; it had {self.total_lines} when the run began")

    def _scan(self) -> None:
        carry = b""
        with self.path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                block = carry + chunk
                cut = block.rfind(b"\n") + 1
                carry = block[cut:]
                self._take(block[:cut])
                if len(carry) > MAX_LINE_BYTES:
                    raise UnreadableToolpath(self.total_lines + 1, _TOO_LONG)
            if carry:
                self._take(carry + b"\n")
                self.size_bytes -= 1

    def _take(self, block: bytes) -> None:
        """Check whole lines and note the marks in them."""
        lines = block.split(b"\n")
        lines.pop()
        if block.translate(None, _PRINTABLE).strip(b"\n"):
            self._check_each(lines)
        if (longest := max(map(len, lines), default=0)) > MAX_LINE_BYTES:
            place = next(place for place, raw in enumerate(lines, start=1) if len(raw) == longest)
            raise UnreadableToolpath(self.total_lines + place, _TOO_LONG)
        offset = self.size_bytes
        start = 0
        while (place := len(self._marks) * _LINES_PER_MARK - self.total_lines) <= len(lines):
            offset += sum(map(len, lines[start:place])) + place - start
            self._marks.append(offset)
            start = place
        self.total_lines += len(lines)
        self.size_bytes += len(block)

    def _check_each(self, lines: list[bytes]) -> None:
        for place, raw in enumerate(lines, start=self.total_lines + 1):
            odd = raw.removesuffix(b"\r").translate(None, _PRINTABLE)
            if odd and _odd_in_code(raw.removesuffix(b"\r")):
                why = f"the byte 0x{odd[0]:02x} is not a character of G-code; save the file as plain text"
                raise UnreadableToolpath(place, why)


class _Lines(Iterator[tuple[int, str]]):
    """Lines while they are read. A generator that failed once would look like one that is at its end, to whoever pulls
    next, and half a part would count as finished."""

    def __init__(self, source: Iterator[tuple[int, str]]) -> None:
        self._source = source
        self._failed: OSError | None = None

    def __next__(self) -> tuple[int, str]:
        if self._failed is not None:
            raise self._failed
        try:
            return next(self._source)
        except OSError as error:
            self._failed = error
            raise


def _odd_in_code(raw: bytes) -> bool:
    """Whether a byte that is not printable stands outside comments; a control byte counts inside them too.

    A controller that gets a control byte acts on it wherever it stands, but comments are never sent with it: `_text`
    drops it. A carriage return in mid-line, though, would end a comment for the controller and not for us.
    """
    if b"\r" in raw or b"\x0b" in raw or b"\x0c" in raw:
        return True
    code = without_comments(raw.decode("ascii", "replace"))
    return not code.isascii() or any(ord(character) < 0x20 and character != "\t" for character in code)


def _text(raw: bytes) -> str:
    """One line for people and controllers: printable ASCII."""
    raw = raw.rstrip(b"\r\n")
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError:
        return raw.decode("ascii", "ignore").translate(_NO_CONTROLS)
    return text if text.isprintable() else text.translate(_NO_CONTROLS)


_NO_CONTROLS: Final = dict.fromkeys((*range(9), *range(10, 32), 127))
