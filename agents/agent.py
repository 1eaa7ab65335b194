"""The agent: wires spool, policy, inbox, supervisors, watch, broker and page together, and begins and ends them.

The thinking is in inbox.py, lease.py, machine.py, starting.py, policy.py and safety.py; here it is only connected.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from agents import effects as e
from agents.board_room import BoardRoom
from agents.clock import Clock, SystemClock
from agents.config import AgentConfig, MachineSettings
from agents.contract import topics
from agents.contract.envelope import RefusedMessage
from agents.contract.messages import Telemetry
from agents.doubt import GIVEN_BACK, compared, put_in_doubt
from agents.fetching import Fetching
from agents.forgetting import LOOK_EVERY, forget, forget_told
from agents.identity import keep_name
from agents.inbox import Inbox
from agents.inputs import Asked, Wake
from agents.interlocks import Interlocks, open_interlocks
from agents.lease import LeaseEvent
from agents.machine import Supervisor
from agents.machine_threads import MachineThreads
from agents.machine_views import MachineViews
from agents.mqtt import Line, MqttLine
from agents.networks import Around, FurtherNetwork
from agents.policy import Policy, PolicyFile
from agents.publishing import Publisher
from agents.removed import close_leases, note_machines
from agents.reporting import Reporting
from agents.safe_down import close_all, safe_down
from agents.safety import Presence, Watch, Watched
from agents.spool import Lease, Spool, SpoolFull
from agents.telemetry import TelemetryLoop, reading
from agents.teller import Teller
from agents.toolpaths import ToolpathStore
from firmware_bridges.bridge import Bridge, WrongMachine
from firmware_bridges.bridge import MachineConfig as BridgeConfig
from firmware_bridges.checkpoint import read_checkpoint

_log = logging.getLogger(__name__)

OpenBridge = Callable[[BridgeConfig], Bridge]
_FETCHERS_A_MACHINE: Final = 4
_FORGET_EVERY_S: Final = 3600.0
#: While there is more to forget, so long between two transactions of it.
_FORGET_ON_S: Final = 1.0
#: Own jobs wait so long after a start for the scheduler to say whether this memory is an old copy; then they go on.
_COMPARED_WITHIN_S: Final = 60.0


class Agent:
    """One shop's agent. `start`, then `end`; everything between happens on its own threads."""

    def __init__(self, config: AgentConfig, open_bridge: OpenBridge, *, clock: Clock | None = None) -> None:
        """Open the spool, close what a crash left open, build the bridges (not connected). Raises as those do."""
        self.config = config
        self.clock = clock or SystemClock()
        self._open_bridge = open_bridge
        self.boot = uuid.uuid4().hex
        self.spool = Spool(config.data_dir / "agent.sqlite", sender=config.sender)
        self.policy_file = PolicyFile(config.policy, config.machine_names)
        self.presence = Presence(self.clock)
        keep_name(self.spool)
        self._removed = note_machines(self.spool, [machine.name for machine in config.machines])
        self.store = ToolpathStore(config.data_dir / "toolpaths", self.spool, config.cache, self.clock)
        self.interlocks: Interlocks = open_interlocks(config)
        self.supervisors = {machine.name: self._supervisor(machine, open_bridge) for machine in config.machines}
        self.publisher = Publisher(config, self.clock, self.boot, lambda: self.line)
        self.views = MachineViews(
            config,
            self.spool,
            self.presence,
            self.clock,
            supervisors=self.supervisors,
            policy=self.policy,
        )
        self.reporting = Reporting(self.supervisors, self.views.report, self.publisher.report, self.clock)
        self.inbox = Inbox(
            config,
            self.spool,
            policy=self.policy,
            view=self.views.view,
            told=lambda: self.teller.told,
            clock=self.clock,
            boot=self.boot,
        )
        self.watch = Watch(self.presence, self.clock, tuple(self._watched(s) for s in self.supervisors.values()))
        self.board = BoardRoom(
            config,
            self.spool,
            self.store,
            self.clock,
            self.inbox,
            line=lambda: self.line,
            machines=self.views.own_machines,
            policy=self.policy,
            tell=lambda machine, item: self.supervisors[machine].post(item),
            effect=self._carry_out,
            journal_grew=lambda: self.teller.grew(),
        )
        self.line = MqttLine(config.mqtt, self._line()) if config.mqtt.host else None
        self.teller = Teller(self.spool, self.publisher.journal, self.clock)
        around = Around(self.policy, self.views.view, self._carry_out, self.views.report)
        self.networks = tuple(
            FurtherNetwork(config, one, self.spool, self.clock, self.boot, around) for one in config.networks
        )
        self.telemetry = TelemetryLoop(config.telemetry_every_s, self._readings, self.publisher.telemetry)
        # More threads than transfers at a time: most of those that wait for a dead server only wait.
        fetchers = max(config.cache.parallel, _FETCHERS_A_MACHINE * len(config.machines))
        self._fetchers = ThreadPoolExecutor(fetchers, thread_name_prefix="fetch")
        self._began = self.clock.monotonic()
        self._ending = threading.Event()
        self._fetching = Fetching(self.store, self.spool, self.supervisors, self._ending)
        self.machine_threads = MachineThreads(
            config.shop, self.supervisors, lambda one: self._connect(one), self.clock, self._ending
        )
        self._threads: list[threading.Thread] = []
        if self.spool.deeds.old_copy:
            put_in_doubt(self.spool, self.supervisors)
        forget(self.spool, has_scheduler=self.line is not None)
        close_leases(self.spool, self.supervisors, self.clock.now())
        for supervisor in self.supervisors.values():
            supervisor.recover(read_checkpoint(config.data_dir / f"{supervisor.name}.checkpoint"))
        if self.line is not None:
            self.teller.open_with(self.inbox.say_holdings(self.clock.now()))
        self.spool.prune(self.clock.now())

    def _supervisor(self, machine: MachineSettings, open_bridge: OpenBridge) -> Supervisor:
        return Supervisor(
            machine,
            open_bridge(self._bridge_config(machine)),
            spool=self.spool,
            store=self.store,
            presence=self.presence,
            interlocks=self.interlocks,
            shop=self,
            clock=self.clock,
        )

    def _bridge_config(self, machine: MachineSettings) -> BridgeConfig:
        """The machine's own, with a place for the bridge's checkpoints (kept apart from the spool: written often)."""
        place = ("checkpoint_file", str(self.config.data_dir / f"{machine.name}.checkpoint"))
        return replace(machine.bridge, options=(*machine.bridge.options, place))

    def _watched(self, supervisor: Supervisor) -> Watched:
        def stop(why: str) -> None:  # the deed before the word
            supervisor.bridge.emergency_stop()
            _log.error("emergency stop: %s", why, extra={"fields": {"machine": supervisor.name}})

        def hold(why: str) -> None:
            supervisor.hold(why)
            _log.warning("hold: %s", why, extra={"fields": {"machine": supervisor.name}})

        name = supervisor.name
        return Watched(
            supervisor.machine,
            lambda: supervisor.bridge.status(),
            lambda item: self.interlocks.good(name, item),
            hold,
            stop,
            lambda: None,
        )

    def _line(self) -> Line:
        config = self.config
        where = {"shop": config.shop, "agent": config.agent}
        return Line(
            client_id=f"workshed-{config.shop}-{config.agent}",
            will_topic=topics.PRESENCE.of(**where),
            will=self.publisher.presence_message(False),
            subscriptions=(topics.INBOX.of(**where), *self.board.subscriptions()),
            received=self._received,
            connected=self._connected,
            lost=lambda why: self.board.line_down(),
            overheard=self.board.heard,
        )

    # --- life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start all threads: watch, supervisors, teller, broker."""
        self.watch.start()
        self._spawn(self._forget_now_and_then, "forgetting")
        self.machine_threads.start(self._spawn)
        if self.line is not None:
            self._spawn(self.teller.run, "teller")
            self._spawn(self.board.run, "board")
            self.line.start()
            if self.config.telemetry_every_s > 0:
                self.telemetry.start()
        for network in self.networks:
            self._spawn(network.teller.run, f"teller {network.name}")
            network.begin()

    def _forget_now_and_then(self) -> None:
        """An agent may run for years: a machine that runs tells its progress every five seconds."""
        wait_s = _FORGET_EVERY_S
        while not self._ending.wait(wait_s):
            try:
                more = forget_told(self.spool)
                self.spool.prune(self.clock.now())
            except SpoolFull as error:
                _log.error("%s", error)
                more = False
            wait_s = _FORGET_ON_S if more else _FORGET_EVERY_S

    def _spawn(self, run: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def end(self) -> None:
        """End in order: no new work, bridges closed (a running toolpath fails as lost), journal told, spool closed."""
        self._ending.set()
        self.telemetry.end()
        self.board.end()
        self.store.end()
        for supervisor in self.supervisors.values():
            supervisor.retired = True
            supervisor.post(Wake())
        close_all([supervisor.bridge for supervisor in self.supervisors.values()])
        self.watch.end()
        self._fetchers.shutdown(wait=True, cancel_futures=True)
        for supervisor in self.supervisors.values():
            with contextlib.suppress(Exception):  # what is not written now, the next start finds
                supervisor.catch_up()
        if self.line is not None:
            self.teller.pump()
            self.line.end(self.publisher.presence_message(False))
        self.teller.end()
        for network in self.networks:
            network.end()
        for thread in self._threads:
            thread.join(timeout=3.0)
        self.spool.close()

    def _connect(self, supervisor: Supervisor) -> None:
        """One attempt. A bridge that met the wrong machine is closed for good: the next attempt has a new one."""
        try:
            supervisor.bridge.connect()
        except WrongMachine:
            supervisor.bridge.close()
            supervisor.adopt(self._open_bridge(self._bridge_config(supervisor.machine)))
            raise
        if self.spool.flags(supervisor.name).disarmed:
            safe_down(supervisor.bridge, supervisor.machine.description.process)

    # --- what supervisors need (inputs.Shop) ---------------------------------------------------------------------

    def policy(self) -> Policy:
        """The owner's rules in force."""
        return self.policy_file.current()

    def memory_compared(self) -> bool:
        """Whether the scheduler acknowledged this start's holdings, or had its time to, or there is none."""
        waited_s = self.clock.monotonic() - self._began
        return self.line is None or self.teller.reconciled or waited_s > _COMPARED_WITHIN_S

    def journal_grew(self) -> None:
        """New events wait to be told, or nobody is there to be told."""
        if self.line is None and self.spool.last_seq % LOOK_EVERY == 0:
            forget(self.spool, has_scheduler=False)
        self.teller.grew()
        self.board.grew()
        for network in self.networks:
            network.teller.grew()

    def fetch(self, lease: Lease) -> None:
        """Get and survey the toolpath of a lease on a fetching thread."""
        self._fetchers.submit(self._fetching.fetch, lease)

    # --- the network ---------------------------------------------------------------------------------------------

    def _received(self, topic: str, payload: bytes) -> bool:
        try:
            effects = self.inbox.receive(payload)
        except RefusedMessage as error:
            _log.warning("a message on %s was refused: %s", topic, error)
            return True
        except SpoolFull as error:
            _log.error("%s", error)
            return False
        for effect in effects:
            self._carry_out(effect)
        return True

    def _carry_out(self, effect: e.Effect) -> None:
        match effect:
            case e.Look(machine):
                self.supervisors[machine].post(Wake())
            case e.Tell(machine, item):
                self.supervisors[machine].post(item)
            case e.Repeat(seq):
                self.teller.repeat_from(seq)
            case e.JournalGrew():
                self.teller.grew()
            case e.Restored(holdings):
                self.teller.open_with(holdings)
            case e.BookAsked(request):
                self.board.book_asked(request)
            case e.Acknowledged(upto):
                self.teller.acknowledged(upto)
                if self.teller.reconciled:
                    for lease in compared(self.spool):
                        given_up = Asked(LeaseEvent.GIVEN_UP, lease.job, lease.fence, GIVEN_BACK)
                        if lease.machine in self.supervisors:
                            self.supervisors[lease.machine].post(given_up)

    def _connected(self) -> None:
        if self.line is None:
            return
        self.publisher.present()
        self.board.line_up()
        for machine in self._removed:
            self.publisher.gone(machine)
        self.reporting.all_new()
        self.teller.connected()

    def _readings(self) -> list[Telemetry]:
        now = self.clock.now()
        found = (
            reading(s.name, s.machine.description.process, s.bridge.status(), now) for s in self.supervisors.values()
        )
        return [one for one in found if one is not None]

    def machine_changed(self, machine: str) -> None:
        """Tell all networks what is new of a machine. One that cannot be told keeps no machine from its supervisor."""
        try:
            for network in self.networks:
                network.machine_changed(machine)
            if self.line is not None and self.line.is_up:
                self.publisher.present_again()
                self.reporting.changed(machine)
        except Exception:  # noqa: BLE001 - see above
            _log.exception("the report of %s could not be told", machine)

    # --- what the service manager asks -----------------------------------------------------------------------------

    def healthy(self, longest_s: float = 30.0) -> bool:
        """Whether the watch is kept and every supervisor took a turn lately."""
        return self.watch.alive and self.machine_threads.beating(longest_s)

    def retire(self) -> bool:
        """Start nothing more, if nothing runs; whether so. The moment for an upgrade, with no start slipping in."""
        return self.machine_threads.retire()
