"""kill -9 of the agent at every named step of a job: after each the job is made exactly once, or its end is told truly.

Real process, real broker, a twin that counts what it executed. The peer grants anew (with a higher fence) whatever was
told to have failed; the person re-arms and clears the bed when the agent says that somebody must.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from agents.contract import messages as m
from agents.contract.vocabulary import FailureClass
from tests.agents.peer import eventually
from tests.agents.test_agent_process import Shop

pytestmark = [pytest.mark.broker, pytest.mark.processes]


class Steps:
    """Ways to bring a job to a named step, just before the kill."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop

    def offered(self, job: str) -> None:
        """The offer is on its way."""
        self.shop.print_it(job)

    def claimed(self, job: str) -> None:
        self.shop.peer.grant_claims = False
        self.shop.print_it(job)
        self.shop.peer.await_kind(m.Claimed, job)

    def granted(self, job: str) -> None:
        """The grant is on its way."""
        self.claimed(job)
        self.shop.peer.grant(self.shop.peer.offers[f"o-{job}"])

    def staged(self, job: str) -> None:
        self.shop.print_it(job)
        self.shop.peer.await_kind(m.Staged, job)

    def gates_shut(self, job: str) -> None:
        self.shop.print_it(job)
        self.shop.peer.await_kind(m.GatesShut, job)

    def start_intended(self, job: str) -> None:
        """Told, and not yet acknowledged."""
        self.shop.agent.post("/api/machines/m1/bed-clear")
        self.shop.peer.deaf = True
        self.shop.print_it(job)
        self.shop.peer.await_kind(m.StartIntended, job)

    def start_committed(self, job: str) -> None:
        """The acknowledgement is on its way."""
        self.shop.agent.post("/api/machines/m1/bed-clear")
        self.shop.print_it(job)
        self.shop.peer.await_kind(m.StartIntended, job)

    def running(self, job: str) -> None:
        self.shop.agent.post("/api/machines/m1/bed-clear")
        self.shop.print_it(job)
        self.shop.peer.await_kind(m.Running, job)

    def held(self, job: str) -> None:
        self.shop.printer.ask(cmd="speed", speed=4)
        self.running(job)
        self.shop.agent.post_when_possible("/api/machines/m1/hold")
        self.shop.peer.await_kind(m.Held, job)

    def finished_untold(self, job: str) -> None:
        """The machine finished while nobody acknowledged."""
        self.running(job)
        self.shop.peer.deaf = True
        eventually(lambda: self.shop.agent.machine("m1")["state"] == "occupied", within_s=60)


EVERY_STEP = (
    *("offered", "claimed", "granted", "staged", "gates_shut"),
    *("start_intended", "start_committed", "running", "held", "finished_untold"),
)
#: The short form, for every run of the tests; WORKSHED_LONG_FAULTS=1 takes every step.
STEPS = EVERY_STEP if os.environ.get("WORKSHED_LONG_FAULTS") else ("granted", "start_intended", "held")


def bring_to_an_end(shop: Shop, job: str) -> None:
    """The person and the granter do what is needed until the job is made."""
    retried: set[int] = set()

    def person_and_granter() -> bool:
        told = shop.peer.kinds(job)
        if "Finished" in told:
            return True
        machine = shop.agent.machine("m1")
        if machine["disarmed"] and machine["bridge_state"] in {"idle", "fault", "disarmed", "alarm"}:
            shop.agent.post_when_possible("/api/machines/m1/rearm")
        if not machine["bed_clear"] and machine["bridge_state"] == "idle":
            shop.agent.post_when_possible("/api/machines/m1/bed-clear")
        fails = sum(kind in {"Failed"} for kind in told)
        if fails and fails not in retried:
            retried.add(fails)
            shop.offer_again(job, attempt=fails + 1)
        return False

    eventually(person_and_granter, within_s=60, what=lambda: f"{job} is made; told were {shop.peer.kinds(job)}")


def test_kill_9_at_every_step(real_part: Callable[[str], Path], tmp_path: Path) -> None:
    with ExitStack() as stack:
        shop = Shop(stack, tmp_path, real_part("mosquitto"))
        steps = Steps(shop)
        for name in STEPS:
            job = f"job-{name}".replace("_", "-")
            shop.printer.ask(cmd="speed", speed=30)
            getattr(steps, name)(job)
            shop.agent.kill()
            shop.printer.ask(cmd="speed", speed=60)
            shop.peer.deaf = False
            shop.begin()
            shop.peer.grant_claims = True
            if name in {"claimed"}:
                shop.peer.grant(shop.peer.offers[f"o-{job}"])
            bring_to_an_end(shop, job)
            check(shop, job, name)


def check(shop: Shop, job: str, step: str) -> None:
    """Exactly once, and nothing untrue."""
    told = [event.body for event in shop.peer.journal.values() if getattr(event.body, "job", "") == job]
    runs = [body.fence for body in told if isinstance(body, m.Running)]
    assert len(runs) == len(set(runs)), f"{step}: a fence ran twice: {runs}"
    assert sum(isinstance(body, m.Finished) for body in told) == 1, f"{step}: finished more than once"
    for failed in (body for body in told if isinstance(body, m.Failed)):
        assert failed.failure is FailureClass.AGENT_RESTARTED, f"{step}: {failed}"
    started = {body.fence for body in told if isinstance(body, m.StartIntended)}
    assert set(runs) <= started
    if step in {"offered", "claimed", "granted", "staged", "gates_shut"}:
        assert not any(isinstance(body, m.Failed) for body in told), f"{step}: nothing had begun, nothing may be lost"
