"""The agent as a process, twins on pseudo-terminals, a real broker: from the offer to the machine's own last line."""

from __future__ import annotations

import hashlib
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from agents.contract import messages as m
from agents.contract.vocabulary import FailureClass
from agents.contract.vocabulary import Process as Kind
from tests.agents.peer import Peer, eventually, file_server, mosquitto
from tests.agents.processes import PROGRAM, AgentProcess, Process, Twin, ending, laser, printer, write_shop
from tests.agents.scene import offer_of

pytestmark = [pytest.mark.broker, pytest.mark.processes]


def print_of(moves: int) -> bytes:
    """A print program; 120 moves take a printer about 8 s of its own time, and heating and homing come before."""
    return (
        b"G21\nG90\nM82\nM140 S50\nM104 S200\nG28\nM190 S50\nM109 S200\nG92 E0\n"
        + b"".join(b"G1 X%d Y%d Z0.3 E%d F3000\n" % (10 + n % 50, 20 + n % 40, n + 1) for n in range(moves))
        + b"M104 S0\nM140 S0\nM107\nM84\n"
    )


PRINT = print_of(120)
CUT = (
    b"G21\nG90\nG54\nM4 S0\nG0 X5 Y5\n"
    + b"".join(b"G1 X%d Y%d S400 F1200\n" % (5 + 40 * (n % 2), 5 + n) for n in range(40))
    + b"M5\nG0 X0 Y0\n"
)


class Shop:
    """Broker, scheduler peer, files, two twins and the agent."""

    def __init__(self, stack: ExitStack, folder: Path, mosquitto_program: Path, *, speed: float = 60.0) -> None:
        (folder / "broker").mkdir()
        (folder / "files").mkdir()
        self.folder = folder
        self.broker = stack.enter_context(mosquitto(mosquitto_program, folder / "broker"))
        self.base = stack.enter_context(file_server(folder / "files"))
        self.printer = Twin("marlin", folder, "printer", speed=speed)
        stack.enter_context(ending(self.printer))
        self.laser = Twin("grbl", folder, "laser", speed=speed, more=("--profile", "laser", "--setting", "$32=1"))
        stack.enter_context(ending(self.laser))
        self.peer = Peer(self.broker.port)
        stack.callback(self.peer.close)
        machines = printer("m1", self.printer.port) + laser("l1", self.laser.port)
        self.config, self.port = write_shop(folder, self.broker.port, machines)
        self._stack = stack
        self.agent = self.begin()

    def begin(self) -> AgentProcess:
        holdings = self.peer.kinds().count("Holdings")
        self.agent = AgentProcess(self.config, self.port, self.folder / "agent.log")
        self._stack.enter_context(ending(self.agent))
        eventually(lambda: self.peer.kinds().count("Holdings") > holdings, what="the agent said what it holds")
        for name in ("m1", "l1"):
            eventually(lambda n=name: self.agent.machine(n)["bridge_state"] not in {"offline", "unidentified"})
        return self.agent

    def offer(self, job: str, program: bytes, machine: str, process: Kind, material: str) -> m.Offer:
        name = hashlib.sha256(program).hexdigest()
        (self.folder / "files" / name).write_bytes(program)
        offer = offer_of(
            job,
            f"o-{job}",
            machine=machine,
            program=program,
            process=process,
            start=datetime.now(UTC),
            url=f"{self.base}/{name}",
        )
        need = m.MaterialNeed(material=material)
        offer = structs.replace(offer, ticket=structs.replace(offer.ticket, material=need))
        self.peer.offer(offer)
        return offer

    def offer_again(self, job: str, attempt: int) -> None:
        """The same job, a new attempt under a new offer."""
        first = self.peer.offers[f"o-{job}"]
        self.peer.offer(structs.replace(first, offer=f"o-{job}-{attempt}", attempt=attempt))

    def print_it(self, job: str) -> None:
        self.offer(job, PRINT, "m1", Kind.FDM, "PLA")

    def cut_it(self, job: str, program: bytes = CUT) -> None:
        self.offer(job, program, "l1", Kind.LASER, "plywood")


@pytest.fixture
def shop(real_part: Callable[[str], Path], tmp_path: Path) -> Any:
    with ExitStack() as stack:
        yield Shop(stack, tmp_path, real_part("mosquitto"))


def test_a_print_from_offer_to_finish(shop: Shop) -> None:
    shop.print_it("j1")
    shop.peer.await_kind(m.GatesShut, "j1")
    before = shop.printer.state()
    assert before["heaters"]["E0"][1] == 0, "nothing is heated before the bed is confirmed"
    assert before["position"] == [0.0, 0.0, 0.0, 0.0] or not before["homed"]
    shop.agent.post("/api/machines/m1/bed-clear")
    finished = shop.peer.await_kind(m.Finished, "j1", within_s=60)
    assert finished.lines == PRINT.count(b"\n")
    told = [kind for kind in shop.peer.kinds("j1") if kind not in {"Progressed", "GatesShut"}]
    assert told == ["Claimed", "Staged", "Ready", "StartIntended", "Running", "Finished"]
    assert shop.agent.machine("m1")["state"] == "occupied"
    assert shop.printer.state()["position"][:2] == [29.0, 59.0], "the machine's own record: where the toolpath ends"
    assert shop.agent.post("/api/jobs/j1/inspect", good=1, rejected=0) == "j1: 1 good, 0 rejected"
    shop.peer.await_kind(m.Inspected, "j1")
    assert shop.agent.end() == 0


def prepared_laser(shop: Shop, job: str, *, for_s: float = 60.0) -> None:
    """Everything a person does before a cut."""
    shop.agent.post("/api/machines/l1/bed-clear")
    shop.agent.post("/api/presence", for_s=for_s, machines=["l1"])
    shop.agent.post_when_possible(f"/api/jobs/{job}/work-card-confirmed")


def test_a_cut_needs_card_and_person_and_ends_dark(shop: Shop) -> None:
    shop.cut_it("c1")
    shut = shop.peer.await_kind(m.GatesShut, "c1")
    assert {"bed_clear", "presence", "work_card"} <= {gate.gate for gate in shut.gates if not gate.open}
    assert shop.laser.state()["consumed"] == 0
    prepared_laser(shop, "c1")
    shop.peer.await_kind(m.Finished, "c1", within_s=60)
    after = shop.laser.state()
    assert after["spindle"]["power"] == 0
    assert after["position"][:2] == [0.0, 0.0]
    assert after["stationary_burn_ms"] < 50


def test_a_person_who_goes_away_stops_the_beam_within_a_second(
    real_part: Callable[[str], Path], tmp_path: Path
) -> None:
    with ExitStack() as stack:
        shop = Shop(stack, tmp_path, real_part("mosquitto"), speed=1.0)
        long_cut = CUT.replace(b"F1200", b"F300")
        shop.cut_it("c1", long_cut)
        shop.peer.await_kind(m.GatesShut, "c1")
        prepared_laser(shop, "c1")
        shop.peer.await_kind(m.Running, "c1", within_s=30)
        eventually(lambda: shop.laser.state()["spindle"]["power"] > 0, what="the beam is on")
        shop.broker.kill()
        left = time.monotonic()
        shop.agent.post("/api/presence", for_s=0, machines=["l1"])
        eventually(lambda: shop.laser.state()["spindle"]["power"] == 0, within_s=3, what="the beam is off")
        assert time.monotonic() - left <= 1.0
        eventually(lambda: shop.agent.machine("l1")["bridge_state"] == "held")
        at = shop.laser.state()["position"]
        shop.agent.post("/api/presence", for_s=60, machines=["l1"])
        with pytest.raises(AssertionError):
            eventually(lambda: shop.laser.state()["position"] != at, within_s=1.5)
        shop.agent.post("/api/machines/l1/resume")
        eventually(lambda: shop.laser.state()["position"] != at, within_s=5, what="it goes on by a person's word")
        shop.agent.post("/api/machines/l1/cancel")
        eventually(lambda: shop.agent.machine("l1")["bridge_state"] == "idle", what="cancelled")
        assert shop.laser.state()["spindle"]["power"] == 0


def test_an_emergency_stop_works_with_the_broker_dead_and_the_buffers_full(shop: Shop) -> None:
    shop.printer.ask(cmd="speed", speed=1)
    shop.agent.post("/api/machines/m1/bed-clear")
    shop.print_it("j1")
    shop.peer.await_kind(m.Running, "j1")
    shop.broker.kill()
    shop.agent.post("/api/machines/m1/stop")
    eventually(lambda: shop.printer.state()["killed"], within_s=2, what="M112 arrived")
    assert shop.printer.state()["heaters"]["E0"][1] == 0
    eventually(lambda: [job["state"] for job in shop.agent.machine("m1")["jobs"]] == ["failed"])
    shop.broker.start()
    failed = shop.peer.await_kind(m.Failed, "j1", within_s=30)
    assert failed.failure is FailureClass.EMERGENCY_STOP


def test_kill_9_in_mid_print_ends_the_attempt_and_nothing_moves_until_a_person_rearms(shop: Shop) -> None:
    shop.printer.ask(cmd="speed", speed=3)
    shop.agent.post("/api/machines/m1/bed-clear")
    shop.print_it("j1")
    shop.peer.await_kind(m.Running, "j1")
    eventually(lambda: shop.printer.state()["heaters"]["bed"][1] == 50)
    shop.agent.kill()
    shop.printer.ask(cmd="speed", speed=60)
    shop.begin()
    failed = shop.peer.await_kind(m.Failed, "j1")
    assert failed.failure is FailureClass.AGENT_RESTARTED
    eventually(lambda: shop.printer.state()["heaters"]["bed"][1] == 0, what="the heaters are off")
    eventually(lambda: shop.agent.machine("m1")["bridge_state"] == "idle")
    at = shop.printer.state()["position"]
    shop.agent.post("/api/machines/m1/bed-clear")
    shop.print_it("j2")
    shut = shop.peer.await_kind(m.GatesShut, "j2")
    assert [gate.gate for gate in shut.gates if not gate.open] == ["armed"]
    assert shop.printer.state()["position"] == at
    shop.agent.post("/api/machines/m1/rearm")
    shop.peer.await_kind(m.Finished, "j2", within_s=60)
    assert shop.peer.kinds("j1").count("Running") == 1


def test_a_file_alone_without_any_broker(tmp_path: Path) -> None:
    twin = Twin("marlin", tmp_path, "printer")
    with ending(twin):
        config, port = write_shop(tmp_path, None, printer("m1", twin.port))
        program = tmp_path / "part.gcode"
        program.write_bytes(PRINT)
        run = [*PROGRAM, "run", str(program), "--machine", "m1", "--config", str(config)]
        alone = Process(run, tmp_path / "run.log")
        with ending(alone):
            agent = AgentProcess.at(alone, port, tmp_path / "token")
            eventually(agent.answers, what=f"the page is there: {alone.said()}")
            eventually(lambda: agent.machine("m1")["bridge_state"] == "idle")
            agent.post("/api/machines/m1/bed-clear")
            assert alone.process.wait(timeout=60) == 0, alone.said()
        assert "finished" in alone.said()
        assert twin.state()["position"][:2] == [29.0, 59.0]


def test_a_terminal_that_goes_away_in_mid_print_ends_the_run_with_everything_off(tmp_path: Path) -> None:
    """SIGHUP's own deed is to kill: the printer would stay at its temperature with nobody to cool it."""
    twin = Twin("marlin", tmp_path, "printer", speed=5.0)
    with ending(twin):
        config, port = write_shop(tmp_path, None, printer("m1", twin.port))
        program = tmp_path / "part.gcode"
        endless = print_of(24_000)  # five minutes on this twin: it cannot end before the test has struck, or given up
        program.write_bytes(endless.replace(b"M190 S50\nM109 S200\n", b""))
        run = [*PROGRAM, "run", str(program), "--machine", "m1", "--config", str(config)]
        said = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # tests under nohup ignore it, and so would the agent
        try:
            alone = Process(run, tmp_path / "run.log")
        finally:
            signal.signal(signal.SIGHUP, said)
        with ending(alone):
            agent = AgentProcess.at(alone, port, tmp_path / "token")
            eventually(agent.answers, what=f"the page is there: {alone.said()}")
            eventually(lambda: agent.machine("m1")["bridge_state"] == "idle")
            agent.post("/api/machines/m1/bed-clear")
            eventually(lambda: agent.machine("m1")["line"] > 12, what="it prints")
            assert twin.state()["heaters"]["E0"][1] == 200.0
            alone.process.send_signal(signal.SIGHUP)
            assert alone.process.wait(timeout=60) == 1, alone.said()
        assert "cancelled" in alone.said()
        assert all(target == 0 for _, target in twin.state()["heaters"].values())
