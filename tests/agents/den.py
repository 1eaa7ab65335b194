"""One agent with one scripted printer, without threads: it can die at any point, and its files can be put back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from agents.agent import Agent
from agents.config import MqttSettings
from agents.contract import messages as m
from agents.contract.envelope import decode, encode, wrap
from agents.hands import Hands
from agents.lease import LeaseState
from agents.spool import Lease, MachineFlags
from firmware_bridges import bridge as b
from tests.agents.scene import PROGRAM, FakeClock, ScriptedBridge, machine_settings, shop_config
from tests.faults.shop import back_up

HOUR_LONG = PROGRAM + b";TIME:3600\n"


class AtOnce:
    """The fetching threads: nothing waits."""

    def submit(self, work: Callable[[Lease], None], lease: Lease) -> None:
        work(lease)


class Line:
    """A line to a broker that takes everything."""

    is_up, protocol = True, "5"

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, qos: int = 1) -> bool:
        return True


class Den:
    """`runs` counts the calls of the machine over all lives of the agent."""

    def __init__(self, folder: Path, *, scheduler: bool = False) -> None:
        self.folder, self.clock = folder / "data", FakeClock()
        mqtt = MqttSettings(host="broker.invalid") if scheduler else None
        self.config = shop_config(self.folder, machine_settings(), mqtt=mqtt)
        self.runs = 0
        self.before_run: Callable[[], None] = lambda: None
        self.begin()

    def begin(self) -> None:
        """Start the agent on what its folder holds; the machine stands, and nobody remembers anything of it."""
        self.bridge = ScriptedBridge()
        run = self.bridge.run

        def counted(toolpath: b.Toolpath, from_line: int = 1) -> None:
            self.before_run()
            self.runs += 1
            run(toolpath, from_line)

        self.bridge.run = counted  # type: ignore[method-assign]
        self.agent = Agent(self.config, lambda config: self.bridge, clock=self.clock)
        self.agent._fetchers = cast("Any", AtOnce())
        if self.agent.line is not None:
            self.agent.line = cast("Any", Line())
        self.hands, self.supervisor = Hands(self.agent), self.agent.supervisors["m1"]
        self.turn()

    def die(self) -> None:
        """kill -9."""
        self.agent.spool._db.close()

    def turn(self) -> None:
        for _ in range(4):
            self.supervisor.catch_up()

    def queue(self, program: bytes = PROGRAM, title: str = "a secret vase") -> str:
        job = self.hands.queue_own("m1", program, title)
        self.turn()
        return job

    def clear(self) -> None:
        self.hands.bed_clear("m1")
        self.turn()

    def finish(self) -> None:
        self.bridge.first_line()
        self.turn()
        self.bridge.finish()
        self.turn()

    def make(self, job: str = "") -> str:
        """An own job from the queue to a clear bed."""
        job = job or self.queue()
        if not self.flags().bed_clear:
            self.clear()
        self.finish()
        self.clear()
        return job

    # what is known
    def flags(self) -> MachineFlags:
        return self.agent.spool.flags("m1")

    def state(self, job: str) -> LeaseState:
        lease = self.agent.spool.lease_of_job(job)
        assert lease is not None
        return lease.state

    def shut(self) -> list[str]:
        return [gate.gate for gate in self.supervisor.gates if not gate.open]

    def told(self) -> list[m.OwnWork]:
        rows = self.agent.spool.rows("SELECT body FROM journal ORDER BY seq")
        return [body for row in rows if isinstance(body := decode(row[0]).body, m.OwnWork)]

    def payloads(self) -> bytes:
        return b"".join(row[0] for row in self.agent.spool.rows("SELECT body FROM journal"))

    # the scheduler
    def acknowledge(self, upto: int | None = None, used: int | None = None) -> None:
        """The scheduler committed up to a number; `used`: a number that it knows as another event's."""
        refused = () if used is None else (m.RefusedEvent(seq=used, why=f"number {used} {m.NUMBER_USED}"),)
        for _ in range(2):  # what comes behind the holdings is told once they are acknowledged
            while self.agent.teller.pump() == 0.0:
                pass
            ack = m.JournalAck(upto=self.agent.teller.told if upto is None else upto, refused=refused)
            message = wrap(ack, sender="scheduler/main", now=self.clock.now())
            assert self.agent._received("inbox", encode(message))
            self.turn()
            if upto is not None:
                return

    def hear(self, *bodies: m.InboxMessage) -> None:
        for body in bodies:
            message = wrap(body, sender="scheduler/main", now=self.clock.now())
            assert self.agent._received("inbox", encode(message))
        self.turn()

    # backups
    def copy(self, name: str, *, mark: bool = False) -> None:
        """A copy of the spool alone, as `sqlite3 .backup` makes one; with `mark` of the mark, too."""
        back_up(self.folder / "agent.sqlite", self.folder.parent / f"{name}.sqlite")
        if mark:
            shutil.copy(self.folder / "agent.mark", self.folder.parent / f"{name}.mark")

    def put_back(self, name: str, *, mark: bool = False) -> None:
        """kill -9; the copy is put in place, and started."""
        self.die()
        for leftover in self.folder.glob("agent.sqlite*"):
            leftover.unlink()
        shutil.copy(self.folder.parent / f"{name}.sqlite", self.folder / "agent.sqlite")
        if mark:
            shutil.copy(self.folder.parent / f"{name}.mark", self.folder / "agent.mark")
        self.begin()

    def rearm(self) -> None:
        """A person looked at the machine, loaded it and cleared its bed."""
        self.hands.rearm("m1")
        self.hands.load("m1", self.config.machines[0].description.materials)
        self.clear()

    def set_clear_behind_its_back(self) -> None:
        """As if the old copy had called the bed clear."""
        self.agent.spool.put_flags("m1", replace(self.flags(), bed_clear=True))
        self.turn()

    def without_mark(self) -> None:
        """The mark cannot be written any more."""
        mark = self.folder / "agent.mark"
        mark.unlink(missing_ok=True)
        mark.mkdir()

    def settings(self, **changes: Any) -> None:
        self.config = replace(self.config, **changes)
