"""The main job, as a stranger runs it: everything is made, the machines did it, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from scheduler.broker import BrokerKind, programs
from scheduler.broker.process import await_state
from tests.docker.queries import dashboard_queries, instant_form
from tests.processes.conftest import DemoRun, demo_command, end

pytestmark = pytest.mark.processes

DASHBOARD = Path(__file__).parents[2] / "docker" / "grafana" / "dashboards" / "workshed.json"


def get(run: DemoRun, path: str) -> Any:
    answer = httpx.get(f"{run.url}/api/v1/{path}", headers={"Authorization": f"Bearer {run.token}"}, timeout=20)
    answer.raise_for_status()
    return answer.json()


@pytest.mark.timeout(420)
def test_everything_that_was_ordered_is_made_and_handed_over(demo_run: DemoRun) -> None:
    orders = get(demo_run, "orders")
    assert len(orders) >= 5
    assert {order["state"] for order in orders} == {"handed_over"}
    assert {job["process"] for order in orders for job in order["jobs"]} == {"fdm", "laser", "cnc"}
    for order in orders:
        assert all(part["good"] == part["quantity"] for part in order["parts"])
        assert all(step["state"] == "done" for step in order["steps"])
    assert any(order["steps"] for order in orders), "one product is put together at the end"
    assert any(len({job["process"] for job in order["jobs"]}) > 1 for order in orders), "one product mixes processes"
    assert any(part["quantity"] == 3 for order in orders for part in order["parts"])


@pytest.mark.timeout(420)
def test_the_machines_did_what_their_programs_say(demo_run: DemoRun) -> None:
    output = demo_run.output.read_text()
    assert "checks agree" in output
    assert "NOT everything was made" not in output
    assert "  ! " not in output


@pytest.mark.timeout(420)
def test_every_job_has_its_whole_story(demo_run: DemoRun) -> None:
    for job in get(demo_run, "jobs"):
        page = get(demo_run, f"jobs/{job['id']}")
        states = [event["to_state"] for event in page["history"] if event["to_state"]]
        road = ["offered", "leased", "staged", "ready", "starting", "running", "finished", "inspected"]
        last_try = states[len(states) - 1 - states[::-1].index("offered") :]
        once = [state for state, before in zip(last_try, ["", *last_try], strict=False) if state != before]
        assert [state for state in once if state in road] == road, (job["id"], states)
        assert page["toolpath"]["made_by"]
        assert page["toolpath"]["settings"]
        assert job["fence"] >= 1


@pytest.mark.timeout(420)
def test_everything_runs_in_processes_of_its_own(demo_run: DemoRun) -> None:
    pids = demo_run.addresses["processes"]
    assert set(pids) >= {"broker", "scheduler", "agent-garage", "agent-fablab", "agent-attic"}
    assert sum(name.startswith("twin-") for name in pids) == 5
    assert len(set(pids.values())) == len(pids) >= 10
    assert all(os.getpgid(pid) == pid for pid in pids.values())


@pytest.mark.timeout(420)
def test_secrets_of_the_run_are_its_owners_only(demo_run: DemoRun) -> None:
    files = [demo_run.data / "addresses.json", demo_run.data / "scheduler" / "admin.token"]
    files += list(demo_run.data.glob("*/agent.token")) + list((demo_run.data / "broker" / "credentials").iterdir())
    assert len(files) >= 9
    for file in files:
        assert file.stat().st_mode & 0o077 == 0, file


@pytest.mark.prometheus
@pytest.mark.timeout(420)
def test_no_panel_of_the_dashboard_stays_empty(demo_run: DemoRun, real_part: Callable[[str], Path]) -> None:
    real_part("prometheus")
    queries = dashboard_queries(DASHBOARD)

    def empty() -> list[str]:
        return [f"{panel}: {expr}" for panel, expr in queries if not series(demo_run.prometheus, expr)]

    await_state(lambda: not empty(), 20)
    assert empty() == []
    assert len(queries) >= 25


def series(prometheus: str, expr: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": instant_form(expr)}, timeout=10)
    assert answer.status_code == 200, answer.text
    found = answer.json()["data"]["result"]
    return [one for one in found if one["value"][1] != "NaN"]


@pytest.mark.prometheus
@pytest.mark.timeout(420)
def test_figures_in_prometheus_are_those_of_the_run(demo_run: DemoRun, real_part: Callable[[str], Path]) -> None:
    real_part("prometheus")
    good = sum(part["good"] for order in get(demo_run, "orders") for part in order["parts"])

    def counted() -> float:
        return sum(
            float(one["value"][1]) for one in series(demo_run.prometheus, 'workshed_parts_total{verdict="good"}')
        )

    await_state(lambda: counted() == good, 10)
    assert counted() == good
    assert len(series(demo_run.prometheus, "workshed_agent_online == 1")) == 3


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
