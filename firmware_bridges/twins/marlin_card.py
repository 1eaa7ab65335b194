"""The memory card in a simulated Marlin: a print that a person starts at the display, as a host sees it.

After Marlin src/sd/cardreader.cpp (report_status, fileHasFinished), src/gcode/sd/M27.cpp, src/gcode/sd/M1001.cpp and
src/core/language.h (STR_SD_PRINTING_BYTE, STR_SD_NOT_PRINTING, STR_FILE_PRINTED). What the file holds is not modelled.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Card:
    """One file on the card; it is read at an even `bytes_per_s` (twin's seconds)."""

    size: int = 0
    bytes_per_s: float = 100.0
    began: float | None = None

    def start(self, size: int | None, now: float) -> None:
        """A person chose a file of so many bytes at the display; None: stopped the print there."""
        self.size, self.began = (0, None) if size is None else (size, now)

    def ends_at(self) -> float | None:
        """When the last byte is read; None while nothing is printed."""
        return None if self.began is None else self.began + self.size / self.bytes_per_s

    def finish(self, now: float) -> str:
        """What M1001 says when the file is at its end, else ""."""
        ends = self.ends_at()
        if ends is None or now < ends:
            return ""
        self.began = None
        return "Done printing file"

    def report(self, now: float) -> str:
        """M27."""
        if self.began is None:
            return "Not SD printing"
        return f"SD printing byte {min(self.size, int((now - self.began) * self.bytes_per_s))}/{self.size}"
