"""A minimal scheduler for tests, that offers, grants, commits what it hears and acknowledges; and real brokers.

It keeps the granter's half of the protocol and nothing else, so that the agent's half is tested against a real broker.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from agents.contract import messages as m
from agents.contract import topics
from agents.contract.envelope import Envelope, decode, encode, wrap


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(reached: Callable[[], Any], within_s: float = 15.0, what: str | Callable[[], str] = "") -> Any:
    """The first true answer; fails after a deadline."""
    until = time.monotonic() + within_s
    pause = threading.Event()
    while time.monotonic() < until:
        answer = reached()
        if answer:
            return answer
        pause.wait(0.02)
    raise AssertionError(f"not within {within_s} s: {what() if callable(what) else what or reached}")


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.2):
        return True
    return False


class Broker:
    """A real broker as a process, that can be killed and started again on the same port."""

    def __init__(self, command: list[str], port: int) -> None:
        self.command, self.port = command, port
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(lambda: _accepts(self.port), what="the broker listens")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextlib.contextmanager
def mosquitto(program: Path, folder: Path) -> Iterator[Broker]:
    """Mosquitto on loopback, anonymous, keeping sessions on disk at once."""
    port = free_port()
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {folder}/\n"
        "autosave_interval 1\nautosave_on_changes true\nuser mosquitto\n",
        encoding="ascii",
    )
    folder.chmod(0o777)
    broker = Broker([str(program), "-c", str(config)], port)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()


@contextlib.contextmanager
def nats(program: Path, folder: Path) -> Iterator[Broker]:
    """nats-server speaking MQTT 3.1.1 (docs.nats.io, MQTT configuration)."""
    port = free_port()
    config = folder / "nats.conf"
    config.write_text(
        f'host: 127.0.0.1\nport: {free_port()}\nserver_name: test\njetstream {{ store_dir: "{folder}/js" }}\n'
        f"mqtt {{ host: 127.0.0.1, port: {port} }}\n",
        encoding="ascii",
    )
    broker = Broker([str(program), "-c", str(config)], port)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()


@contextlib.contextmanager
def file_server(folder: Path) -> Iterator[str]:
    """Toolpaths by name over HTTP; the base URL."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class Peer:
    """The granter. `refuse` names the starts it will not commit; `deaf` stops acknowledging."""

    def __init__(self, port: int, shop: str = "alder", agent: str = "pi1", *, v5: bool = True) -> None:
        self.where = {"shop": shop, "agent": agent}
        self.journal: dict[int, Envelope] = {}
        self.heard: list[Envelope] = []
        self.reports: dict[str, m.MachineReport] = {}
        self.presence: list[m.AgentPresence] = []
        self.refuse: Callable[[m.StartIntended], str] = lambda event: ""
        self.refused: dict[int, str] = {}
        self.grant_claims = True
        self.deaf = False
        self.offers: dict[str, m.Offer] = {}
        self.fences: dict[str, int] = {}
        self._lock = threading.RLock()
        protocol = MQTTProtocolVersion.MQTTv5 if v5 else MQTTProtocolVersion.MQTTv311
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="scheduler-main", protocol=protocol)
        self._client.reconnect_delay_set(0.2, 0.5)  # type: ignore[arg-type]
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.on_subscribe = lambda *_: self._up.set()
        self._up = threading.Event()
        self._client.connect_async("127.0.0.1", port, keepalive=15)
        self._client.loop_start()
        assert self._up.wait(15), "the test's scheduler reaches the broker"

    def _on_connect(self, client: paho.Client, *_: object) -> None:
        wanted = (topics.JOURNAL, topics.MACHINE, topics.PRESENCE)
        client.subscribe([(topic.filter(**self.where), 1) for topic in wanted])  # type: ignore[arg-type]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def send(self, body: m.InboxMessage, *, valid_for_s: float = 60.0, now: datetime | None = None) -> Envelope:
        """A message to the agent's inbox."""
        envelope = wrap(
            body,
            sender="scheduler/main",
            now=now or datetime.now(UTC),
            valid_for=timedelta(seconds=valid_for_s),
        )
        self.send_bytes(encode(envelope))
        return envelope

    def send_bytes(self, payload: bytes) -> None:
        self._client.publish(topics.INBOX.of(**self.where), payload, qos=1)

    def offer(self, offer: m.Offer) -> None:
        self.offers[offer.offer] = offer
        self.send(offer)

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        envelope = decode(message.payload)
        with self._lock:
            match envelope.body:
                case m.MachineReport():
                    self.reports[envelope.body.description.machine] = envelope.body
                case m.AgentPresence():
                    self.presence.append(envelope.body)
                case _:
                    self._journalled(envelope)

    def _journalled(self, envelope: Envelope) -> None:
        assert envelope.seq is not None
        self.heard.append(envelope)
        if envelope.seq not in self.journal:
            self.journal[envelope.seq] = envelope
            self._apply(envelope)
        if not self.deaf:
            self.acknowledge()

    def acknowledge(self) -> None:
        """Say up to which number everything is committed."""
        with self._lock:
            upto = 0
            while upto + 1 in self.journal:
                upto += 1
            refused = tuple(m.RefusedEvent(seq=seq, why=why) for seq, why in self.refused.items())
            self.send(m.JournalAck(upto=upto, refused=refused))

    def _apply(self, envelope: Envelope) -> None:
        body = envelope.body
        if isinstance(body, m.Claimed) and self.grant_claims:
            self.grant(self.offers[body.offer])
        if isinstance(body, m.StartIntended):
            why = self.refuse(body)
            if why:
                self.refused[envelope.seq or 0] = why

    def grant(self, offer: m.Offer, *, start_in_s: float = 600.0) -> None:
        """Grant with the next fence."""
        with self._lock:
            fence = self.fences[offer.ticket.job] = self.fences.get(offer.ticket.job, 0) + 1
        self.send(
            m.Grant(
                lease=f"lease-{offer.ticket.job}-{fence}",
                offer=offer.offer,
                job=offer.ticket.job,
                attempt=offer.attempt,
                fence=fence,
                machine=offer.machine,
                start_by=datetime.now(UTC) + timedelta(seconds=start_in_s),
            )
        )

    def kinds(self, job: str | None = None) -> list[str]:
        """What the agent told, in order, of one job or of all."""
        with self._lock:
            events = [self.journal[seq].body for seq in sorted(self.journal)]
        return [type(body).__name__ for body in events if job is None or getattr(body, "job", None) == job]

    def await_kind(self, kind: type[Any], job: str | None = None, within_s: float = 20.0) -> Any:
        """The first event of a kind."""

        def found() -> object | None:
            with self._lock:
                bodies = [self.journal[seq].body for seq in sorted(self.journal)]
            return next(
                (b for b in bodies if isinstance(b, kind) and (job is None or getattr(b, "job", None) == job)), None
            )

        return eventually(found, within_s, lambda: f"{kind.__name__} of {job}; told were {self.kinds()}")
