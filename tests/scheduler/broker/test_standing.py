"""The broker that a scheduler brings along: kept over restarts, ended with it, taken over after a kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scheduler.broker import BrokerFailed, StandingBroker, probe
from scheduler.broker.process import await_state, free_port

pytestmark = pytest.mark.broker
WITHIN_S = 90.0


def test_ports_and_passwords_outlive_a_restart(tmp_path: Path) -> None:
    with StandingBroker(tmp_path, "main", ["garage/pi"]) as first:
        address, password = first.address, first.credential_file("agent.garage.pi").read_text()
        assert probe(*address, "agent.garage.pi", password.strip())
        assert not probe(*address, "agent.garage.pi", "wrong")
    assert not probe(*address, "agent.garage.pi", password.strip()), "it ended with its scheduler"
    with StandingBroker(tmp_path, "main", ["barn/pi"]) as second:
        assert second.address == address
        assert second.agents == ("agent.barn.pi", "agent.garage.pi"), "who was let in stays in"
        assert second.credential_file("agent.garage.pi").read_text() == password


def test_a_broker_that_dies_is_started_again_on_its_port(tmp_path: Path) -> None:
    with StandingBroker(tmp_path, "main") as standing:
        address, first = standing.address, standing.broker.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        assert await_state(lambda: int((tmp_path / "running").read_text() or first) != first, 20)
        assert int((tmp_path / "running").read_text()) == standing.broker.pid
        assert probe(*address, standing.username, standing.password)


def test_a_name_that_would_widen_rights_is_refused(tmp_path: Path) -> None:
    for name in ("garage", "gar+age/pi", "garage/#"):
        with pytest.raises(ValueError, match=r"SHOP/AGENT|topic"):
            StandingBroker(tmp_path, "main", [name])


def test_a_note_of_somebody_elses_process_harms_nobody(tmp_path: Path) -> None:
    (tmp_path / "running").write_text(f"{os.getpid()}\n", encoding="ascii")
    with StandingBroker(tmp_path, "main") as standing:
        assert standing.broker.alive


def test_a_start_that_was_cut_short_before_its_note_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    """Killed between the broker's start and the note of its number: the next start finds it by its command line."""
    with StandingBroker(tmp_path, "main") as before:
        address, command = before.address, before.broker.setup.command
    left = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        assert await_state(lambda: probe(*address, before.username, before.password), 20)
        assert not (tmp_path / "running").exists()
        with StandingBroker(tmp_path, "main") as standing:
            assert left.wait(20) is not None
            assert standing.address == address
            assert probe(*address, standing.username, standing.password)
    finally:
        left.kill()


def test_two_processes_on_one_folder_share_a_broker_and_one_takes_it_over(tmp_path: Path) -> None:
    first = StandingBroker(tmp_path, "main", ["garage/pi"])
    first.start()
    with StandingBroker(tmp_path, "main") as second:
        assert (first.owned, second.owned) == (True, False)
        assert second.address == first.address
        assert first.broker.alive, "the second ended the first one's broker"
        assert probe(*second.address, second.username, second.password)
        with pytest.raises(BrokerFailed, match=r"agent\.barn\.pi is new"):
            StandingBroker(tmp_path, "main", ["barn/pi"]).start()
        first.stop()
        assert await_state(lambda: second.owned and second.broker.alive, 20)
        assert await_state(lambda: probe(*second.address, second.username, second.password), 20)
        assert second.address == first.address


def runs(pid: int) -> bool:
    """Whether it runs: a dead child that nobody waited for has a number and no command line."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


class Served:
    """`workshed serve` as a process."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.log = folder.parent / "serve.log"
        command = [sys.executable, "-m", "scheduler.cli", "serve", "--data", str(folder), *more]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "COLUMNS": "400"})

    def await_words(self, words: str) -> None:
        def said() -> bool:
            return words in self.log.read_text(encoding="utf-8", errors="replace")

        assert await_state(said, WITHIN_S, give_up=lambda: self.process.poll() is not None), self.log.read_text()

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


def test_one_command_brings_a_broker_and_takes_it_away_again(tmp_path: Path, real_part: Callable[[str], Path]) -> None:
    data, http = tmp_path / "data", f"127.0.0.1:{free_port()}"
    killed = Served(data, "--http", http, "--admit", "garage/pi")
    killed.await_words("is up, term 1")
    killed.end(signal.SIGKILL)
    left_over = int((data / "broker" / "running").read_text())
    assert runs(left_over)
    ended = Served(data, "--http", http)
    ended.await_words("is up, term 2")
    assert not runs(left_over), "two brokers on one store"
    pid, port = (int((data / "broker" / name).read_text()) for name in ("running", "port"))
    password = (data / "broker" / "credentials" / "agent.garage.pi").read_text().strip()
    assert probe("127.0.0.1", port, "agent.garage.pi", password)
    assert ended.end(signal.SIGTERM) == 0
    assert await_state(lambda: not runs(pid), WITHIN_S)
