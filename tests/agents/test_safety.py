"""Gates: closed unless known open, every one of them. The watch: holds, then stops, never resumes."""

from __future__ import annotations

import sys
import types
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.config import InterlockInput, OnOpen
from agents.contract import messages as m
from agents.contract.vocabulary import Process
from agents.halting import ask_or_stop
from agents.interlocks import FileInterlocks, GpioInterlocks, NoInterlocks, power_permitted
from agents.lease import LeaseState
from agents.material import left_of, missing_of
from agents.safety import ESCALATE_AFTER_S, Facts, Presence, Purpose, Watch, Watched, all_open, gates
from agents.section import ConfigError
from agents.spool import Lease, MachineFlags
from firmware_bridges import bridge as b
from tests.agents.scene import T0, FakeClock, ScriptedBridge, machine_settings, offer_of

DOOR = InterlockInput("door")
FLAME = InterlockInput("flame", on_open=OnOpen.STOP)


def lease_for(process: Process) -> Lease:
    offer = offer_of(process=process)
    return Lease(
        *("lease-1", "j1", 3, "m1", LeaseState.STAGED, False),
        ticket=offer.ticket,
        toolpath=offer.toolpath,
        start_by=T0 + timedelta(hours=1),
        planned_start=T0,
        p90_s=60.0,
        at=T0,
        problems=(),
        card=True,
    )


def open_facts(process: Process = Process.LASER) -> Facts:
    """Everything as it must be."""
    bridge = ScriptedBridge("grbl" if process is not Process.FDM else "marlin")
    machine = replace(
        machine_settings(process=process, interlocks=(DOOR,)), power_file=Path("/run/power"), requires_homing=True
    )
    return Facts(
        machine=machine,
        lease=lease_for(process),
        status=bridge.status(),
        flags=MachineFlags(bed_clear=True),
        materials=(m.LoadedMaterial(material="PLA", remaining_g=100.0),),
        present=True,
        interlocks=((DOOR, True),),
        power=True,
        highest_fence=3,
    )


def names(facts: Facts) -> list[str]:
    return [gate.gate for gate in gates(facts) if not gate.open]


@pytest.mark.parametrize("process", [Process.FDM, Process.LASER, Process.CNC])
def test_all_open(process: Process) -> None:
    assert names(open_facts(process)) == []
    assert all_open(gates(open_facts(process)))
    assert not all_open(()), "nothing asked is nothing known"


def status(**changes: Any) -> b.Status:
    return replace(open_facts().status, **changes)


IDENTITY = open_facts().status.identity
assert IDENTITY is not None


@pytest.mark.parametrize(
    ("gate", "changes"),
    [
        ("machine", {"status": status(state=b.BridgeState.RUNNING)}),
        ("machine", {"status": status(state=b.BridgeState.OFFLINE)}),
        ("machine", {"status": status(state=b.BridgeState.DISARMED)}),
        ("enabled", {"flags": MachineFlags(bed_clear=True, disabled="broken")}),
        ("armed", {"flags": MachineFlags(bed_clear=True, disarmed="restarted")}),
        ("bed_clear", {"flags": MachineFlags()}),
        ("homed", {"status": status(homed=False)}),
        ("homed", {"status": status(homed=None)}),
        ("laser_mode", {"status": status(identity=replace(IDENTITY, settings=(("$32", "0"),)))}),
        ("laser_mode", {"status": status(identity=replace(IDENTITY, settings=()))}),
        ("toolpath", {"lease": replace(lease_for(Process.LASER), problems=None)}),
        ("toolpath", {"lease": replace(lease_for(Process.LASER), problems=("it leaves the bed",))}),
        ("lease", {"highest_fence": 4}),
        ("lease", {"lapsed": True}),
        ("owners_hours", {"in_hours": False}),
        ("maintenance", {"down": True}),
        ("power", {"power": False}),
        ("power", {"power": None}),
        ("presence", {"present": False}),
        ("work_card", {"lease": replace(lease_for(Process.LASER), card=False)}),
        ("material", {"materials": ()}),
        ("material", {"materials": (m.LoadedMaterial(material="PLA"),)}),
        ("interlock_door", {"interlocks": ((DOOR, False),)}),
        ("interlock_door", {"interlocks": ((DOOR, None),)}),
    ],
)
def test_each_gate_shuts_alone_and_says_what_lifts_it(gate: str, changes: dict[str, Any]) -> None:
    facts = replace(open_facts(), **changes)
    assert names(facts) == [gate]
    shut = next(report for report in gates(facts) if not report.open)
    assert shut.why
    assert shut.lift


def test_a_printer_waits_for_somebody_where_its_owner_lets_nothing_run_alone() -> None:
    alone = replace(open_facts(Process.FDM), present=False)
    assert names(alone) == []
    assert names(replace(alone, beside_person=True)) == ["beside_person"]
    assert names(replace(alone, beside_person=True, present=True)) == []
    own = replace(alone.lease, own=True)
    assert names(replace(alone, beside_person=True, lease=own)) == [], "the owner's own job is the owner's word"
    assert names(replace(alone, down=True, lease=own)) == ["maintenance"], "nobody's job starts under a spanner"


def test_a_machine_that_was_never_identified_is_shut() -> None:
    assert "machine" in names(replace(open_facts(), status=b.Status(b.BridgeState.IDLE, homed=True)))


def test_resume_asks_for_the_person_and_the_inputs_again() -> None:
    held = replace(open_facts(), status=status(state=b.BridgeState.HELD))
    assert all_open(gates(held, Purpose.RESUME))
    for gone in ({"present": False}, {"interlocks": ((DOOR, None),)}, {"power": False}):
        assert not all_open(gates(replace(held, **gone), Purpose.RESUME))


@pytest.mark.parametrize(
    ("need", "loaded", "lack"),
    [
        ({"material": "PLA"}, {"material": "pla"}, ""),
        ({"material": "PLA"}, {"material": "PETG"}, "PETG is loaded"),
        ({"material": "PLA", "colour": "red"}, {"material": "PLA"}, "unknown colour"),
        ({"material": "PLA", "colour": "red"}, {"material": "PLA", "colour": "Red"}, ""),
        ({"material": "PLA", "amount_g": 20}, {"material": "PLA", "remaining_g": 19.9}, "19.9 g is left"),
        ({"material": "PLA", "amount_g": 20}, {"material": "PLA"}, "unknown amount"),
        ({"material": "ply", "thickness_mm": 3}, {"material": "ply", "thickness_mm": 3.2}, ""),
        ({"material": "ply", "thickness_mm": 3}, {"material": "ply", "thickness_mm": 4}, "3 mm is needed"),
        ({"material": "ply", "thickness_mm": 3}, {"material": "ply"}, "unknown thickness"),
        ({"material": "ply", "width_mm": 300}, {"material": "ply", "width_mm": 299}, "width_mm 300"),
        ({"material": "ply", "height_mm": 300}, {"material": "ply"}, "unknown one"),
    ],
)
def test_material_will_do_only_if_known_to(need: dict[str, Any], loaded: dict[str, Any], lack: str) -> None:
    found = missing_of(m.MaterialNeed(**need), m.LoadedMaterial(**loaded))
    assert (lack in found) if lack else found == ""


def test_what_is_left_of_two_spools() -> None:
    spools = (m.LoadedMaterial(material="PLA", remaining_g=5.0), m.LoadedMaterial(material="PETG", remaining_g=50.0))
    assert left_of(m.MaterialNeed(material="petg", amount_g=20), spools)[1].remaining_g == 30
    assert left_of(m.MaterialNeed(material="PLA", amount_g=20), spools)[0].remaining_g == 0
    assert left_of(m.MaterialNeed(material="PLA"), spools) == spools


# --- the watch -------------------------------------------------------------------------------------------------------


class Guard:
    """A watch over one scripted machine."""

    def __init__(self, process: Process = Process.LASER) -> None:
        self.clock = FakeClock()
        self.presence = Presence(self.clock)
        self.bridge = ScriptedBridge("grbl")
        self.levels: dict[str, bool | None] = {"door": True, "flame": True}
        machine = machine_settings("l1", process, interlocks=(DOOR, FLAME))
        watched = Watched(
            machine,
            self.bridge.status,
            lambda item: self.levels[item.name],
            lambda why: ask_or_stop(self.bridge, self.bridge.hold, "hold", "l1"),
            lambda why: self.bridge.emergency_stop(),
            lambda: None,
        )
        self.watch = Watch(self.presence, self.clock, (watched,))
        self.presence.beat(("l1",), 30.0)
        self.bridge.become(b.BridgeState.RUNNING)

    def look_for(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.1)):
            self.watch.look()
            self.clock.go(0.1)


def test_nothing_happens_while_all_is_well() -> None:
    guard = Guard()
    guard.look_for(10)
    assert guard.bridge.calls == []


def test_presence_that_runs_out_holds_once_and_coming_back_resumes_nothing() -> None:
    guard = Guard()
    guard.look_for(30.2)
    assert guard.bridge.calls == ["hold"]
    guard.bridge.stands()
    guard.presence.beat(("l1",), 60)
    guard.look_for(5)
    assert guard.bridge.calls == ["hold"]


def test_a_hold_that_is_not_confirmed_becomes_a_stop_in_time() -> None:
    guard = Guard()
    guard.presence.beat(("l1",), 0)
    guard.look_for(ESCALATE_AFTER_S + 0.15)
    assert guard.bridge.calls == ["hold", "emergency_stop"]
    guard.look_for(3)
    assert guard.bridge.calls.count("emergency_stop") == 1


def test_a_machine_resumed_by_its_own_button_without_a_person_is_held_again() -> None:
    guard = Guard()
    guard.presence.beat(("l1",), 0)
    guard.watch.look()
    guard.bridge.stands()
    guard.watch.look()
    guard.bridge.become(b.BridgeState.RUNNING)
    guard.watch.look()
    assert guard.bridge.calls == ["hold", "hold"]


def test_a_door_holds_and_a_flame_stops_at_once_on_any_machine() -> None:
    for process in (Process.LASER, Process.FDM):
        guard = Guard(process)
        guard.levels["door"] = None
        guard.watch.look()
        assert guard.bridge.calls == ["hold"]
        guard = Guard(process)
        guard.levels["flame"] = False
        guard.watch.look()
        assert guard.bridge.calls == ["emergency_stop"]


def test_a_printer_needs_nobody() -> None:
    guard = Guard(Process.FDM)
    guard.look_for(60)
    assert guard.bridge.calls == []


def test_presence_is_monotonic_and_forgets_nobody_early() -> None:
    clock = FakeClock()
    presence = Presence(clock)
    assert not presence.present("m1")
    presence.beat(("m1",), 10)
    clock.wall += timedelta(hours=3)
    assert presence.present("m1")
    clock.go(10)
    assert not presence.present("m1")


def test_a_watch_that_breaks_down_stops_everything_it_watched() -> None:
    guard = Guard(Process.FDM)

    def broken() -> None:
        raise RuntimeError("no memory is left")

    watch = guard.watch
    watch.look = broken  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        watch._run()
    assert guard.bridge.calls == ["emergency_stop"]
    assert not watch.alive


def test_an_input_that_breaks_stops_its_machine_and_the_others_are_watched_on() -> None:
    first, second = Guard(Process.FDM), Guard()

    def broken(item: InterlockInput) -> bool | None:
        raise RuntimeError("the adapter fell apart")

    def no_stop(why: str) -> None:
        raise b.NotSupported("use the button on the machine")

    bad = replace(first.watch._machines[0], machine=machine_settings("m1", interlocks=(DOOR,)), interlock=broken)
    stuck = replace(bad, machine=machine_settings("m2", interlocks=(DOOR,)), stop=no_stop)
    watch = Watch(second.presence, second.clock, (stuck, bad, second.watch._machines[0]))
    for _ in range(3):
        watch.look()
    assert first.bridge.calls == ["emergency_stop"], "once"
    assert second.bridge.calls == []
    second.presence.beat(("l1",), 0)
    watch.look()
    assert second.bridge.calls == ["hold"]


def test_an_open_door_does_not_hide_a_flame() -> None:
    guard = Guard(Process.FDM)
    guard.levels.update(door=False, flame=False)
    guard.watch.look()
    assert guard.bridge.calls == ["emergency_stop"]


def test_a_flame_stops_a_held_printer_while_it_is_hot_and_leaves_a_dark_laser_held() -> None:
    printer = Guard(Process.FDM)
    printer.bridge.snapshot = replace(printer.bridge.snapshot, temperatures_c=(("E0", 200.0, 200.0),))
    printer.bridge.become(b.BridgeState.HELD)
    printer.levels["door"] = False
    printer.look_for(3)
    assert printer.bridge.calls == [], "a door asks for no more than a hold"
    printer.levels["flame"] = False
    printer.look_for(3)
    assert printer.bridge.calls == ["emergency_stop"]

    laser = Guard()
    laser.bridge.become(b.BridgeState.HELD)
    laser.levels["flame"] = False
    laser.look_for(3)
    assert laser.bridge.calls == []


def test_a_held_router_whose_spindle_turns_is_stopped_when_its_person_is_gone() -> None:
    """Its controller stops none in a hold, or it was resumed and the spindle is coming up to speed."""
    guard = Guard(Process.CNC)
    guard.bridge.snapshot = replace(guard.bridge.snapshot, spindle=9000.0)
    guard.bridge.become(b.BridgeState.HELD)
    guard.look_for(3)
    assert guard.bridge.calls == []
    guard.presence.beat(("l1",), 0)
    guard.look_for(0.2)
    assert guard.bridge.calls == ["hold"], "a resume that is under way can be taken back"
    guard.look_for(ESCALATE_AFTER_S)
    assert guard.bridge.calls == ["hold", "emergency_stop"]


# --- inputs ----------------------------------------------------------------------------------------------------------


def test_inputs_in_files(tmp_path: Path) -> None:
    adapter = FileInterlocks(tmp_path)
    assert adapter.good("l1", DOOR) is None
    for word, good in (("closed\n", True), ("open", False), ("", None), ("CLOSED", True), ("1", None)):
        (tmp_path / "l1.door").write_text(word)
        assert adapter.good("l1", DOOR) is good
    assert NoInterlocks().good("l1", DOOR) is None
    machine = machine_settings()
    assert power_permitted(machine) is True
    machine = replace(machine, power_file=tmp_path / "power")
    assert power_permitted(machine) is None
    (tmp_path / "power").write_text("on")
    assert power_permitted(machine) is True


def test_inputs_on_pins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against libgpiod's documented interface; no pin of this computer is touched."""
    levels = {5: 1, 6: 0}
    wired: dict[str, object] = {}

    class Request:
        def get_value(self, pin: int) -> int:
            if pin == 9:
                raise OSError("gone")
            return levels[pin]

    def released(pin: int) -> int:
        raise RuntimeError("the request was released")

    def request_lines(chip: str, consumer: str, config: dict[tuple[int, ...], object]) -> Request:
        wired.update(chip=chip, pins=config)
        return Request()

    gpiod, line = types.ModuleType("gpiod"), types.ModuleType("gpiod.line")
    gpiod.LineSettings = lambda **kw: kw  # type: ignore[attr-defined]
    gpiod.request_lines = request_lines  # type: ignore[attr-defined]
    line.Direction = types.SimpleNamespace(INPUT="in")  # type: ignore[attr-defined]
    line.Bias = types.SimpleNamespace(PULL_UP="up", PULL_DOWN="down")  # type: ignore[attr-defined]
    line.Value = types.SimpleNamespace(ACTIVE=1)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gpiod", gpiod)
    monkeypatch.setitem(sys.modules, "gpiod.line", line)
    high, low = InterlockInput("a", pin=5), InterlockInput("b", pin=6, active_low=True)
    adapter = GpioInterlocks("/dev/gpiochip0", (high, low, InterlockInput("c")))
    pulls = {5: {"direction": "in", "bias": "down"}, 6: {"direction": "in", "bias": "up"}}
    assert wired == {"chip": "/dev/gpiochip0", "pins": pulls}, "a broken wire is pulled to what means open"
    assert adapter.good("l1", high) is True
    assert adapter.good("l1", low) is True
    levels.update({5: 0, 6: 1})
    assert adapter.good("l1", high) is False
    assert adapter.good("l1", low) is False, "a broken wire reads high, and is open"
    assert adapter.good("l1", InterlockInput("c")) is None
    assert adapter.good("l1", InterlockInput("d", pin=9)) is None
    adapter._request.get_value = released
    assert adapter.good("l1", high) is None, "the binding's own errors are no OSError"
    with pytest.raises(ConfigError, match="one pin"):
        GpioInterlocks("/dev/gpiochip0", (high, InterlockInput("x", pin=5, active_low=True)))
    GpioInterlocks("/dev/gpiochip0", (high, replace(high, name="of the other machine")))


def test_pins_without_the_binding_are_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gpiod", None)
    with pytest.raises(ConfigError, match="libgpiod"):
        GpioInterlocks("/dev/gpiochip0", (InterlockInput("a", pin=5),))
