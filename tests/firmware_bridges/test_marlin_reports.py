"""Position reports that come unasked (M154), and prints that a person starts from the machine's own card (M27)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from firmware_bridges.bridge import BridgeState, MachineConfig, Notice, NotNow, Position, RunFinished
from firmware_bridges.marlin import MarlinBridge
from firmware_bridges.marlin_answers import Card, Ok, Unclear, Where, read
from firmware_bridges.marlin_scripts import limits_of
from firmware_bridges.printer_flow import PrinterFlow
from firmware_bridges.twins.host import TwinHost
from firmware_bridges.twins.marlin import MarlinBuild, MarlinTwin
from tests.firmware_bridges.simulated_line import Lines, SimulatedLine

MOVES = ["G21", "G90", *(f"G1 X{10 + i % 2 * 100} Y{10 + i} F1500" for i in range(40))]


def connected(**build: object) -> SimulatedLine:
    line = SimulatedLine(MarlinTwin(MarlinBuild(keep_executed=True, **build)))  # type: ignore[arg-type]
    line.connect()
    return line


def test_what_is_said_of_card_and_position_is_read_and_damage_is_not() -> None:
    assert read("SD printing byte 123/456") == Card(True)
    assert read("Not SD printing") == Card(False)
    assert read("Done printing file") == Card(False)
    for damaged in ("SD printing byte 1x3/456", "SD printing byte 123/456ok", "ot SD printing", "Done printing fileok"):
        assert isinstance(read(damaged), Unclear)
    where = "X:10.00 Y:-2.50 Z:0.30 E:1.00 Count X:800 Y:-200 Z:120"
    assert read(where) == Where(Position(10.0, -2.5, 0.3))
    assert not isinstance(read(where + "ok"), Ok)


@pytest.mark.parametrize("advanced", [True, False])
def test_the_position_follows_a_run_unasked_and_answers_for_no_line(advanced: bool, monkeypatch) -> None:
    line = connected(advanced_ok=advanced)
    assert line.twin._reports["pos"] == 1.0
    asked: list[str] = []
    made = PrinterFlow._make

    def remember(flow: PrinterFlow, number: int, text: str, mark: str):
        asked.append(text)
        return made(flow, number, text, mark)

    monkeypatch.setattr(PrinterFlow, "_make", remember)
    places: set[Position | None] = set()
    unanswered: list[int] = []
    hear = line.bridge._received

    def watched(text: str, now: float) -> None:
        flow = line.bridge._flow
        before = (len(flow.flight), flow.confirmed) if flow is not None else None
        hear(text, now)
        if flow is not None and text.startswith("X:"):
            places.add(line.bridge.session.position)
            unanswered.append((len(flow.flight), flow.confirmed) != before)

    monkeypatch.setattr(line.bridge, "_received", watched)
    line.bridge.run(Lines(MOVES))
    assert line.run_until(lambda: line.outcome is not None, 400)
    assert isinstance(line.outcome, RunFinished)
    assert len(places) > 20, "one report a second, each from another place"
    assert not any(unanswered)
    assert line.twin.executed == MOVES
    assert line.twin.resends == 0
    assert asked.count("M114") == 1, "only the finish asks"
    assert not any(text.startswith(("M154", "M155", "M27")) for text in asked)


def test_a_firmware_that_does_not_offer_it_is_not_asked_for_it() -> None:
    line = SimulatedLine(MarlinTwin())
    say = line.twin._say
    line.twin._say = lambda text: say(text.replace("AUTOREPORT_POS:1", "AUTOREPORT_POS:0"))  # type: ignore[method-assign]
    line.connect()
    assert line.twin._reports == {"temp": 2.0, "pos": 0.0, "sd": 0.0}
    assert line.twin.unknown == 0


def test_card_reports_are_told_and_cleared_by_the_firmwares_word() -> None:
    line = connected(sd_card=True, sd_reports=True)
    assert line.twin._reports["sd"] == 2.0
    line.twin.person("print_from_card", {"bytes": 1000}, line.clock.now)
    assert line.run_until(lambda: line.bridge._prints_from_card, 2.5)
    assert [e.level for e in line.events if isinstance(e, Notice) and "card" in e.text] == ["warning"]
    with pytest.raises(NotNow, match="prints from its own card"):
        line.bridge._check_home()
    assert line.run_until(lambda: not line.bridge._prints_from_card, 12)
    assert line.bridge.session.state is BridgeState.IDLE


@contextmanager
def real_threads(**build: object) -> Iterator[tuple[MarlinBridge, MarlinTwin, TwinHost]]:
    twin = MarlinTwin(MarlinBuild(keep_executed=True, **build))  # type: ignore[arg-type]
    with TwinHost(twin, speed=20) as host:
        bridge = MarlinBridge(MachineConfig(host.port, "marlin", options=(("banner_wait_s", "0.25"),)))
        bridge.connect()
        try:
            yield bridge, twin, host
        finally:
            bridge.close()


def _finishes(bridge: MarlinBridge, start: Callable[[], None]) -> bool:
    over = threading.Event()
    bridge.listen(lambda event: over.set() if isinstance(event, RunFinished) else None)
    start()
    return over.wait(20)


@pytest.mark.parametrize("reports", [True, False], ids=["M27 S2", "asked before the run"])
def test_no_run_starts_while_the_machine_prints_from_its_card(reports: bool) -> None:
    with real_threads(sd_card=True, sd_reports=reports) as (bridge, twin, host):
        program = Lines(["G21", "G90", "G1 X10 F6000"])
        host.person("print_from_card", bytes=10**9)
        with pytest.raises(NotNow, match="somebody started at the machine"):
            bridge.run(program)
        assert bridge.status().state is BridgeState.IDLE
        assert twin.executed == []
        host.person("stop_card")
        assert _finishes(bridge, lambda: bridge.run(program))
        assert twin.executed == ["G21", "G90", "G1 X10 F6000"]


def test_reports_are_off_when_the_bridge_has_gone() -> None:
    line = connected(sd_card=True, sd_reports=True)
    assert line.twin._reports == {"temp": 2.0, "pos": 1.0, "sd": 2.0}
    line.bridge.close()
    assert line.run_until(lambda: not any(line.twin._reports.values()), 2)
    assert line.twin.unknown == 0


def test_limits_are_read_from_the_settings_report() -> None:
    told = ["echo:  G21 ; (mm)", "echo:  M203 X300.00 Y300.00 Z5.00 E25.00", "  M201 X3000 Y3000 ; units/s2", "M92 X80"]
    assert limits_of(told) == (("M203", "X300.00 Y300.00 Z5.00 E25.00"), ("M201", "X3000 Y3000"))


def test_limits_in_inches_are_not_taken_for_millimetres() -> None:
    assert limits_of(["echo:  G20 ; (in)", "echo:  M203 X11.81 Y11.81"]) == ()


def test_a_bridge_knows_the_limits_of_its_machine() -> None:
    with TwinHost(MarlinTwin(), speed=20.0) as host:
        bridge = MarlinBridge(MachineConfig(port=host.port, dialect="marlin"))
        told = dict(bridge.connect().settings)
        bridge.close()
    assert {"M201", "M203", "M204", "M205"} <= told.keys()
    assert told["M203"].startswith("X300")
