"""`workshed serve` as a process of a test, and a client with all rights."""

from __future__ import annotations

import contextlib
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx

from tests.agents import peer
from tests.agents.processes import Process, ending


def begin_scheduler(
    folder: Path,
    http: int,
    broker: int,
    stack: ExitStack,
    *,
    more: tuple[str, ...] = (),
    env: dict[str, str] | None = None,
) -> Process:
    """A scheduler on `folder/scheduler` that answers at the port `http`; ended with the stack."""
    command = [sys.executable, "-m", "scheduler.cli", "serve", "--data", str(folder / "scheduler")]
    command += ["--http", f"127.0.0.1:{http}", "--mqtt", f"127.0.0.1:{broker}"]
    process = Process([*command, *more], folder / "scheduler.log", env)
    stack.enter_context(ending(process))

    def serves() -> bool:
        if process.process.poll() is not None:
            raise AssertionError(f"the scheduler ended: {process.said()[-2000:]}")
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{http}/health", timeout=2).status_code == 200
        return False

    peer.eventually(serves, 300, lambda: f"the scheduler serves: {process.said()[-2000:]}")
    return process


def administrator(folder: Path, http: int) -> httpx.Client:
    """A client with the first-run token."""
    token = (folder / "scheduler" / "admin.token").read_text().strip()
    return httpx.Client(base_url=f"http://127.0.0.1:{http}", headers={"Authorization": f"Bearer {token}"}, timeout=30)
