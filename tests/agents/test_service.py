"""The agent under a service manager: says when it is up and alive, and ends for an upgrade at the first idle moment."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.agents.peer import eventually
from tests.agents.processes import PROGRAM, AgentProcess, Process, Twin, ending, printer, write_shop

pytestmark = [pytest.mark.processes]
#: Asked to say that it lives twice a second, it looks for an upgrade as often.
WATCHDOG_USEC = "1000000"
LONG = b"G21\nG90\nG28\n" + b"".join(b"G1 X%d Y20 Z1 F600\n" % (10 + 50 * (n % 2)) for n in range(60)) + b"M84\n"


class Serving(Process):
    """`workshed-agent serve` as the unit starts it, under a service manager that listens."""

    def __init__(self, config: Path, folder: Path, upgrade: Path) -> None:
        self.log, self.heard = folder / "agent.log", []
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(str(folder / "notify"))
        self.manager.setblocking(False)
        env = {**os.environ, "NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": WATCHDOG_USEC}
        command = [*PROGRAM, "serve", "--config", str(config), "--upgrade-file", str(upgrade)]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=env)

    heard: list[str]

    def words(self) -> list[str]:
        """All that was said to the service manager."""
        while True:
            try:
                self.heard.append(self.manager.recv(200).decode())
            except BlockingIOError:
                return self.heard


def test_an_upgrade_waits_until_nothing_runs(tmp_path: Path) -> None:
    twin = Twin("marlin", tmp_path, "printer", speed=20.0)
    with ending(twin):
        config, port = write_shop(tmp_path, None, printer("m1", twin.port))
        upgrade = tmp_path / "upgrade"
        serving = Serving(config, tmp_path, upgrade)
        with ending(serving), serving.manager:
            agent = AgentProcess.at(serving, port, tmp_path / "token")
            eventually(lambda: "READY=1" in serving.words(), 30, serving.said)
            eventually(lambda: agent.machine("m1")["bridge_state"] == "idle", 30, serving.said)
            agent._call("/api/machines/m1/own-jobs?title=long", LONG)
            agent.post("/api/machines/m1/bed-clear")
            eventually(lambda: agent.machine("m1")["bridge_state"] == "running", 30, serving.said)
            upgrade.touch()
            before = serving.words().count("WATCHDOG=1")
            eventually(lambda: serving.words().count("WATCHDOG=1") >= before + 3, 30, "it looked for an upgrade")
            assert "STOPPING=1" not in serving.words()
            assert serving.process.poll() is None, "a run was broken off for an upgrade"
            assert agent.machine("m1")["bridge_state"] == "running"
            eventually(lambda: "run_finished" in serving.said(), 90, serving.said)
            assert serving.process.wait(30) == 0, "a service manager that does not listen holds nothing up"
            assert not upgrade.exists(), "the next one would end at once"


def test_what_it_hung_in_is_in_the_log_when_the_watchdog_ends_it(tmp_path: Path) -> None:
    config, _ = write_shop(tmp_path, None, printer("m1", tmp_path / "nothing"))
    serving = Serving(config, tmp_path, tmp_path / "upgrade")
    with ending(serving), serving.manager:
        eventually(lambda: "READY=1" in serving.words(), 30, serving.said)
        serving.process.send_signal(signal.SIGABRT)
        assert serving.process.wait(30) == -signal.SIGABRT
        said = serving.said()
        assert "_keep_connected" in said, "every thread says where it stood"
        assert " in serve" in said
