"""What happens when parts of the demo are killed, and when the demo itself is: truth, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from scheduler.broker import BrokerKind, programs
from scheduler.broker.process import await_state
from tests.processes.conftest import demo_command, end

pytestmark = pytest.mark.processes


@pytest.mark.timeout(450)
def test_an_agent_killed_in_the_middle_and_the_other_broker(tmp_path: Path) -> None:
    """Kill -9 of an agent while its printer runs, on the nats-server wheel: all is still made, or truthfully not."""
    program = next(found for found in programs() if found.kind is BrokerKind.NATS)
    began = time.monotonic()
    data = tmp_path / "data"
    command = demo_command("--kill-agent", "fablab@running", "--data", str(data), "--log-format", "json")
    ran = subprocess.run(
        [*command, "--timeout", "240"],
        env={**os.environ, "WORKSHED_BROKER": str(program.path)},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert "Killed the agent of fablab" in ran.stdout, ran.stdout[-3000:] + ran.stderr
    assert "agent-fablab had died and was started again" in ran.stdout
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr
    assert "nats-server" in ran.stdout
    assert time.monotonic() - began < 400
    pids = json.loads((data / "addresses.json").read_text())["processes"]
    assert all(not Path(f"/proc/{pid}").exists() for pid in pids.values())


@pytest.mark.timeout(200)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ending_it_ends_all_it_started(how: signal.Signals, tmp_path: Path) -> None:
    output = tmp_path / "output"
    with output.open("wb") as out:
        command = demo_command("--data", str(tmp_path / "data"), "--log-format", "json")
        process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
    logs = tmp_path / "data" / "logs"
    assert await_state(lambda: (logs / "agent-attic.log").exists(), 120, give_up=lambda: process.poll() is not None)
    started = children_of(process.pid)
    assert len(started) >= 10
    if how is signal.SIGKILL:
        process.kill()
        process.wait(10)
    else:
        assert end(process, how) == 130
        assert b"everything that was started has been stopped" in output.read_bytes()
    assert await_state(lambda: not any(running(pid) for pid in started), 15), [pid for pid in started if running(pid)]


def children_of(parent: int) -> set[int]:
    """All descendants of a process, whatever group they are in."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        parents[int(text.split()[0])] = int(text.rpartition(")")[2].split()[1])
    found, wave = set[int](), {parent}
    while wave:
        wave = {pid for pid, above in parents.items() if above in wave} - found
        found |= wave
    return found


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_wrong_option_is_a_sentence() -> None:
    ran = subprocess.run(
        demo_command("--kill-agent", "moon@running"), capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 2
    assert "garage@running" in ran.stderr
