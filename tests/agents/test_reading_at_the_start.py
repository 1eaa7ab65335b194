"""Just before a start the whole program is read again. However long that takes, people are heard meanwhile."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.agent import Agent
from agents.contract.messages import LoadedMaterial
from agents.hands import Hands
from agents.lease import LeaseState
from agents.machine_threads import MachineThreads
from agents.spool import Lease
from tests.agents.peer import eventually
from tests.agents.scene import PROGRAM, FakeClock, ScriptedBridge, shop_config


class Shop:
    """An own job is about to start, and the card gives nothing of its program before `give` says so."""

    def __init__(self, folder: Path) -> None:
        self.bridge, self.clock = ScriptedBridge(), FakeClock()
        self.agent = Agent(shop_config(folder), lambda _: self.bridge, clock=self.clock)
        self.hands, self.supervisor = Hands(self.agent), self.agent.supervisors["m1"]
        self.job = self.hands.queue_own("m1", PROGRAM, "a vase")
        self.path = self.agent.store.path(self.lease().toolpath.sha256)
        eventually(self.staged)
        self.path.unlink()
        os.mkfifo(self.path)
        self.hands.bed_clear("m1")
        self.turn = threading.Thread(target=self.supervisor.catch_up, daemon=True)
        self.turn.start()
        self.card = self.opened()

    def staged(self) -> bool:
        self.supervisor.catch_up()
        return self.lease().state is LeaseState.STAGED

    def lease(self) -> Lease:
        found = self.agent.spool.lease_of_job(self.job)
        assert found is not None
        return found

    def opened(self) -> int:
        """Once somebody reads: our end of the pipe."""
        found: list[int] = []

        def try_it() -> bool:
            try:
                found.append(os.open(self.path, os.O_WRONLY | os.O_NONBLOCK))
            except OSError:
                return not self.turn.is_alive()
            return True

        eventually(try_it, what="the program is being read")
        assert found, "the turn ended without reading"
        return found[0]

    def give(self) -> None:
        """The card gives it all, as often as it is read."""
        os.write(self.card, PROGRAM)
        self.path.unlink()
        self.path.write_bytes(PROGRAM)  # for whoever opens it next
        os.close(self.card)
        self.turn.join(10)
        assert not self.turn.is_alive()

    def soon(self, act: Callable[[], Any]) -> Any:
        """What a person asks has its answer while the program is still being read."""
        said: list[Any] = []
        asking = threading.Thread(target=lambda: said.append(act()), daemon=True)
        asking.start()
        asking.join(5)
        assert said, "it waits for the end of the reading"
        assert self.turn.is_alive(), "it is being read"
        return said[0]


@pytest.fixture
def shop(memory_path: Path) -> Iterator[Shop]:
    made = Shop(memory_path)
    yield made
    made.agent.spool.close()


def test_what_is_read_through_is_started(shop: Shop) -> None:
    assert shop.bridge.runs == []
    shop.give()
    assert shop.lease().state is LeaseState.STARTING
    assert len(shop.bridge.runs) == 1


def test_stop_presence_and_the_page_wait_for_no_reading_and_nothing_starts_after_the_stop(shop: Shop) -> None:
    assert "present" in shop.soon(lambda: shop.hands.be_present(60, ("m1",)))
    assert shop.soon(shop.hands.state)["machines"][0]["jobs"][0]["state"] == "intended"
    shop.soon(lambda: shop.hands.load("m1", (LoadedMaterial(material="PLA"),)))
    assert "was stopped" in shop.soon(lambda: shop.hands.stop("m1"))
    shop.give()
    assert shop.bridge.runs == []
    assert shop.lease().state is LeaseState.INTENDED, "it waits for the machine to be armed"
    shop.hands.rearm("m1")
    shop.supervisor.catch_up()
    assert len(shop.bridge.runs) == 1


def test_what_is_cancelled_while_it_is_read_does_not_start(shop: Shop) -> None:
    shop.soon(lambda: shop.hands.cancel_job(shop.job))
    shop.give()
    assert shop.bridge.runs == []
    assert shop.lease().state is LeaseState.CANCELLED


def test_what_is_damaged_on_the_card_does_not_start(shop: Shop) -> None:
    os.write(shop.card, b"G1 X999\n")
    shop.give()
    assert shop.bridge.runs == []
    assert "not the one that was verified" in shop.lease().why


def test_an_upgrade_waits_for_a_start_that_is_being_read_for(shop: Shop) -> None:
    shop.soon(lambda: str(shop.agent.retire()))
    assert not shop.supervisor.retired, "the job would count as failed, and the machine wait for a person"
    shop.give()
    assert len(shop.bridge.runs) == 1


def test_an_agent_that_ends_while_a_program_is_read_starts_nothing(shop: Shop) -> None:
    shop.supervisor.retired = True
    shop.give()
    assert shop.bridge.runs == []
    assert shop.lease().state is LeaseState.INTENDED


def test_a_long_reading_is_no_hang_and_an_endless_one_is(shop: Shop) -> None:
    threads = MachineThreads("alder", shop.agent.supervisors, lambda _: None, shop.clock, threading.Event())
    threads.beats["m1"] = shop.clock.monotonic()
    shop.clock.go(200)
    assert threads.beating(30), "a slow card takes minutes for half a gigabyte"
    shop.clock.go(1000)
    assert not threads.beating(30)
    shop.give()
    threads.beats["m1"] = shop.clock.monotonic()
    shop.clock.go(31)
    assert not threads.beating(30)
