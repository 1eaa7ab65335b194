"""A log that nobody reads holds up nobody who writes it, least of all the watch; what is lost of it is counted."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pytest

from agents import log_writer
from agents.agent import Agent
from agents.contract import logs
from agents.contract.vocabulary import Process
from firmware_bridges.bridge import BridgeState
from tests.agents.peer import eventually
from tests.agents.processes import PROGRAM, printer, write_shop
from tests.agents.scene import ScriptedBridge, machine_settings, shop_config

_log = logging.getLogger("tests.log_writer")


@dataclass
class Pipe:
    """Full: whoever writes to it waits until somebody reads."""

    reading: int
    stream: TextIO

    def emptied(self, enough: str) -> str:
        """All that comes until `enough` was said."""
        said = b""
        while enough.encode() not in said:
            said += os.read(self.reading, 1 << 16)
        return said.decode()


@pytest.fixture
def full_pipe() -> Iterator[Pipe]:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"." * 4096)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b".")
    os.set_blocking(writing, True)
    stream = os.fdopen(writing, "w")
    yield Pipe(reading, stream)
    os.close(reading)  # whoever still waits to write is let go
    stream.close()


@pytest.fixture(autouse=True)
def root_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_whoever_logs_into_a_full_pipe_goes_on_and_hears_later_what_was_lost(full_pipe: Pipe) -> None:
    with log_writer.set_aside("text", "info", full_pipe.stream, longest=10):
        for number in range(50):
            _log.info("record %d", number)
        said = full_pipe.emptied("were dropped")
        _log.info("the last one")
        said += full_pipe.emptied("the last one")
    assert "record 0" in said
    assert "record 49" not in said, "the newest found no room"
    lost = next(line for line in said.splitlines() if "dropped" in line)
    assert "39 log records" in lost or "40 log records" in lost, "ten waited, and one may be in the writer's hand"


def test_the_watch_takes_its_turns_beside_a_full_pipe(full_pipe: Pipe, memory_path: Path) -> None:
    """The hold is logged; the stop behind it, because nothing confirms the hold, must come all the same."""
    bridge = ScriptedBridge("grbl")
    agent = Agent(shop_config(memory_path, machine_settings("l1", Process.LASER)), lambda _: bridge)
    with log_writer.set_aside("text", "info", full_pipe.stream, longest=4):
        for number in range(20):
            _log.info("record %d", number)
        bridge.become(BridgeState.RUNNING)
        agent.watch.start()
        eventually(lambda: bridge.calls == ["hold", "emergency_stop"], within_s=5, what=lambda: str(bridge.calls))
        assert agent.watch.alive
    agent.watch.end()
    agent.spool.close()


def test_what_was_logged_is_written_at_the_end_with_the_fields_of_its_moment() -> None:
    written = io.StringIO()
    with log_writer.set_aside("json", "info", written), logs.bound(machine="m1", job="j1"):
        _log.info("%s lines", 3)
        try:
            raise ValueError("no such line")
        except ValueError:
            _log.exception("it broke")
    first, second = (json.loads(line) for line in written.getvalue().splitlines())
    assert (first["message"], first["machine"], first["job"]) == ("3 lines", "m1", "j1")
    assert "ValueError: no such line" in second["exception"]


def test_a_record_that_cannot_be_written_keeps_no_other_from_it() -> None:
    class Odd:
        def __str__(self) -> str:
            raise ZeroDivisionError

    written = io.StringIO()
    with log_writer.set_aside("text", "info", written):
        _log.info("odd", extra={"fields": {"machine": Odd()}})
        _log.info("the next")
    assert "the next" in written.getvalue()


@pytest.mark.processes
def test_an_agent_whose_log_nobody_reads_serves_and_ends(full_pipe: Pipe, tmp_path: Path) -> None:
    config, _ = write_shop(tmp_path, None, printer("m1", tmp_path / "nothing"))
    arguments = [*PROGRAM, "serve", "--config", str(config), "--log-level", "debug"]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=full_pipe.stream) as process:
        try:
            eventually((tmp_path / "data" / "agent.sqlite").exists, within_s=60, what="it began")
            eventually((tmp_path / "token").exists, within_s=60, what="it serves")
            process.terminate()
            assert process.wait(20) == 0
        finally:
            process.kill()


def test_nobody_waits_for_the_writer_at_the_end(full_pipe: Pipe) -> None:
    left = threading.Event()

    def leave() -> None:
        with log_writer.set_aside("text", "info", full_pipe.stream, longest=2):
            for number in range(5):
                _log.info("record %d", number)
        left.set()

    threading.Thread(target=leave, daemon=True).start()
    assert left.wait(10), "the end waited for a reader"
