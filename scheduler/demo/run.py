"""From nothing to finished parts: start every process, order, stand in for people, watch, verify, tell."""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from scheduler.broker.access import agent_principal, scheduler_principal, scheduler_username
from scheduler.broker.process import BrokerSetup, await_state, find_broker, free_port
from scheduler.demo.network import Network, token_of
from scheduler.demo.operator import Operator
from scheduler.demo.orders import Wanted, place
from scheduler.demo.processes import Children, Program
from scheduler.demo.shops import TOWN, ShopFiles, agent_command, twin_command, write_shop
from scheduler.demo.summary import Summary, summarise
from scheduler.demo.table import Teller
from scheduler.demo.verify import check_machines

#: As a systemd unit would be started again after a crash.
_RESTARTS: Final = 5
_READY_WITHIN_S: Final = 90.0
_LOOK_EVERY_S: Final = 0.25
_SETTLED: Final = frozenset({"handed_over", "cancelled"})


@dataclass(frozen=True, slots=True)
class Options:
    """What the demo was asked for."""

    data: Path
    speed: float
    seed: int
    timeout_s: float
    log_format: str
    kill_agent: tuple[str, str] | None = None
    """(shop, job state): that shop's agent is killed once, when one of its jobs is first seen in that state."""
    http_port: int | None = None


class NotReady(RuntimeError):
    """A part of the demo did not come up in time; the text says which, and where its log is."""


class Demo:
    """One run of the demo. Use it from one thread, as a context manager; leaving it ends every process."""

    def __init__(self, options: Options, teller: Teller) -> None:
        self.options = options
        self._teller = teller
        self._stack = ExitStack()
        self._children = Children()
        self._http_port = options.http_port or free_port()
        self._shops = {shop.shop: ShopFiles(options.data / shop.shop, free_port()) for shop in TOWN}
        self._operators: list[Operator] = []
        self._network: Network | None = None
        self._started = time.monotonic()
        self._killed = options.kill_agent is None

    @property
    def url(self) -> str:
        """The scheduler's pages and API."""
        return f"http://127.0.0.1:{self._http_port}"

    @property
    def network(self) -> Network:
        """The scheduler's API, once it is up."""
        if self._network is None:
            raise NotReady("the scheduler has not been started")
        return self._network

    def __enter__(self) -> Demo:
        self._stack.enter_context(self._children)
        return self

    def __exit__(self, *_: object) -> None:
        for operator in self._operators:
            operator.close()
        self._stack.close()

    # --- up -----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Broker, twins, scheduler, agents; back when all machines have reported. Raises NotReady, ChildFailed."""
        broker = self._start_broker()
        self._start_twins()
        self._start_scheduler(broker)
        for shop in TOWN:
            files = self._shops[shop.shop]
            password = broker.credential_file(shop.username)
            write_shop(shop, files, broker_port=broker.port, password_file=password)
            self._run(f"agent-{shop.shop}", agent_command(files, self.options.log_format), restarts=_RESTARTS)
            self._operators.append(Operator(shop, files))
        expected = sum(len(shop.machines) for shop in TOWN)
        self._wait("the machines", lambda: len(self._live_machines()) == expected)
        self._write_addresses()
        self._teller.say(f"{len(TOWN)} shops with {expected} machines are in the pool. Pages: {self.url}")

    def _start_broker(self) -> BrokerSetup:
        principals = [scheduler_principal("main"), *(agent_principal(shop.shop, shop.agent) for shop in TOWN)]
        program = find_broker()
        broker = BrokerSetup(program, self.options.data / "broker", free_port(), principals)
        broker.write()
        self._run("broker", broker.command, restarts=_RESTARTS)
        self._wait("the broker", broker.ready)
        self._teller.say(f"Broker: {program.kind} ({program.path}) on port {broker.port}.")
        return broker

    def _start_twins(self) -> None:
        seed = self.options.seed
        for shop in TOWN:
            files = self._shops[shop.shop]
            files.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for machine in shop.machines:
                seed += 1
                command = twin_command(machine, files, speed=self.options.speed, seed=seed)
                self._run(f"twin-{machine.machine}", command)
        ports = [self._shops[shop.shop].port(machine.machine) for shop in TOWN for machine in shop.machines]
        self._wait("the simulated machines", lambda: all(port.exists() for port in ports))

    def _start_scheduler(self, broker: BrokerSetup) -> None:
        data = self.options.data / "scheduler"
        user = scheduler_username("main")
        program = str(Path(sys.executable).with_name("workshed"))
        command = (
            *(program, "serve", "--data", str(data), "--http", f"127.0.0.1:{self._http_port}"),
            *("--mqtt", f"127.0.0.1:{broker.port}", "--mqtt-user", user),
            *("--mqtt-password-file", str(broker.credential_file(user)), "--log-format", self.options.log_format),
        )
        self._run("scheduler", command, restarts=_RESTARTS)
        self._wait("the scheduler", lambda: (data / "admin.token").exists())
        self._network = self._stack.enter_context(Network(self.url, token_of(data)))
        self._wait("the scheduler", self._network.healthy)

    def _run(self, name: str, command: Sequence[str], *, restarts: int = 0) -> None:
        log = self.options.data / "logs" / f"{name}.log"
        self._children.start(Program(name, tuple(command), log, restarts))

    def _wait(self, what: str, ready: Any) -> None:
        def reached() -> bool:
            self._children.look_after()
            for operator in self._operators:
                operator.step()
            return bool(ready())

        if not await_state(reached, _READY_WITHIN_S):
            raise NotReady(
                f"{what} did not come up within {_READY_WITHIN_S:.0f} s; logs are in {self.options.data}/logs"
            )

    def _live_machines(self) -> list[dict[str, Any]]:
        out = {"offline", "unidentified"}
        return [one for one in self.network.machines() if one["state"] not in out and not one["stale"]]

    def _write_addresses(self) -> None:
        """What another program needs to look at this run."""
        addresses = {
            "url": self.url,
            "token": token_of(self.options.data / "scheduler"),
            "agents": {name: {"url": files.url, "token": files.token} for name, files in self._shops.items()},
            "processes": {name: self._children.pid(name) for name in self._children.names},
        }
        target = self.options.data / "addresses.json"
        target.touch(mode=0o600)
        target.write_text(json.dumps(addresses, indent=2) + "\n", encoding="utf-8")

    # --- the work -----------------------------------------------------------------------------------------------------

    def order(self, wanted: Sequence[Wanted]) -> None:
        """Place every order through the public API."""
        for one in wanted:
            made = place(self.network, one)
            self._teller.say(f"Ordered: {one.quantity} × {made['title']} ({made['id']}, {len(made['jobs'])} jobs).")

    def work(self) -> None:
        """Stand in for the people until every order is handed over, or the time is up."""
        deadline = time.monotonic() + self.options.timeout_s
        pause = threading.Event()
        while time.monotonic() < deadline:
            orders = self.step()
            if orders and all(order["state"] in _SETTLED for order in orders):
                return
            pause.wait(_LOOK_EVERY_S)

    def step(self) -> list[dict[str, Any]]:
        """Everybody looks and acts once; the orders as they stand."""
        for name in self._children.look_after():
            self._teller.say(f"{name} had died and was started again.")
        for operator in self._operators:
            operator.step()
        try:
            return self._requester_step()
        except httpx.TransportError:
            return []  # the scheduler is away for a moment; `look_after` starts it again

    def _requester_step(self) -> list[dict[str, Any]]:
        orders = self.network.orders()
        for order in orders:
            for step in order["steps"]:
                if step["state"] == "open":
                    self.network.step_done(order["id"], step["step"])
            if order["state"] == "made":
                self.network.hand_over(order["id"])
        self._teller.show(orders, self.network.machines())
        self._perhaps_kill(orders)
        return orders

    def _perhaps_kill(self, orders: Sequence[dict[str, Any]]) -> None:
        if self._killed or self.options.kill_agent is None:
            return
        shop, state = self.options.kill_agent
        jobs = [job for order in orders for job in order["jobs"]]
        if any(job["state"] == state and (job["machine"] or "").startswith(f"{shop}.") for job in jobs):
            self._children.kill(f"agent-{shop}")
            self._killed = True
            self._teller.say(f"Killed the agent of {shop} while a job of it was {state}.")

    def keep(self) -> None:
        """Go on until interrupted, so that people can look around and order more."""
        pause = threading.Event()
        while not pause.wait(_LOOK_EVERY_S):
            self.step()

    # --- afterwards ---------------------------------------------------------------------------------------------------

    def summary(self) -> Summary:
        """What was made and what not, and whether the machines did what their programs say."""
        orders = self.network.orders()
        jobs = [job for order in orders for job in order["jobs"]]
        pages = {job["id"]: self.network.job(job["id"]) for job in jobs}
        open_jobs = [job for job in jobs if job["state"] not in {"inspected", "cancelled"}]
        again = frozenset(shop.shop for shop in TOWN if self._children.starts(f"agent-{shop.shop}") > 1)
        hands: Counter[str] = Counter()
        for operator in self._operators:
            hands.update(operator.tally)
        return summarise(
            orders,
            pages,
            {job["id"]: self.network.why(job["id"])["why"] for job in open_jobs},
            checks=check_machines(TOWN, self._shops, pages, self.network.toolpath, reset=again),
            hands=hands,
            elapsed_s=time.monotonic() - self._started,
            speed=self.options.speed,
        )


@contextmanager
def folder(chosen: Path | None, *, keep: bool) -> Iterator[Path]:
    """The run's folder: the chosen one, which stays, or one that is removed afterwards unless `keep`."""
    import tempfile

    made = Path(tempfile.mkdtemp(prefix="workshed-demo-")) if chosen is None else chosen
    made.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        yield made
    finally:
        if chosen is None and not keep:
            shutil.rmtree(made, ignore_errors=True)
