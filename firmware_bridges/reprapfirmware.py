"""RepRapFirmware 3 over USB, in its Marlin-like manner: numbers and checksums are optional, `rs <n>` asks again.

Sources: RepRapFirmware src/GCodes/GCodes.cpp, src/GCodes/GCodeBuffer/StringParser.cpp. M112 needs M999, which resets
the board so that its port vanishes for a moment.
"""

from __future__ import annotations

from firmware_bridges.bridge import Clock, MachineConfig
from firmware_bridges.link import Opener, Spawn, open_serial, spawn_thread
from firmware_bridges.marlin import MarlinBridge
from firmware_bridges.printer_dialect import REPRAPFIRMWARE


class RepRapFirmwareBridge(MarlinBridge):
    """A Duet or another board that runs RepRapFirmware."""

    def __init__(
        self,
        config: MachineConfig,
        *,
        clock: Clock | None = None,
        opener: Opener = open_serial,
        spawn: Spawn = spawn_thread,
    ) -> None:
        super().__init__(config, clock=clock, opener=opener, spawn=spawn, protocol=REPRAPFIRMWARE)
