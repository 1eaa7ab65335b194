"""The agent as a process, twins on pseudo-terminals, a real broker: from the offer to the machine's own last line."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from agents.contract import messages as m
from agents.contract.vocabulary import Process
from tests.agents.peer import Peer, eventually, file_server, mosquitto
from tests.agents.processes import AgentProcess, Twin, ending, laser, printer, write_shop
from tests.agents.scene import offer_of

pytestmark = [pytest.mark.broker, pytest.mark.processes]

PRINT = (
    b"G21\nG90\nM82\nM140 S50\nM104 S200\nG28\nM190 S50\nM109 S200\nG92 E0\n"
    + b"".join(b"G1 X%d Y%d Z0.3 E%d F3000\n" % (10 + n % 50, 20 + n % 40, n + 1) for n in range(120))
    + b"M104 S0\nM140 S0\nM107\nM84\n"
)
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

    def offer(self, job: str, program: bytes, machine: str, process: Process, material: str) -> m.Offer:
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

    def print_it(self, job: str) -> None:
        self.offer(job, PRINT, "m1", Process.FDM, "PLA")

    def cut_it(self, job: str, program: bytes = CUT) -> None:
        self.offer(job, program, "l1", Process.LASER, "plywood")


@pytest.fixture
def shop(real_part: Callable[[str], Path], tmp_path: Path) -> Any:
    with ExitStack() as stack:
        yield Shop(stack, tmp_path, real_part("mosquitto"))


def test_a_print_from_offer_to_finish(shop: Shop) -> None:
    shop.print_it("j1")
    shop.peer.await_kind(m.GatesShut, "j1")
    before = shop.printer.state()
    assert before["consumed"]["lines"] == 0, "not one line of the toolpath before the bed is confirmed"
    shop.agent.post("/api/machines/m1/bed-clear")
    finished = shop.peer.await_kind(m.Finished, "j1", within_s=60)
    assert finished.lines == PRINT.count(b"\n")
    told = [kind for kind in shop.peer.kinds("j1") if kind not in {"Progressed", "GatesShut"}]
    assert told == ["Claimed", "Staged", "Ready", "StartIntended", "Running", "Finished"]
    assert shop.agent.machine("m1")["state"] == "occupied"
    assert shop.agent.post("/api/jobs/j1/inspect", good=1, rejected=0) == "j1: 1 good, 0 rejected"
    shop.peer.await_kind(m.Inspected, "j1")
    assert shop.agent.end() == 0
