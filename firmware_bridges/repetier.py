"""Repetier-Firmware 1.0, ASCII protocol: `ok 12` echoes the number, `wait` says idle, `skip 12` says seen before.

Sources: Repetier-Firmware src/ArduinoAVR/Repetier/gcode.cpp (requestResend, waitingForResend), Communication.cpp.
"""

from __future__ import annotations

from firmware_bridges.marlin import MarlinBridge
from firmware_bridges.printer_dialect import REPETIER


class RepetierBridge(MarlinBridge):
    """A board that runs Repetier-Firmware."""

    spoken = REPETIER
