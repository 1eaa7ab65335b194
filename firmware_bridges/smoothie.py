"""Smoothieware: an ok a line, `rs N…` alone for a bad one, and a halt that answers `!!` without any ok.

Sources: Smoothieware src/modules/communication/GcodeDispatch.cpp, src/libs/USBDevice/USBSerial/USBSerial.cpp (0x18
halts from the USB interrupt). Lines in lower case are shell commands that get no ok: commands are sent in upper case.
"""

from __future__ import annotations

from firmware_bridges.marlin import MarlinBridge
from firmware_bridges.printer_dialect import SMOOTHIE


class SmoothieBridge(MarlinBridge):
    """A board that runs Smoothieware."""

    spoken = SMOOTHIE
