"""The GRBL twin answers as GRBL 1.1h on an ATmega328P was recorded to answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from firmware_bridges.twins.grbl import GrblTwin
from firmware_bridges.twins.grbl_variants import FLUIDNC, GRBLHAL

BANNER = ["", "Grbl 1.1h ['$' for help]"]
LOCKED = "[MSG:'$H'|'$X' to unlock]"


class Talk:
    """A twin and its time."""

    def __init__(self, twin: GrblTwin) -> None:
        self.twin = twin
        self.now = 0.0
        twin.boot(0.0, "power")
        self.greeting = self.wait(1.0)

    def wait(self, for_s: float) -> list[str]:
        self.now += for_s
        self.twin.advance(self.now)
        return b"".join(self.twin.take_output()).decode().replace("\r\n", "\n").split("\n")[:-1]

    def __call__(self, text: str | bytes, for_s: float = 0.2) -> list[str]:
        data = text if isinstance(text, bytes) else text.encode()
        self.twin.receive(data, self.now)
        return self.wait(for_s)


@pytest.fixture
def talk() -> Talk:
    """A machine as in the recordings: homing on, soft limits on, home at the positive ends."""
    motion = {110: 4000, 111: 4000, 112: 4000, 120: 300, 121: 300, 122: 300}
    return Talk(GrblTwin(settings={20: 1, 21: 1, 22: 1, 23: 0, 24: 200, 25: 2000, 27: 2, **motion}))


@pytest.fixture
def homed(talk: Talk) -> Talk:
    assert talk("$H\n", 30) == ["ok"]
    return talk


def test_a_blank_memory_is_reset_and_told() -> None:
    talk = Talk(GrblTwin(blank_eeprom=True))
    assert talk.greeting[0] == "error:7"
    assert talk.greeting[1:4] == ["$0=10", "$1=25", "$2=0"]
    assert talk.greeting[-4:] == [*BANNER, ">:error:7", ">:error:7"]


def test_queries() -> None:
    talk = Talk(GrblTwin())
    assert talk.greeting == BANNER
    assert talk("?") == ["<Idle|MPos:0.000,0.000,0.000|FS:0,0|WCO:0.000,0.000,0.000>"]
    assert talk("?") == ["<Idle|MPos:0.000,0.000,0.000|FS:0,0|Ov:100,100,100>"]
    assert talk("?") == ["<Idle|MPos:0.000,0.000,0.000|FS:0,0>"]
    assert talk("$I\n") == ["[VER:1.1h.20190830:]", "[OPT:V,15,128]", "ok"]
    assert talk("$G\n") == ["[GC:G0 G54 G17 G21 G90 G94 M5 M9 T0 F0 S0]", "ok"]
    assert talk("$#\n")[8:] == ["[G92:0.000,0.000,0.000]", "[TLO:0.000]", "[PRB:0.000,0.000,0.000:0]", "ok"]
    assert talk("$N\n") == ["$N0=", "$N1=", "ok"]
    settings = talk("$$\n")
    assert settings[0] == "$0=10"
    assert "$11=0.010" in settings
    assert "$100=250.000" in settings
    assert settings[-2:] == ["$132=200.000", "ok"]
    assert talk("\n") == ["ok"]
    assert talk("\r\n") == ["ok", "ok"]


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("G5", "error:20"),
        ("Q", "error:2"),
        ("G1X1", "error:22"),
        ("G1F0X1", "error:22"),
        ("$999", "error:3"),
        ("$J=X1", "error:22"),
        ("G2X1F100", "error:35"),
        ("G0 X1 X2", "error:25"),
        ("S-1", "error:4"),
        ("$I=", "ok"),
        ("G1F1X" + "1" * 80, "error:11"),
        ("$22=0", "ok"),
        ("$J=G91X-500F100", "error:15"),
        ("$J=G92X1F1", "error:16"),
    ],
)
def test_errors_by_number(homed: Talk, line: str, answer: str) -> None:
    assert homed(line + "\n") == [answer]


def test_homing_locks_at_power_up_and_unlocks(talk: Talk) -> None:
    assert talk.greeting == [*BANNER, LOCKED]
    assert talk("G0X-1\n") == ["error:9"]
    assert talk("?")[0].startswith("<Alarm|")
    assert talk("$H\n", 0.1) == []
    assert talk("?", 0.1)[0].startswith("<Home|")
    assert talk.wait(30) == ["ok"]
    assert talk("?")[0].startswith("<Idle|MPos:-2.000,-2.000,-2.000|")


def test_soft_limit_keeps_the_position_and_needs_a_reset(homed: Talk) -> None:
    assert homed("G0X-500\n", 0.4) == ["ALARM:2"]
    assert homed.wait(0.3) == ["[MSG:Reset to continue]"]
    assert homed("?") == []
    assert homed("G0X-1\n") == []
    assert homed(b"\x18") == ["ok", *BANNER, LOCKED]
    assert homed("$X\n") == ["[MSG:Caution: Unlocked]", "ok"]
    assert homed("?")[0].startswith("<Idle|MPos:-2.000,")


def test_a_reset_in_motion_loses_the_position(homed: Talk) -> None:
    assert homed("G91G1X-50F1500\n", 0.6) == ["ok"]
    assert homed(b"\x18", 0.4) == ["ALARM:3"]
    assert homed.wait(0.3) == [*BANNER, LOCKED]
    assert homed("?")[0].startswith("<Alarm|MPos:-1")
    assert homed("G0X1\n") == ["error:9"]


def test_a_reset_at_rest_costs_only_the_modes(homed: Talk) -> None:
    homed("G20G91\n")
    assert homed(b"\x18") == BANNER
    assert homed("$G\n")[0] == "[GC:G0 G54 G17 G21 G90 G94 M5 M9 T0 F0 S0]"


def test_check_mode_tries_lines_and_ends_with_a_reset(homed: Talk) -> None:
    assert homed("$C\n") == ["[MSG:Enabled]", "ok"]
    assert homed("G1X-10F100\nG5\nG2X1\nM3S100\n") == ["ok", "error:20", "error:35", "ok"]
    assert homed("?")[0].startswith("<Check|MPos:-2.000,-2.000,-2.000|FS:0,0")
    assert homed("$C\n") == ["[MSG:Disabled]", "ok", *BANNER]


def test_hold_resume_and_jog(homed: Talk) -> None:
    homed("$10=2\n")
    assert homed("?")[0] == "<Idle|WPos:-2.000,-2.000,-2.000|Bf:15,128|FS:0,0|WCO:0.000,0.000,0.000>"
    assert homed("G21G90G1X-60Y-30F1500\n", 0.3) == ["ok"]
    assert "|Bf:14,128|FS:1500,0" in homed("?")[0]
    assert homed(b"!", 0.02) == []
    assert homed("?", 0.5)[0].startswith("<Hold:1|")
    assert homed("?")[0].startswith("<Hold:0|")
    homed(b"~", 0.3)
    assert homed("?")[0].startswith("<Run|")
    homed(b"\x91\x92\x97", 0.01)
    assert homed("?", 5)[0].endswith("|Ov:100,25,100>")
    homed(b"\x90\x95", 0.1)
    assert homed("$J=G91X-20F500\n", 0.4) == ["ok"]
    assert homed("?")[0].startswith("<Jog|")
    assert homed("G0X1\n") == ["error:9"]
    homed(b"\x85", 0.5)
    assert homed("?")[0].startswith("<Idle|WPos:-6")


def test_dwell_answers_when_it_is_over_and_the_end_of_program_says_so(homed: Talk) -> None:
    assert homed("G4P0.5\n", 0.4) == []
    assert homed.wait(0.2) == ["ok"]
    assert homed("M30\n") == ["[MSG:Pgm End]", "ok"]


def test_laser_mode_scales_and_stops_the_beam(homed: Talk) -> None:
    homed("$32=1\n")
    homed("G90G21\n")
    assert homed("M4S500\n") == ["ok"]
    assert homed.twin.state(homed.now)["spindle"]["power"] == 0
    homed("G1X-20F1000\nG1X-40S800\n", 0.4)
    assert homed("?", 0.1)[0].split("|")[2] == "FS:1000,500"
    assert homed.twin.state(homed.now)["spindle"]["power"] == pytest.approx(500)
    homed(b"!", 0.5)
    assert "|FS:0,0" in homed("?")[0]
    assert homed.twin.state(homed.now)["spindle"]["power"] == 0
    assert homed(b"~", 0.3) == ["[MSG:Restoring spindle]"]
    homed("M5\n", 5)
    assert homed.twin.state(homed.now)["stationary_burn_ms"] == 0


def test_without_laser_mode_the_beam_burns_on_in_a_hold(homed: Talk) -> None:
    """What `$32=1` is required for."""
    homed("G90G21\nM3S500\nG1X-20F1000\n", 0.4)
    homed(b"!", 1.0)
    assert homed.twin.state(homed.now)["spindle"]["power"] == 500
    assert homed.twin.state(homed.now)["stationary_burn_ms"] > 500


def test_the_receive_ring_overflows_without_a_word(homed: Talk) -> None:
    blind = "".join(f"G1X-{1 + i % 50}F3000\n" for i in range(60))
    answers = homed(blind, 20)
    assert answers.count("ok") < 60
    assert homed.twin.overruns > 0


def test_128_bytes_fit_exactly() -> None:
    talk = Talk(GrblTwin(settings={110: 4000, 120: 300}))
    talk("G1X-50F60\n" * 1 + "".join(f"G1X-{i}F60\n" for i in range(10, 25)), 0.1)
    line = "G1X-1.0F60\n"
    free = 128 - talk.twin.state(talk.now)["rx"]
    talk(line * (free // len(line)) + " " * (free % len(line)), 0.1)
    assert talk.twin.overruns == 0
    talk("\n", 0.01)
    assert talk.twin.overruns == 1


def test_bytes_that_arrive_while_the_memory_is_written_are_lost(homed: Talk) -> None:
    assert homed("$0=10\nG0X-3\n", 1.0) == ["ok"]


def test_power_back_forgets_the_position(homed: Talk) -> None:
    homed("G91G1X-40F1000\n", 0.5)
    homed.twin.boot(homed.now, "power")
    assert homed.wait(1.0) == [*BANNER, LOCKED]
    assert homed("?")[0].startswith("<Alarm|MPos:0.000,0.000,0.000|")


def test_homing_without_a_switch_is_alarm_9(talk: Talk) -> None:
    assert talk.twin.fault("switch_broken", {}, talk.now)
    assert talk("$H\n", 60) == ["ALARM:9"]


def test_a_program_pause_waits_for_a_person(homed: Talk) -> None:
    assert homed("M0\n") == []
    assert homed("?")[0].startswith("<Hold:0|")
    assert homed(b"~") == ["ok"]


def test_door_opens_and_closes(homed: Talk) -> None:
    homed("G1X-50F1000\n", 0.3)
    assert homed.twin.person("open_door", {}, homed.now)
    assert homed.wait(1.0) == []
    status = homed("?")[0]
    assert status.startswith("<Door:1|")
    assert "|Pn:D" in status
    homed(b"~", 0.5)
    assert homed("?")[0].startswith("<Door:1|")
    assert homed.twin.person("close_door", {}, homed.now)
    homed(b"~", 0.5)
    assert homed("?")[0].startswith("<Run|")


@pytest.mark.parametrize(("variant", "word"), [(GRBLHAL, "GrblHAL"), (FLUIDNC, "FluidNC")])
def test_variants_greet_and_tell_their_buffers(variant: object, word: str) -> None:
    talk = Talk(GrblTwin(variant=variant))  # type: ignore[arg-type]
    assert word in talk.greeting[1]
    assert talk("$I\n")[0].startswith("[VER:")
    assert "|Bf:" in talk("?")[0]


def test_settings_and_offsets_survive_in_the_state_file(tmp_path: Path) -> None:
    kept = tmp_path / "eeprom.json"
    talk = Talk(GrblTwin(state_file=kept))
    talk("$30=24000\n")
    talk("G10L2P1X5Y6Z7\n")
    again = Talk(GrblTwin(state_file=kept))
    assert "$30=24000" in again("$$\n")
    assert again("$#\n")[0] == "[G54:5.000,6.000,7.000]"
    assert json.loads(kept.read_text())["settings"]["30"] == 24000


def test_a_hold_before_a_spindle_word_waits_for_the_resume() -> None:
    talk = Talk(GrblTwin(variant=GRBLHAL, profile="laser"))
    talk("M4S500\nG1X20F1000\nG1X40\nM5\n", 0.5)
    talk(b"!", 1.0)
    assert talk("?")[0].startswith("<Hold:0|")
    assert "ok" in talk(b"~", 5.0)
    assert talk("?")[0].startswith("<Idle|")
