"""Firmwares of the Marlin family as data: what differs between them, with the place it is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from firmware_bridges.bridge import Capability

_PRINTER: Final = frozenset(
    {
        Capability.HOLD,
        Capability.RESUME,
        Capability.EMERGENCY_STOP,
        Capability.START_AT_LINE,
        Capability.HOMING,
        Capability.FLOW_BY_ACKNOWLEDGEMENT,
        Capability.POSITION_REPORT,
        Capability.TEMPERATURE_REPORT,
        Capability.HEATERS,
    }
)


@dataclass(frozen=True, slots=True)
class PrinterDialect:
    """One firmware, as far as the bridge treats it differently."""

    name: str
    firmware_name: str
    """Regular expression over M115's answer; "" for machines that answer nothing."""
    capabilities: frozenset[Capability] = _PRINTER
    numbered: bool = True
    """Whether lines are sent with numbers and checksums."""
    number_modulo: int = 0
    """Acknowledged numbers count modulo this; 0 counts on."""
    receive_bytes: int = 128
    """Size of the receive ring; at most one byte less may be unacknowledged."""
    lines_in_flight: int = 1
    """Lines unacknowledged where the firmware does not tell its free slots."""
    emergency: bytes = b"\nM112\nM112\n"
    question: str = "M105"
    """Asks for temperatures, and whether anybody is there."""
    finish: tuple[str, ...] = ("M400", "M114")
    heaters_off: tuple[str, ...] = ("M104 S0", "M140 S0", "M107")
    echo_of_number: bool = False
    """`ok 12` without ADVANCED_OK."""
    refuses_without_ok: bool = False
    """`!!` comes without an ok."""
    clears_halt: bytes = b""
    """What a person's re-arming sends to leave a halt."""


#: Marlin 1.1.9 to 2.1 (src/gcode/queue.cpp).
MARLIN: Final = PrinterDialect(
    "marlin",
    r"FIRMWARE_NAME:\s?Marlin",
    _PRINTER | {Capability.CHECKSUMS},
)
#: Prusa MK2/MK3 (Firmware/cmdqueue.cpp) and Buddy boards: Marlin's protocol with a queue of their own.
PRUSA: Final = PrinterDialect(
    "prusa",
    r"FIRMWARE_NAME:\s?Prusa-Firmware",
    _PRINTER | {Capability.CHECKSUMS},
)
#: Klipper's virtual serial port (klippy/gcode.py GCodeIO): numbers are stripped and checksums never looked at.
KLIPPER: Final = PrinterDialect(
    "klipper",
    r"FIRMWARE_NAME:\s?Klipper",
    numbered=False,
    receive_bytes=4096,
    lines_in_flight=1,
    clears_halt=b"FIRMWARE_RESTART\n",
)
#: Smoothieware (src/modules/communication/GcodeDispatch.cpp, src/libs/USBDevice/USBSerial/USBSerial.cpp).
SMOOTHIE: Final = PrinterDialect(
    "smoothie",
    r"FIRMWARE_NAME:\s?Smoothieware",
    _PRINTER | {Capability.CHECKSUMS},
    emergency=b"\x18\nM112\n",
    refuses_without_ok=True,
    clears_halt=b"M999\n",
)
#: RepRapFirmware 3 over USB (src/GCodes/GCodes.cpp, src/GCodes/GCodeBuffer/StringParser.cpp).
REPRAPFIRMWARE: Final = PrinterDialect(
    "reprapfirmware",
    r"FIRMWARE_NAME:\s?RepRapFirmware",
    _PRINTER | {Capability.CHECKSUMS},
    receive_bytes=256,
    clears_halt=b"M999\n",
)
#: Repetier-Firmware 1.0 (src/ArduinoAVR/Repetier/gcode.cpp), ASCII protocol.
REPETIER: Final = PrinterDialect(
    "repetier",
    r"FIRMWARE_NAME:\s?Repetier",
    _PRINTER | {Capability.CHECKSUMS},
    number_modulo=65536,
    echo_of_number=True,
    clears_halt=b"M999\n",
)
#: Any machine that says ok after each line and nothing else that could be relied on.
ACKNOWLEDGE_ONLY: Final = PrinterDialect(
    "acknowledge-only",
    "",
    frozenset({Capability.HOLD, Capability.RESUME, Capability.FLOW_BY_ACKNOWLEDGEMENT}),
    numbered=False,
    question="",
    finish=(),
    heaters_off=(),
    emergency=b"",
)
DIALECTS: Final = {
    dialect.name: dialect for dialect in (MARLIN, PRUSA, KLIPPER, SMOOTHIE, REPRAPFIRMWARE, REPETIER, ACKNOWLEDGE_ONLY)
}
