"""Klipper's virtual serial port: Marlin's manners without its safety net.

Numbers are stripped and checksums never verified (klippy/gcode.py GCodeIO), so nothing is sent with them. An error is
`!!` and then `ok`. After a shutdown every command repeats the reason; only FIRMWARE_RESTART helps, and homing is lost.
"""

from __future__ import annotations

from firmware_bridges.marlin import MarlinBridge
from firmware_bridges.printer_dialect import KLIPPER


class KlipperBridge(MarlinBridge):
    """A printer behind a Klipper host on the same computer."""

    spoken = KLIPPER
