"""One run of the demo for the whole session: real processes, real broker, real ports; watched by a real Prometheus."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scheduler.broker.process import await_state, free_port

#: The promise is two minutes on two free cores; a busy machine gets more before the test gives up.
PATIENCE_S = 240.0


@dataclass(frozen=True)
class DemoRun:
    """A demo that has made everything and goes on (`--keep`)."""

    process: subprocess.Popen[bytes]
    data: Path
    addresses: dict[str, Any]
    output: Path
    prometheus: str
    """Address of the Prometheus that watched it from the beginning; empty where Prometheus is not installed."""

    @property
    def url(self) -> str:
        return str(self.addresses["url"])

    @property
    def token(self) -> str:
        return str(self.addresses["token"])

    def said(self) -> list[str]:
        """Every message, in order."""
        lines = [json.loads(line) for line in self.output.read_text().splitlines() if line.startswith("{")]
        return [str(line["message"]) for line in lines if "message" in line]


def demo_command(*options: str) -> list[str]:
    return [str(Path(sys.executable).with_name("workshed")), "demo", *options]


def end(process: subprocess.Popen[bytes], how: signal.Signals = signal.SIGINT) -> int:
    process.send_signal(how)
    try:
        return process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory: pytest.TempPathFactory, real_part: Callable[[str], Path]) -> Iterator[DemoRun]:
    folder = tmp_path_factory.mktemp("demo")
    data, output = folder / "data", folder / "output"
    command = demo_command("--keep", "--log-format", "json", "--data", str(data), "--timeout", str(PATIENCE_S))
    with output.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
    watcher = None
    try:
        addresses = data / "addresses.json"
        ready = await_state(
            lambda: addresses.exists() and addresses.read_text().endswith("}\n"), 120, give_up=lambda: gone(process)
        )
        assert ready, output.read_text()
        known = json.loads(addresses.read_text())
        watcher, prometheus = watch(folder, known)
        done = await_state(
            lambda: "Ctrl-C ends everything" in output.read_text(), PATIENCE_S, give_up=lambda: gone(process)
        )
        assert done, output.read_text()[-4000:]
        yield DemoRun(process, data, known, output, prometheus)
    finally:
        if watcher is not None:
            watcher.terminate()
            watcher.wait(10)
        if process.poll() is None:
            end(process)


def gone(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is not None


def watch(folder: Path, addresses: dict[str, Any]) -> tuple[subprocess.Popen[bytes] | None, str]:
    """Start a real Prometheus on the run, if there is one; its absence is for the tests that need it to say."""
    import shutil

    program = shutil.which("prometheus")
    if program is None:
        return None, ""
    targets = {
        "workshed-scheduler": [addresses["url"]],
        "workshed-agent": [agent["url"] for agent in addresses["agents"].values()],
    }
    jobs = "\n".join(
        f"  - job_name: {name}\n    static_configs: [{{ targets: {json.dumps([url.split('//')[1] for url in urls])} }}]"
        for name, urls in targets.items()
    )
    config = folder / "prometheus.yml"
    config.write_text(f"global:\n  scrape_interval: 1s\nscrape_configs:\n{jobs}\n")
    port = free_port()
    command = [program, f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    command.append(f"--web.listen-address=127.0.0.1:{port}")
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "GOMAXPROCS": "1"})
    return process, f"http://127.0.0.1:{port}"
