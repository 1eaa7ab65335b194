"""What an owner writes into the policy file is what the plan keeps to: the real agent's report, the real planner."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.agent import Agent as RealAgent
from agents.config import load
from agents.contract.envelope import encode, wrap
from agents.contract.topics import MACHINE
from agents.contract.vocabulary import MachineState
from scheduler.planning import plan
from scheduler.planning.snapshot import Placement
from tests.agents.scene import ScriptedBridge
from tests.scheduler.line import START, Agent, Line, SetClock

SHOP = """
shop = "shed"
agent = "pi"
policy = "policy.toml"
[[machine]]
id = "m1"
process = "fdm"
port = "/dev/none"
dialect = "marlin"
model = "plain"
envelope_mm = [200.0, 200.0, 200.0]
[[machine.materials]]
material = "PLA"
"""


class Ticking:
    """The line's clock with a monotonic face."""

    def __init__(self, line: SetClock) -> None:
        self._line = line

    def now(self) -> datetime:
        return self._line.now()

    def monotonic(self) -> float:
        return self._line.now().timestamp()


class Owned(Agent):
    """The agent's half of the protocol with the report of a real agent, which reads its owner's file."""

    real: RealAgent

    def report(
        self, machine: str, now: datetime, state: MachineState = MachineState.IDLE, **more: Any
    ) -> tuple[str, bytes]:
        topic = MACHINE.of(shop=self.shop, agent=self.name, machine=machine)
        return topic, encode(wrap(self.real.views.report(machine), sender="agent/shed/pi", now=now))


class Shop:
    """One shop with a file of rules, and the scheduler that plans for it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._written = folder, 0
        (folder / "shop.toml").write_text(SHOP)
        self.policy = folder / "policy.toml"
        self.policy.write_text("")
        agent = Owned("shed", "pi", ("m1",))
        self.line = Line(folder / "scheduler", agent, planner=plan)
        bridge = ScriptedBridge()
        agent.real = self.real = RealAgent(
            load(folder / "shop.toml"), lambda config: bridge, clock=Ticking(self.line.clock)
        )
        self.real.spool.put_flags("m1", replace(self.real.spool.flags("m1"), bed_clear=True))
        self.line.arrive()

    def owner_writes(self, text: str) -> None:
        self.policy.write_text(text)
        self._written += 1
        os.utime(self.policy, ns=(10**18, 10**18 + self._written))
        self.line.hear(self.line.agents["shed.pi"].report("m1", self.line.now))

    def placed(self) -> Placement | None:
        self.line.plan()
        planned = plan(self.line.scheduler.dispatcher.look(self.line.now).snapshot)
        return planned.placements[0] if planned.placements else None

    def close(self) -> None:
        self.line.close()
        self.real.end()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    opened = Shop(tmp_path)
    yield opened
    opened.close()


AFTERNOON = '[[attended]]\nrrule = "FREQ=DAILY;BYHOUR=14;BYMINUTE=0"\nhours = 4\n'
BESIDE = 'unattended = false\n[[attended]]\nrrule = "FREQ=DAILY;BYHOUR=20;BYMINUTE=0"\nhours = 4\n'
QUIET = '[[quiet]]\nstart = "18:00"\nend = "07:00"\n'


@pytest.mark.parametrize(
    ("rules", "earliest_h", "begun_by_h", "ended_by_h"),
    [
        pytest.param("", 0, 0.1, 2, id="no rules"),
        pytest.param('[[maintenance]]\nstart = "2026-03-02T08:00"\nhours = 3\n', 3, 4, 6, id="the machine is down"),
        pytest.param(AFTERNOON, 6, 10, 12, id="nobody is there to set it up before two"),
        pytest.param(BESIDE, 12, 16, 16, id="somebody is beside it from eight to midnight"),
        pytest.param(BESIDE + QUIET, None, None, None, id="somebody is there only when it must be quiet"),
    ],
)
def test_the_plan_keeps_to_what_the_owner_writes(
    shop: Shop, rules: str, earliest_h: float | None, begun_by_h: float, ended_by_h: float
) -> None:
    shop.owner_writes(rules)
    shop.line.order()
    shop.line.plan()
    placed = shop.placed()
    if earliest_h is None:
        assert placed is None
        return
    assert placed is not None
    assert START + timedelta(hours=earliest_h) <= placed.start <= START + timedelta(hours=begun_by_h)
    assert placed.finish_p90 <= START + timedelta(hours=ended_by_h)


def test_an_owner_who_is_away_beyond_the_horizon_is_not_taken_for_one_who_said_nothing(shop: Shop) -> None:
    later = START + timedelta(days=30)
    rule = f"DTSTART:{later:%Y%m%dT%H%M%S}\\nRRULE:FREQ=DAILY;COUNT=3"
    for kind in ("window", "attended"):
        shop.owner_writes(f'[[{kind}]]\nrrule = "{rule}"\nhours = 4\n')
        report = shop.real.views.report("m1")
        assert (report.windows, report.attended_windows) == ((), ())
        assert not report.accepts_pool_work, "an empty list reads as always"
    shop.line.order()
    shop.line.plan()
    assert shop.placed() is None


def test_a_shift_of_an_hour_is_told_and_rules_are_not_expanded_at_every_look(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.owner_writes('[[maintenance]]\nrrule = "FREQ=DAILY;BYHOUR=12;BYMINUTE=0"\nhours = 1\n')
    first = shop.real.views.report("m1")
    looked: list[str] = []

    def look(machine: str, *_: object) -> tuple[()]:
        looked.append(machine)
        return ()

    monkeypatch.setattr("agents.machine_views.maintenance_of", look)
    assert shop.real.views.report("m1").maintenance == first.maintenance
    assert looked == []
    shop.line.clock.pass_(hours=1)
    assert shop.real.views.report("m1").maintenance == ()
    assert looked == ["m1"]
