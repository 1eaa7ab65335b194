"""Run the agent as a program: signals, readiness, the system's watchdog, and one file run alone without any broker."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from agents.agent import Agent
from agents.config import ON_LOCAL_NETWORK, AgentConfig, MqttSettings
from agents.contract.discovery import FoundScheduler
from agents.discovery import choose, find_in_child, remember, remembered
from agents.hands import Hands, NotPossible
from agents.lease import LIVE, LeaseState
from agents.local_api import LocalServer, read_or_make_token
from agents.metrics import AgentMetrics
from agents.sd_notify import notify, watchdog_s
from firmware_bridges.registry import open_bridge

_log = logging.getLogger(__name__)

_WATCHDOG_S = 10.0


def serve(config: AgentConfig, *, upgrade_file: Path | None = None) -> int:
    """Run until SIGTERM or SIGINT; the exit code. With `upgrade_file`: end when idle once it is there."""
    ending = _on_signals()
    faulthandler.enable()  # the watchdog's SIGABRT leaves in the journal where every thread stood
    config = located(config)
    agent = Agent(config, open_bridge)
    token = read_or_make_token(config.http.token_file)
    largest = agent.config.cache.largest_bytes
    server = LocalServer(config.http, token, Hands(agent), AgentMetrics(agent).render, largest, agent.board.find)
    page = threading.Thread(target=server.serve_forever, name="page", daemon=True)
    page.start()
    agent.start()
    notify("READY=1")
    _log.info("serving; the local page is at %s (token in %s)", server.address, config.http.token_file)
    try:
        _watch_over(agent, ending, upgrade_file)
    finally:  # whatever happened, the machines are left with everything off
        notify("STOPPING=1")
        server.shutdown()
        server.server_close()
        agent.end()
    return 0


def _watch_over(agent: Agent, ending: threading.Event, upgrade_file: Path | None) -> None:
    """Tell the service manager that all is well, until a signal or an upgrade."""
    period_s = watchdog_s() or _WATCHDOG_S
    while not ending.wait(period_s):
        if agent.healthy():
            notify("WATCHDOG=1")
        else:
            _log.error("a supervisor has not taken a turn for too long; the service manager will start us anew")
        if upgrade_file is not None and upgrade_file.exists() and agent.retire():
            _log.info("ending for an upgrade: nothing runs")
            upgrade_file.unlink(missing_ok=True)
            return


def located(config: AgentConfig, find: Callable[[], tuple[FoundScheduler, ...]] = find_in_child) -> AgentConfig:
    """With the broker's address filled in where the file leaves it to the local network (`host = "mdns"`).

    Found now, else as found last. Else without a broker: the shop works alone until the agent's next start.
    """
    if config.mqtt.host != ON_LOCAL_NETWORK:
        return config
    note = config.data_dir / "scheduler.json"
    found = choose(find(), config.schedulers)
    if found is not None:
        config.data_dir.mkdir(parents=True, exist_ok=True)
        remember(note, found)
        _log.info("found on the local network: %s", found)
    else:
        found = remembered(note)
        _log.warning("no scheduler answered on the local network; going by %s", found or "no broker at all")
    if found is None:
        return replace(config, mqtt=MqttSettings())
    tls = config.mqtt.tls or found.tls
    return replace(config, mqtt=replace(config.mqtt, host=found.host, port=found.port, tls=tls))


def only(config: AgentConfig, machine: str) -> AgentConfig:
    """The shop with one machine driven and no broker. Raises ConfigError for an unknown one."""
    others = tuple(name for name in config.machine_names if name != machine)
    return replace(config, machines=(config.machine(machine),), left_alone=others, mqtt=MqttSettings())


def run_alone(config: AgentConfig, machine: str, program: Path, say: Callable[[str], None]) -> int:
    """One file on one machine, no broker: through the same spool, gates and supervisor. 0 when it finished."""
    ending = _on_signals()

    def told(text: str) -> None:
        with contextlib.suppress(OSError):  # the terminal may be gone; the run ends in order all the same
            say(text)

    alone = only(config, machine)
    agent = Agent(alone, open_bridge)
    hands = Hands(agent)
    token = read_or_make_token(config.http.token_file)
    server = LocalServer(alone.http, token, hands, AgentMetrics(agent).render, alone.cache.largest_bytes)
    threading.Thread(target=server.serve_forever, name="page", daemon=True).start()
    agent.start()
    try:
        with program.open("rb") as file:
            job = hands.queue_from(machine, file, os.fstat(file.fileno()).st_size, program.name)
        told(f"queued; confirm bed, presence and the like at {server.address} (token in {config.http.token_file})")
        return _follow(agent, hands, machine, job, ending, told)
    finally:
        server.shutdown()
        server.server_close()
        agent.end()


def _follow(
    agent: Agent, hands: Hands, machine: str, job: str, ending: threading.Event, say: Callable[[str], None]
) -> int:
    told = ""
    while True:
        lease = agent.spool.lease_of_job(job)
        if lease is None or lease.state not in LIVE:
            break
        supervisor = agent.supervisors[machine]
        status = supervisor.bridge.status()
        closed = "; ".join(f"{gate.gate}: {gate.why}" for gate in supervisor.gates if not gate.open)
        now = (
            closed if lease.state is LeaseState.STAGED else f"{lease.state} {_percent(status.line, status.total_lines)}"
        )
        if now != told:
            told = now
            say(now)
        if ending.wait(0.5):
            try:
                hands.cancel_job(job)
            except NotPossible as error:
                say(str(error))
            ending.clear()
    state = LeaseState.FAILED if lease is None else lease.state
    say(f"{state}" + (f": {lease.why}" if lease is not None and lease.why else ""))
    return 0 if state in {LeaseState.FINISHED, LeaseState.INSPECTED} else 1


def _percent(line: int, total: int) -> str:
    return f"{100 * line // total} %" if total else ""


def _on_signals() -> threading.Event:
    """Set by the signals that ask for an end.

    A terminal that goes away (SIGHUP) asks for one, too: to die of it would leave a machine hot. `nohup` keeps its say.
    """
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: ending.set())
    return ending
