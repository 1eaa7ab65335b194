"""Relatives of Marlin as far as hosts see them: Prusa, Klipper, Smoothieware, RepRapFirmware, Repetier, only-ok.

Built from their sources as read (named below), not from recordings: they keep the bridges honest about the differences
that are written down, and prove nothing about a firmware's unwritten habits. Machine and motion are the Marlin twin's.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from firmware_bridges.twins.marlin import MarlinTwin
from firmware_bridges.twins.marlin_build import MarlinBuild, build_from
from firmware_bridges.twins.marlin_words import leading_int

if TYPE_CHECKING:
    from firmware_bridges.twins.run import TwinOptions

_Command = tuple[str, int | None]


class PrusaTwin(MarlinTwin):
    """Prusa-Firmware on an MK3: Marlin's protocol, plain ok (Firmware/cmdqueue.cpp, Marlin_main.cpp)."""

    def _greet(self) -> None:
        self._say("start")
        self._say("echo: 3.13.3-7094")

    def _ask_m115(self, _rest: str, _command: _Command, _now: float) -> None:
        self._say(
            "FIRMWARE_NAME:Prusa-Firmware 3.13.3 based on Marlin FIRMWARE_URL:https://github.com/prusa3d/Prusa-Firmware"
            f" PROTOCOL_VERSION:1.0 MACHINE_TYPE:Prusa i3 MK3S EXTRUDER_COUNT:1 UUID:{self.build.uuid}"
        )
        self._say("Cap:AUTOREPORT_TEMP:1")
        self._say("Cap:EXTENDED_M20:1")


class KlipperTwin(MarlinTwin):
    """Klipper's virtual serial port (klippy/gcode.py): numbers and checksums are stripped and never looked at."""

    resets_on_open = False

    def _greet(self) -> None:
        pass

    def _take_line(self, line: bytes) -> bool:
        text = re.sub(r"^N\d+\s*", "", line.decode("latin-1")).split("*", 1)[0].rstrip()
        self._queue.append((text, None))
        return True

    def _read_lines(self, now: float) -> None:
        before = bytes(self._rx)
        if before[:1] == b"\n" and not self._line and len(self._queue) < self.build.queue_lines:
            del self._rx[0]
            self._say("ok")
        super()._read_lines(now)

    def _execute(self, command: _Command, now: float) -> None:
        if self._halted:
            self._say(f"// {_KLIPPER_DOWN}")
            self._say(f"!! {_KLIPPER_DOWN}")
            if command[0] == "FIRMWARE_RESTART":
                self._halted = False
            return
        super()._execute(command, now)

    _halted = False

    def _say_unknown(self, text: str) -> None:
        self._say(f'// Unknown command:"{text}"')

    def _ask_m112(self, _rest: str, _command: _Command, now: float) -> None:
        self._halted = True
        self.machine.heaters_off()
        self.machine.drop_all(now)
        self._say("// Klipper state: Shutdown")
        self._say("!! Shutdown due to M112 command")

    def _ask_m105(self, _rest: str, _command: _Command, _now: float) -> None:
        hot, bed = self.machine.heaters["E0"], self.machine.heaters["bed"]
        self._say(
            f"ok B:{bed.reading_c():.1f} /{bed.target_c:.1f} T0:{hot.reading_c():.1f} /{hot.target_c:.1f}",
        )
        self._done_without_ok()

    def _ask_m115(self, _rest: str, _command: _Command, _now: float) -> None:
        self._say("ok FIRMWARE_NAME:Klipper FIRMWARE_VERSION:v0.12.0-1")
        self._done_without_ok()


_KLIPPER_DOWN: Final = "Shutdown due to M112 command"


class SmoothieTwin(MarlinTwin):
    """Smoothieware (GcodeDispatch.cpp, USBSerial.cpp): `rs N…` without ok; 0x18 halts; halted answers `!!` alone."""

    resets_on_open = False
    _halted = False

    def _greet(self) -> None:
        self._say("Smoothie")
        self._say("ok")

    def receive(self, data: bytes, now: float) -> None:
        """0x18 is picked out of the stream in the USB interrupt."""
        if b"\x18" in data:
            self._halted = True
            self.machine.heaters_off()
            self.machine.drop_all(now)
            self._queue.clear()
            self._current = None
            data = data.replace(b"\x18", b"")
        super().receive(data, now)

    def _refuse_line(self, why: str) -> bool:
        self.resends += 1
        self._say(f"rs N{self._last_n + 1}")
        return True

    def _execute(self, command: _Command, now: float) -> None:
        if self._halted:
            if command[0].startswith("M999"):
                self._halted = False
                self._say("WARNING: After HALT you should HOME as position is currently unknown")
            else:
                self._say("!!")
                self._done_without_ok()
            return
        super()._execute(command, now)

    def _ask_m112(self, _rest: str, _command: _Command, now: float) -> None:
        self._halted = True
        self.machine.heaters_off()
        self.machine.drop_all(now)
        self._say("ok Emergency Stop Requested - reset or M999 required to exit HALT state")
        self._done_without_ok()

    def _say_unknown(self, text: str) -> None:
        """Unknown G and M words are taken in silence and acknowledged."""

    def _ask_m115(self, _rest: str, _command: _Command, _now: float) -> None:
        self._say(
            "FIRMWARE_NAME:Smoothieware, FIRMWARE_URL:http%3A//smoothieware.org, X-SOURCE_CODE_URL:https://github.com/"
            "Smoothieware/Smoothieware, FIRMWARE_VERSION:edge-1a2b3c4, PROTOCOL_VERSION:1.0, X-CNC:0"
        )


class RepRapFirmwareTwin(MarlinTwin):
    """RepRapFirmware 3 over USB (src/GCodes/GCodes.cpp): a bad line is answered `rs <n>` instead of ok."""

    resets_on_open = False

    def _greet(self) -> None:
        pass

    def _refuse_line(self, why: str) -> bool:
        self.resends += 1
        self._say(f"rs {self._last_n + 1}")
        return True

    def _say_unknown(self, text: str) -> None:
        self._say(f"Error: Bad command: {text}")

    def _ask_m115(self, _rest: str, _command: _Command, _now: float) -> None:
        self._say(
            "FIRMWARE_NAME: RepRapFirmware for Duet 2 WiFi/Ethernet FIRMWARE_VERSION: 3.5.4 ELECTRONICS: Duet WiFi 1.02"
            " FIRMWARE_DATE: 2024-11-24"
        )


class RepetierTwin(MarlinTwin):
    """Repetier-Firmware 1.0 (src/ArduinoAVR/Repetier/gcode.cpp): `ok 12`, `wait` when idle, `skip 12` for repeats."""

    _wait_at = 0.0

    def _greet(self) -> None:
        self._say("start")
        self._say("Info:PowerUp")

    def _take_line(self, line: bytes) -> bool:
        text = line.decode("latin-1")
        if text.startswith("N") and "M110" not in text:
            number = leading_int(text[1:])
            if 0 < self._last_n - number < 40 or number == self._last_n:
                self._say(f"skip {number}")
                self._say("ok")
                return True
        return super()._take_line(line)

    def _refuse_line(self, why: str) -> bool:
        self.resends += 1
        self._say("Error:Wrong checksum" if "checksum" in why else "Error:expected line")
        self._say(f"Resend:{self._last_n + 1}")
        self._say("ok")
        return False

    def _acknowledge(self, command: _Command, now: float) -> None:
        self._current = None
        self._queue.popleft()
        self._say("ok" if command[1] is None else f"ok {command[1] % 65536}")

    def _auto_report(self, now: float) -> None:
        super()._auto_report(now)
        if not self._queue and not self._rx and now - self._wait_at >= 1.0:
            self._wait_at = now
            self._say("wait")

    def wakes_at(self) -> float | None:
        """As Marlin, and once a second for `wait`."""
        due = super().wakes_at()
        said = self._wait_at + 1.0
        if self.killed or not self._booted or said <= self._now:
            return due
        return said if due is None else min(said, due)

    def _ask_m105(self, _rest: str, _command: _Command, _now: float) -> None:
        self._say(self.machine.temperatures().replace(" @:", " @:0 "))

    def _say_unknown(self, text: str) -> None:
        self._say(f"Unknown command:{text}")

    def _ask_m115(self, _rest: str, _command: _Command, _now: float) -> None:
        self._say(
            "FIRMWARE_NAME:Repetier_1.0.4 COMPILED:May  9 2020 FIRMWARE_URL:https://github.com/repetier/"
            "Repetier-Firmware/ PROTOCOL_VERSION:1.0 MACHINE_TYPE:Mendel EXTRUDER_COUNT:1 REPETIER_PROTOCOL:3"
        )


class AcknowledgeOnlyTwin(MarlinTwin):
    """A machine of which nothing is known but its ok."""

    resets_on_open = False

    def _greet(self) -> None:
        self._say("READY plotter")

    def _say_unknown(self, text: str) -> None:
        pass


#: Kind → (twin, how its line protocol is configured).
_PLAIN: Final = MarlinBuild(advanced_ok=False, emergency_parser=False, busy=False)
_KINDS: Final[dict[str, tuple[type[MarlinTwin], MarlinBuild]]] = {
    "prusa": (PrusaTwin, replace(_PLAIN, busy=True)),
    "klipper": (KlipperTwin, replace(_PLAIN, queue_lines=20, receive_bytes=4096)),
    "smoothie": (SmoothieTwin, replace(_PLAIN, receive_bytes=256)),
    "reprapfirmware": (RepRapFirmwareTwin, replace(_PLAIN, receive_bytes=256)),
    "repetier": (RepetierTwin, replace(_PLAIN, busy=True)),
    "acknowledge-only": (AcknowledgeOnlyTwin, _PLAIN),
}


def build_twin(options: TwinOptions) -> MarlinTwin:
    """For `twins.run`; settings name fields of `MarlinBuild`. Raises ValueError."""
    kind, build = _KINDS[options.kind]
    return kind(build_from(build, options.settings))
