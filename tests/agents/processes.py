"""Agents and twins as operating-system processes, started and ended by their own numbers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.agents.peer import eventually, free_port

PROGRAM = [sys.executable, "-m", "agents.cli"]


class Process:
    """One process with its output in a file."""

    def __init__(self, arguments: list[str], log: Path, env: dict[str, str] | None = None) -> None:
        self.log = log
        known = {**os.environ, **(env or {})}
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                arguments, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=known
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        """SIGTERM, then the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        return self.process.returncode

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


class Twin(Process):
    """A simulated machine on a pseudo-terminal, with its control socket."""

    def __init__(self, kind: str, folder: Path, name: str, *, speed: float = 60.0, more: tuple[str, ...] = ()) -> None:
        self.port, self.control = folder / f"{name}.port", folder / f"{name}.sock"
        arguments = [*PROGRAM, "twin", kind, "--port", str(self.port), "--speed", str(speed)]
        super().__init__([*arguments, "--control", str(self.control), *more], folder / f"{name}.log")
        eventually(
            lambda: self.port.exists() and self.control.exists(),
            within_s=60,
            what=lambda: f"the twin {name} is there: {self.said()}",
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """One request on the control socket."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(10)
            line.connect(str(self.control))
            line.sendall(json.dumps(request).encode() + b"\n")
            with line.makefile("rb") as answer:
                reply: dict[str, Any] = json.loads(answer.readline())
        assert reply["ok"], reply
        return reply

    def state(self) -> dict[str, Any]:
        return self.ask(cmd="state")


class AgentProcess(Process):
    """`workshed-agent serve` and its API. `before`: a command that runs it (in a network of its own)."""

    host = "127.0.0.1"

    def __init__(
        self,
        config: Path,
        port: int,
        log: Path,
        *,
        host: str = "127.0.0.1",
        before: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
    ) -> None:
        super().__init__([*before, *PROGRAM, "serve", "--config", str(config), "--log-format", "json"], log, env)
        self.host, self.port = host, port
        self.token_file = config.parent / "token"
        eventually(self.answers, within_s=90, what=lambda: f"the agent serves: {self.said()}")

    @classmethod
    def at(cls, process: Process, port: int, token_file: Path) -> AgentProcess:
        """The API of an agent that was started in another way."""
        agent = cls.__new__(cls)
        agent.process, agent.log, agent.port, agent.token_file = process.process, process.log, port, token_file
        return agent

    def answers(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the agent ended: {self.said()}")
        with contextlib.suppress(OSError, urllib.error.URLError):
            self.get("/api/state")
            return True
        return False

    def _call(self, path: str, body: bytes | None) -> Any:
        token = self.token_file.read_text().strip()
        request = urllib.request.Request(
            f"http://{self.host}:{self.port}{path}", data=body, headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request, timeout=15) as answer:
            return json.load(answer)

    def get(self, path: str) -> Any:
        return self._call(path, None)

    def post(self, path: str, **body: Any) -> str:
        return str(self._call(path, json.dumps(body).encode())["said"])

    def post_when_possible(self, path: str, **body: Any) -> None:
        """Repeat until the agent no longer says 409."""

        def accepted() -> bool:
            try:
                self.post(path, **body)
            except urllib.error.HTTPError as error:
                if error.code != 409:
                    raise
                return False
            return True

        eventually(accepted, what=path)

    def machine(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(m for m in self.get("/api/state")["machines"] if m["machine"] == name)
        return found

    def rss_mb(self) -> float:
        """Resident memory now."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmRSS")

    def cpu_s(self) -> float:
        """Processor seconds so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def write_shop(
    folder: Path,
    broker_port: int | None,
    machines: str,
    more: str = "",
    *,
    broker: str = "127.0.0.1",
    listen: str = "127.0.0.1",
) -> tuple[Path, int]:
    """A shop's file; its path and the API's port."""
    port = free_port()
    mqtt = "" if broker_port is None else f'[mqtt]\nhost = "{broker}"\nport = {broker_port}\nreconnect_s = 0.5\n'
    config = folder / "shop.toml"
    config.write_text(
        f'shop = "alder"\nagent = "pi1"\ndata_dir = "data"\n{more}\n{mqtt}\n'
        f'[http]\nlisten = "{listen}:{port}"\ntoken_file = "token"\n{machines}',
        encoding="utf-8",
    )
    return config, port


def printer(name: str, twin_port: Path) -> str:
    """A printer's table."""
    return f"""
[[machine]]
id = "{name}"
process = "fdm"
port = "{twin_port}"
dialect = "marlin"
baud = 250000
model = "twin-marlin"
envelope_mm = [220, 220, 250]
materials = [{{ material = "PLA", remaining_g = 900 }}]
"""


def laser(name: str, twin_port: Path, process: str = "laser") -> str:
    """A laser cutter's table (or a router's)."""
    return f"""
[[machine]]
id = "{name}"
process = "{process}"
port = "{twin_port}"
dialect = "grbl"
model = "twin-grbl"
envelope_mm = [300, 200, 50]
requires_homing = false
materials = [{{ material = "plywood", thickness_mm = 3.0, width_mm = 300, height_mm = 200 }}]
"""


@contextlib.contextmanager
def ending(*processes: Process) -> Iterator[None]:
    """End them all, whatever happens."""
    try:
        yield
    finally:
        for process in processes:
            if process.process.poll() is None:
                process.kill()
