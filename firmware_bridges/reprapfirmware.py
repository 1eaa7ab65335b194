"""RepRapFirmware 3 over USB, in its Marlin-like manner: numbers and checksums are optional, `rs <n>` asks again.

Sources: RepRapFirmware src/GCodes/GCodes.cpp, src/GCodes/GCodeBuffer/StringParser.cpp. M112 needs M999, which resets
the board so that its port vanishes for a moment.
"""

from __future__ import annotations

from firmware_bridges.marlin import MarlinBridge
from firmware_bridges.printer_dialect import REPRAPFIRMWARE


class RepRapFirmwareBridge(MarlinBridge):
    """A Duet or another board that runs RepRapFirmware."""

    spoken = REPRAPFIRMWARE
