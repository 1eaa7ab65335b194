"""Detection: who said these lines, and two real pseudo-terminals."""

from __future__ import annotations

import json
import os

import pytest

from firmware_bridges.detect import Answer, classify, configuration, look, main
from firmware_bridges.twins.grbl import GrblTwin
from firmware_bridges.twins.grbl_variants import FLUIDNC, GRBLHAL, Variant
from firmware_bridges.twins.host import TwinHost
from firmware_bridges.twins.marlin import MarlinTwin


@pytest.mark.parametrize(
    ("lines", "dialect"),
    [
        (["", "Grbl 1.1h ['$' for help]"], "grbl"),
        ([" T:38.00 /0.00 B:22.50Grbl 1.1h ['$' for help]"], "grbl"),
        (["GrblHAL 1.1f ['$' or '$HELP' for help]"], "grblhal"),
        (["[VER:1.1f.20260817:]", "[OPT:VNML+,100,1024,3,0]", "[FIRMWARE:grblHAL]", "ok"], "grblhal"),
        (["Grbl 3.9 [FluidNC v3.9.1 (esp32-wifi) '$' for help]"], "fluidnc"),
        (["<Idle|MPos:0.000,0.000,0.000|FS:0,0>"], "grbl"),
        (["start", "echo:Last Updated"], "marlin"),
        (["FIRMWARE_NAME:Marlin bugfix-2.1.x (x) SOURCE_CODE_URL:github.com MACHINE_TYPE:RAMPS"], "marlin"),
        (["FIRMWARE_NAME:Prusa-Firmware 3.13.2 based on Marlin FIRMWARE_URL:x"], "prusa"),
        (["ok FIRMWARE_NAME:Klipper FIRMWARE_VERSION:v0.12.0-100"], "klipper"),
        (["FIRMWARE_NAME: RepRapFirmware for Duet 2 FIRMWARE_VERSION: 3.4 ELECTRONICS: Duet 2"], "reprapfirmware"),
        (["FIRMWARE_NAME:Repetier_1.0.4 COMPILED:x PROTOCOL_VERSION:1.0"], "repetier"),
        (["FIRMWARE_NAME:Smoothieware, FIRMWARE_URL:http%3A//smoothieware.org, FIRMWARE_VERSION:edge"], "smoothie"),
        (["FIRMWARE_NAME:Somebody else"], "acknowledge-only"),
    ],
)  # fmt: skip
def test_classify(lines: list[str], dialect: str) -> None:
    answer = classify(lines)
    assert answer is not None
    assert answer.dialect == dialect


@pytest.mark.parametrize("lines", [[], [""], ["ok"], ["error:20"], ["\x00\xff\x80", "garbage"]])
def test_nobody_known(lines: list[str]) -> None:
    assert classify(lines) is None


def test_laser_mode_tells_the_process() -> None:
    assert classify(["[VER:1.1h.20190830:]", "$30=1000", "$32=1"]) == Answer("grbl", "1.1h.20190830", process="laser")


@pytest.mark.parametrize(("variant", "dialect"), [(None, "grbl"), (GRBLHAL, "grblhal"), (FLUIDNC, "fluidnc")])
def test_a_grbl_on_a_pseudo_terminal(variant: Variant | None, dialect: str) -> None:
    twin = GrblTwin(profile="laser", **({"variant": variant} if variant else {}))
    with TwinHost(twin, speed=20) as host:
        finding = look(host.port, (115200,), greeting_s=0.5)
        state = host.state()
    assert finding.answer is not None
    assert (finding.answer.dialect, finding.answer.process) == (dialect, "laser")
    assert state["consumed"] == 0
    assert f'dialect = "{dialect}"' in configuration(finding, 1)


def test_a_board_that_was_running_before_is_found_without_a_greeting() -> None:
    twin = GrblTwin(profile="router")
    twin.resets_on_open = False
    with TwinHost(twin, speed=20) as host:
        finding = look(host.port, (115200,), greeting_s=0.2)
    assert finding.answer is not None
    assert finding.answer.version == "1.1h.20190830"


def test_a_printer_on_a_pseudo_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with TwinHost(MarlinTwin(), speed=20) as host:
        assert main(["--port", host.port, "--baud", "115200", "--json", "--wait", "0.5"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found[0]["answer"]["dialect"] == "marlin"


def test_a_port_without_anybody_and_no_port_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    master, slave = os.openpty()
    try:
        finding = look(os.ttyname(slave), (115200,), greeting_s=0.1)
    finally:
        os.close(master)
        os.close(slave)
    assert finding.answer is None
    assert finding.why == "nobody answered"
    assert main(["--port", "/dev/no-such-port"]) == 1
    assert "no port /dev/no-such-port" in capsys.readouterr().out
