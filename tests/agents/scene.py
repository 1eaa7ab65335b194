"""A shop for tests: settable clock, scripted bridge, and one supervisor with its inbox, driven step by step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agents.config import AgentConfig, CacheSettings, HttpSettings, InterlockInput, MachineSettings, MqttSettings
from agents.contract import messages as m
from agents.contract.envelope import Envelope, decode, encode, wrap
from agents.contract.vocabulary import NeedClass, Process, Ring
from agents.effects import Acknowledged, Effect, Look, Tell
from agents.inbox import Inbox
from agents.inputs import Fetched, Wake
from agents.machine import Supervisor
from agents.policy import MachineView, Policy
from agents.safety import Presence
from agents.spool import Lease, MachineFlags, Spool
from agents.toolpaths import ToolpathStore, problems_for
from firmware_bridges import bridge as b

T0 = datetime(2030, 5, 6, 12, 0, tzinfo=UTC)
PROGRAM = b"G21\nG90\nM104 S200\nG28\nG1 X10 Y10 Z0.3 F3000\nG1 X20 Y10\nG1 X20 Y20\nM104 S0\nM140 S0\nM107\n"
LASER_PROGRAM = b"G21\nG90\nM4 S0\nG0 X1 Y1\nG1 X50 Y1 S500 F1000\nG1 X50 Y50\nM5\n"


class FakeClock:
    """Time that goes when it is told to."""

    def __init__(self) -> None:
        self.wall, self.mono = T0, 1000.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    def go(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.mono += seconds


class ScriptedBridge:
    """A bridge that does what the test says the machine does, and counts what it was asked."""

    def __init__(self, dialect: str = "marlin") -> None:
        self.runs: list[b.Toolpath] = []
        self.from_lines: list[int] = []
        self.calls: list[str] = []
        self.deny: b.BridgeError | None = None
        self.identity = b.Identity(
            dialect, "Scripted", "1", "f", frozenset(b.Capability) - {b.Capability.HUMAN_CONFIRMED}, (("$32", "1"),)
        )
        self.snapshot = b.Status(b.BridgeState.IDLE, identity=self.identity, homed=True)
        self._listeners: list[b.Listener] = []

    def listen(self, listener: b.Listener) -> None:
        self._listeners.append(listener)

    def say(self, event: b.Event) -> None:
        for listener in self._listeners:
            listener(event)

    def become(self, state: b.BridgeState, why: str = "") -> None:
        was = self.snapshot.state
        self.snapshot = replace(self.snapshot, state=state, why=why)
        if was is not state:
            self.say(b.StateChanged(state, was, why))

    def connect(self) -> b.Identity:
        self.calls.append("connect")
        return self.identity

    def run(self, toolpath: b.Toolpath, from_line: int = 1) -> None:
        if self.deny is not None:
            raise self.deny
        if self.snapshot.state is not b.BridgeState.IDLE:
            raise b.NotNow(f"the machine is {self.snapshot.state}")
        self.runs.append(toolpath)
        self.from_lines.append(from_line)
        self.snapshot = replace(self.snapshot, total_lines=toolpath.total_lines, line=0)
        self.become(b.BridgeState.STARTING)

    def first_line(self) -> None:
        self.snapshot = replace(self.snapshot, line=1)
        self.become(b.BridgeState.RUNNING)
        self.say(b.RunStarted(1))

    def progress(self, line: int) -> None:
        self.snapshot = replace(self.snapshot, line=line)
        self.say(b.Progress(b.Checkpoint(line), self.snapshot.total_lines))

    def finish(self) -> None:
        lines = self.snapshot.total_lines
        self.progress(lines)
        self.become(b.BridgeState.IDLE)
        self.say(b.RunFinished(lines, b.Position(20.0, 20.0, 0.3)))

    def fail(self, failure: b.Failure, into: b.BridgeState) -> None:
        line = self.snapshot.line
        self.become(into, failure.value)
        self.say(b.RunFailed(failure, b.Checkpoint(line), f"it failed: {failure}"))

    def hold(self) -> None:
        self.calls.append("hold")
        if self.snapshot.state not in {b.BridgeState.RUNNING, b.BridgeState.STARTING}:
            raise b.NotNow(f"the machine is {self.snapshot.state}")
        self.become(b.BridgeState.HOLDING)

    def stands(self) -> None:
        self.become(b.BridgeState.HELD)

    def resume(self) -> None:
        self.calls.append("resume")
        self.become(b.BridgeState.RUNNING)

    def cancel(self) -> None:
        self.calls.append("cancel")
        if self.snapshot.state not in b.BUSY_STATES:
            raise b.NotNow(f"the machine is {self.snapshot.state}")
        self.become(b.BridgeState.CANCELLING)

    def cancelled(self) -> None:
        self.become(b.BridgeState.IDLE)
        self.say(b.RunCancelled(b.Checkpoint(self.snapshot.line)))

    def emergency_stop(self) -> None:
        self.calls.append("emergency_stop")
        if self.snapshot.state in b.BUSY_STATES:
            self.fail(b.Failure.EMERGENCY_STOP, b.BridgeState.FAULT)

    def rearm(self) -> None:
        self.calls.append("rearm")
        self.become(b.BridgeState.IDLE)

    def home(self) -> None:
        self.calls.append("home")
        self.snapshot = replace(self.snapshot, homed=True)

    def status(self) -> b.Status:
        return self.snapshot

    def close(self) -> None:
        self.calls.append("close")


class Inputs:
    """Interlocks that the test sets."""

    def __init__(self) -> None:
        self.levels: dict[str, bool | None] = {}

    def good(self, machine: str, interlock: InterlockInput) -> bool | None:
        return self.levels.get(interlock.name)


def machine_settings(
    name: str = "m1", process: Process = Process.FDM, interlocks: tuple[InterlockInput, ...] = ()
) -> MachineSettings:
    """A machine as a shop's file would declare it."""
    dialect = "marlin" if process is Process.FDM else "grbl"
    attended = process in {Process.LASER, Process.CNC}
    description = m.MachineDescription(
        machine=name,
        name=name,
        process=process,
        dialect=dialect,
        model="scripted",
        envelope_mm=(200.0, 200.0, 180.0),
        materials=(m.LoadedMaterial(material="PLA", remaining_g=500.0),),
        attended=attended,
    )
    return MachineSettings(
        description,
        b.MachineConfig("/dev/null", dialect, process=process.value),
        requires_homing=attended,
        interlocks=interlocks,
    )


def shop_config(folder: Path, *machines: MachineSettings, mqtt: MqttSettings | None = None) -> AgentConfig:
    """A shop with these machines."""
    return AgentConfig(
        shop="alder",
        agent="pi1",
        ring=Ring.NEIGHBOURHOOD,
        data_dir=folder,
        policy=None,
        mqtt=mqtt or MqttSettings(),
        http=HttpSettings(port=0, token_file=folder / "token"),
        cache=CacheSettings(),
        machines=machines or (machine_settings(),),
    )


def offer_of(
    job: str = "j1",
    offer: str = "o1",
    *,
    machine: str = "m1",
    program: bytes = PROGRAM,
    process: Process = Process.FDM,
    attempt: int = 1,
    start: datetime = T0,
    minutes: float = 30.0,
    url: str = "http://127.0.0.1:9/nothing",
) -> m.Offer:
    """An offer for a program."""
    ticket = m.JobTicket(
        job=job,
        order="order1",
        title=f"job {job}",
        process=process,
        material=m.MaterialNeed(material="PLA", amount_g=12.0),
        need_class=NeedClass.COMMONS,
        ring=Ring.NEIGHBOURHOOD,
        licence="CERN-OHL-S-2.0",
        work_card="clamp it" if process is not Process.FDM else "",
    )
    toolpath = m.ToolpathRef(
        sha256=hashlib.sha256(program).hexdigest(),
        size_bytes=len(program),
        dialect="marlin" if process is Process.FDM else "grbl",
        urls=(url,),
        duration_s=60.0,
        lines=program.count(b"\n"),
        bounds_mm=(0, 0, 0, 20, 20, 1),
    )
    return m.Offer(
        offer=offer,
        attempt=attempt,
        machine=machine,
        ticket=ticket,
        toolpath=toolpath,
        planned_start=start,
        planned_finish=start + timedelta(minutes=minutes * 0.8),
        finish_p90=start + timedelta(minutes=minutes),
    )


def grant_of(offer: m.Offer, fence: int = 1, lease: str = "", *, start_by: datetime | None = None) -> m.Grant:
    """The grant that belongs to an offer."""
    return m.Grant(
        lease=lease or f"lease-{offer.ticket.job}-{fence}",
        offer=offer.offer,
        job=offer.ticket.job,
        attempt=offer.attempt,
        fence=fence,
        machine=offer.machine,
        start_by=start_by or offer.planned_start + timedelta(hours=2),
    )


class Scene:
    """One agent's core without threads: messages in by `hear`, time by `clock.go`, the machine by `bridge`."""

    def __init__(
        self,
        folder: Path,
        machine: MachineSettings | None = None,
        *,
        clock: FakeClock | None = None,
        policy: Callable[[], Policy] = Policy,
        program: bytes = PROGRAM,
    ) -> None:
        self.machine = machine or machine_settings()
        self.config = shop_config(folder, self.machine)
        self.clock = clock or FakeClock()
        self.spool = Spool(folder / "agent.sqlite", sender=self.config.sender)
        self.store = ToolpathStore(folder / "toolpaths", self.spool, self.config.cache, self.clock)
        self.store.put(program)
        self.presence = Presence(self.clock)
        self.inputs = Inputs()
        self.bridge = ScriptedBridge(self.machine.description.dialect)
        self._policy = policy
        self.effects: list[Effect] = []
        self.told = 10**9
        self.supervisor = Supervisor(
            self.machine,
            self.bridge,
            spool=self.spool,
            store=self.store,
            presence=self.presence,
            interlocks=self.inputs,
            shop=self,
            clock=self.clock,
        )
        self.inbox = Inbox(
            self.config,
            self.spool,
            policy=policy,
            view=lambda name: MachineView(self.machine.description),
            told=lambda: min(self.told, self.spool.last_seq),
            clock=self.clock,
            boot="boot",
        )
        self.supervisor.recover()
        self._copies = 0

    # inputs.Shop
    def fetch(self, lease: Lease) -> None:
        path = self.store.path(lease.toolpath.sha256)
        problems = problems_for(path, lease.toolpath, self.machine) if path.exists() else ("not here",)
        self.supervisor.post(Fetched(lease.lease, problems))

    def journal_grew(self) -> None: ...

    def memory_compared(self) -> bool:
        return True

    def machine_changed(self, machine: str) -> None: ...

    def policy(self) -> Policy:
        return self._policy()

    # the network
    def message(self, body: m.InboxMessage, **options: object) -> bytes:
        envelope = wrap(body, sender="scheduler/main", now=self.clock.now(), **options)  # type: ignore[arg-type]
        return encode(envelope)

    def hear(self, body: m.InboxMessage, **options: object) -> tuple[Effect, ...]:
        """A message comes in, and everything that follows from it happens."""
        return self.hear_bytes(self.message(body, **options))

    def hear_bytes(self, payload: bytes) -> tuple[Effect, ...]:
        effects = self.inbox.receive(payload)
        self.effects += effects
        for effect in effects:
            match effect:
                case Tell(_, item):
                    self.supervisor.post(item)
                case Look() | Acknowledged():
                    self.supervisor.post(Wake())
                case _:
                    pass
        self.turn()
        return effects

    def turn(self) -> None:
        """Let the supervisor do all that is due."""
        for _ in range(4):
            self.supervisor.catch_up()

    def acknowledge(self, refused: tuple[m.RefusedEvent, ...] = ()) -> None:
        self.hear(m.JournalAck(upto=self.spool.last_seq, refused=refused))

    # the person
    def set_flags(self, **changes: object) -> None:
        flags: MachineFlags = self.spool.flags(self.machine.name)
        self.spool.put_flags(self.machine.name, replace(flags, **changes))  # type: ignore[arg-type]
        self.turn()

    # what was told
    def events(self) -> list[Envelope]:
        rows = self.spool._db.execute("SELECT body FROM journal ORDER BY seq").fetchall()
        return [decode(row[0]) for row in rows]

    def kinds(self) -> list[str]:
        return [type(event.body).__name__ for event in self.events()]

    def claim_and_grant(self, offer: m.Offer | None = None, fence: int = 1) -> m.Offer:
        """From the offer to a staged (or ready, or intended) lease, depending on the gates."""
        offer = offer or offer_of()
        self.hear(offer)
        self.hear(grant_of(offer, fence))
        return offer

    def close(self) -> None:
        self.spool.close()
