"""What the demo starts it ends, whatever happens to it; and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from scheduler.broker.process import await_state
from scheduler.demo import processes, reaper
from scheduler.demo.processes import ChildFailed, Children, Program

pytestmark = pytest.mark.processes

FOREVER = (sys.executable, "-c", "import signal; signal.pause()")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()",
)
FAILING = (sys.executable, "-c", "raise SystemExit('out of paper')")


def gone(pid: int) -> bool:
    """Ended: no such process, or a zombie that waits to be read by its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_each_child_leads_its_own_group_and_all_end_together(tmp_path: Path) -> None:
    with Children() as children:
        for name in ("a", "b"):
            children.start(Program(name, FOREVER, tmp_path / f"{name}.log"))
        pids = [children.pid(name) for name in children.names]
        assert [os.getpgid(pid) for pid in pids] == pids
        assert os.getpgid(0) not in pids
    assert all(gone(pid) for pid in pids)


def test_an_end_that_is_asked_for_in_the_middle_of_a_start_ends_what_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ran on, unknown to everybody, after the demo had said that everything was stopped."""
    started: list[int] = []
    spawn = processes._spawn

    def disturbed(*what: Any) -> subprocess.Popen[bytes]:
        process = spawn(*what)
        started.append(process.pid)
        signal.raise_signal(signal.SIGINT)
        return process

    monkeypatch.setattr(processes, "_spawn", disturbed)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt), Children() as children:
            children.start(Program("agent", FOREVER, tmp_path / "agent.log"))
    finally:
        signal.signal(signal.SIGINT, before)
    assert started
    assert all(gone(pid) for pid in started)


def test_a_killed_child_comes_back_and_a_hopeless_one_is_named(tmp_path: Path) -> None:
    with Children() as children:
        children.start(Program("agent", FOREVER, tmp_path / "agent.log", restarts=1))
        first = children.pid("agent")
        children.kill("agent")
        assert await_state(lambda: "agent" in children.look_after(), 5)
        assert children.pid("agent") != first
        assert children.starts("agent") == 2
        assert children.alive("agent")
        children.kill("agent")
        with pytest.raises(ChildFailed, match="agent ended with code -9 after 2 start"):
            await_state(lambda: bool(children.look_after()), 5)


def test_a_childs_last_words_are_told(tmp_path: Path) -> None:
    with Children() as children:
        children.start(Program("printer", FAILING, tmp_path / "p.log"))
        with pytest.raises(ChildFailed, match="out of paper"):
            await_state(lambda: bool(children.look_after()), 5)


def test_what_a_dead_leader_left_in_its_group_ends_too(tmp_path: Path) -> None:
    script = f"import subprocess, sys; p = subprocess.Popen({list(FOREVER)!r}); print(p.pid, flush=True)"
    with Children() as children:
        children.start(Program("leader", (sys.executable, "-c", script), tmp_path / "l.log"))
        assert await_state(lambda: not children.alive("leader"), 5)
        orphan = int((tmp_path / "l.log").read_text())
        assert not gone(orphan)
    assert await_state(lambda: gone(orphan), 5)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_when_the_starter_dies_its_children_end_and_strangers_live(how: signal.Signals, tmp_path: Path) -> None:
    stranger = subprocess.Popen(FOREVER, start_new_session=True)
    script = textwrap.dedent(f"""
        import signal
        from pathlib import Path
        from scheduler.demo.processes import Children, Program
        with Children() as children:
            children.start(Program("a", {FOREVER!r}, Path({str(tmp_path)!r}) / "a.log"))
            children.start(Program("b", {STUBBORN!r}, Path({str(tmp_path)!r}) / "b.log"))
            print(children.pid("a"), children.pid("b"), flush=True)
            signal.pause()
    """)
    starter = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert starter.stdout is not None
        pids = [int(word) for word in starter.stdout.readline().split()]
        assert len(pids) == 2
        starter.send_signal(how)
        starter.wait(20)
        starter.stdout.close()
        assert await_state(lambda: all(gone(pid) for pid in pids), reaper.GRACE_S + 5)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_the_reaper_reads_its_orders() -> None:
    assert reaper.watched(["+10 55\n", "+11 56\n", "-10\n"]) == {11: "56"}
    assert reaper.watched(["+10 55\n", "bye\n"]) is None
    assert reaper.watched([]) == {}


def test_the_reaper_lets_a_number_be_that_belongs_to_somebody_else() -> None:
    stranger = subprocess.Popen(FOREVER, start_new_session=True)
    try:
        reaper.end({stranger.pid: "1"}, grace_s=0.2)
        assert stranger.poll() is None
        reaper.end({stranger.pid: reaper.start_time(stranger.pid)}, grace_s=0.2)
        assert stranger.wait(5) == -signal.SIGTERM
    finally:
        if stranger.poll() is None:
            stranger.kill()
            stranger.wait()
