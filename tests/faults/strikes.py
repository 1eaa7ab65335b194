"""Everything that can be made to go wrong between real processes, by name: how it strikes and how it heals.

A strike comes at a named step. What it began it ends itself, in `heal`, before the people of the shop come back.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tests.agents import peer
from tests.faults import walls, watching
from tests.faults.relays import Delivery
from tests.faults.towns import Town

#: How long a fault lasts that ends by itself. Nothing waits for it but the controller.
_LASTS_S: Final = 1.5
_HOUR_S: Final = 3600
#: A machine that carried out nothing for this long has nothing more in its buffers, which take this long at most.
_STILL_S: Final = 0.2
_BUFFERS_S: Final = 30.0
ROOT: Final = "small disks of their own"


@dataclass
class Struck:
    """One strike at one job: what it did, for those who judge afterwards."""

    town: Town
    job: str
    lost_at: dict[str, float] = field(default_factory=dict)
    """Machine → when nobody commanded it any more."""
    back_at: dict[str, float] = field(default_factory=dict)
    unplugged: str = ""
    """The name that the device had."""

    def lost(self) -> None:
        """Nobody commands the machines from now on."""
        for machine in self.town.twins:
            self.lost_at[machine] = watching.now()

    def back(self) -> None:
        """Somebody may command them again."""
        for machine in self.town.twins:
            self.back_at[machine] = watching.now()


@dataclass(frozen=True)
class Strike:
    """One kind of fault. `needs` says what of this computer it cannot do without ("" for nothing)."""

    name: str
    hit: Callable[[Struck], None]
    heal: Callable[[Struck], None]
    needs: str = ""


def _lasts() -> None:
    threading.Event().wait(_LASTS_S)


# --- processes ----------------------------------------------------------------------------------------------------


def _kill_scheduler(struck: Struck) -> None:
    struck.town.scheduler.kill()


def _begin_scheduler(struck: Struck) -> None:
    struck.town.scheduler = struck.town.begin_scheduler()


def _kill_agent(struck: Struck) -> None:
    struck.town.agent.kill()
    struck.lost()


def _carried_out(town: Town) -> None:
    """Wait for what was in the machines' buffers when nobody commanded them any more: nobody can take it back."""
    seen: tuple[int, float] = (-1, 0.0)

    def still() -> bool:
        nonlocal seen
        count = sum(len(record.lines()) for record in town.records.values())
        if count != seen[0]:
            seen = (count, watching.now())
        return watching.now() > seen[1] + _STILL_S

    peer.eventually(still, _BUFFERS_S, "the machines have carried out what they had been sent")


def _begin_agent(struck: Struck) -> None:
    _carried_out(struck.town)
    struck.back()
    struck.town.agent = struck.town.begin_agent()


def _kill_broker(struck: Struck) -> None:
    struck.town.broker.kill()


def _begin_broker(struck: Struck) -> None:
    struck.town.broker.start()


def _stop(which: str) -> Strike:
    def hit(struck: Struck) -> None:
        struck.town.stop(getattr(struck.town, which))

    def heal(struck: Struck) -> None:
        _lasts()
        struck.town.go_on(getattr(struck.town, which))

    return Strike(f"stop_{which}", hit, heal)


# --- the lines ----------------------------------------------------------------------------------------------------


def _cut_agent(struck: Struck) -> None:
    struck.town.pull_network()


def _heal_agent_soon(struck: Struck) -> None:
    _lasts()
    struck.town.put_in_network()


def _heal_agent_late(struck: Struck) -> None:
    """Once the agent has noticed that nobody answers."""
    town = struck.town
    peer.eventually(lambda: not town.agent.get("/api/state")["broker"]["connected"], 40, "the agent notices")
    town.put_in_network()


def _cut_scheduler(struck: Struck) -> None:
    struck.town.scheduler_line.cut()


def _heal_scheduler(struck: Struck) -> None:
    _lasts()
    struck.town.scheduler_line.heal()


def _deliver(how: Delivery) -> Strike:
    def hit(struck: Struck) -> None:
        struck.town.deliver(how)

    def heal(struck: Struck) -> None:
        """Only at the end of the scenario: the whole rest of the job goes over bad lines."""

    return Strike(f"messages_{how.name.lower()}", hit, heal)


# --- clocks, disks, copies ----------------------------------------------------------------------------------------


def _clock(which: str, wrong_by_s: int) -> Strike:
    def hit(struck: Struck) -> None:
        struck.town.clocks[which].set(wrong_by_s)

    def heal(struck: Struck) -> None:
        _lasts()
        struck.town.clocks[which].set(0)

    who = "agent" if which == "shop" else which
    return Strike(f"{who}_clock_{'forward' if wrong_by_s > 0 else 'back'}", hit, heal, "a C compiler")


def _fill(which: str) -> Strike:
    def hit(struck: Struck) -> None:
        struck.town.disks[which].fill()

    def heal(struck: Struck) -> None:
        _lasts()
        struck.town.disks[which].make_room()

    return Strike(f"fill_{'agent' if which == 'shop' else which}_disk", hit, heal, ROOT)


def _refuse(which: str) -> Strike:
    def hit(struck: Struck) -> None:
        walls.refuse_writes(getattr(struck.town, which).pid)

    def heal(struck: Struck) -> None:
        _lasts()
        walls.allow_writes(getattr(struck.town, which).pid)

    return Strike(f"refuse_{which}_writes", hit, heal)


def _restore_scheduler(struck: Struck) -> None:
    """Its database becomes the one that was copied when the order was in."""
    struck.town.scheduler.kill()
    watching.put_back(struck.town.folder / "books.copy", struck.town.books)


def _restore_agent(struck: Struck) -> None:
    _kill_agent(struck)
    watching.put_back(struck.town.folder / "spool.copy", struck.town.spool)


# --- the machines -------------------------------------------------------------------------------------------------


def _unplug(struck: Struck) -> None:
    town = struck.town
    machine = town.machine_of(struck.job)
    struck.lost_at[machine] = watching.now()
    twin = town.twins[machine]
    struck.unplugged = str(twin.port.resolve())
    twin.ask(cmd="fault", name="vanish", for_s=600.0)


def _plug_elsewhere(struck: Struck) -> None:
    """The same socket, so the same by-path name; but the system gives the device another name."""
    town = struck.town
    machine = town.machine_of(struck.job)
    peer.eventually(lambda: town.agent.machine(machine)["bridge_state"] == "offline", 20, "the agent sees it gone")
    taken: list[int] = []
    try:
        while not taken or (os.ttyname(taken[-1]) != struck.unplugged and len(taken) < 64):
            taken += os.openpty()
        _carried_out(town)
        struck.back_at[machine] = watching.now()
        twin = town.twins[machine]
        twin.ask(cmd="fault", name="vanish", for_s=0.0)
        peer.eventually(twin.port.is_symlink, 10, "it is plugged in again")
        assert str(twin.port.resolve()) != struck.unplugged, "the device got its old name"
    finally:
        for fd in taken:
            os.close(fd)


def _leave_laser(struck: Struck) -> None:
    struck.town.people.leave_laser()


def _come_back(struck: Struck) -> None:
    _lasts()


STRIKES: Final[dict[str, Strike]] = {
    strike.name: strike
    for strike in (
        Strike("kill_scheduler", _kill_scheduler, _begin_scheduler),
        Strike("kill_agent", _kill_agent, _begin_agent),
        Strike("kill_broker", _kill_broker, _begin_broker),
        _stop("scheduler"),
        _stop("agent"),
        Strike("cut_agent", _cut_agent, _heal_agent_soon),
        Strike("lose_agent", _cut_agent, _heal_agent_late),
        Strike("cut_scheduler", _cut_scheduler, _heal_scheduler),
        *(_deliver(how) for how in Delivery if how is not Delivery.AT_ONCE),
        *(_clock(which, by) for which in ("scheduler", "shop") for by in (_HOUR_S, -_HOUR_S)),
        *(_fill(which) for which in ("scheduler", "shop")),
        *(_refuse(which) for which in ("scheduler", "agent")),
        Strike("restore_scheduler", _restore_scheduler, _begin_scheduler),
        Strike("restore_agent", _restore_agent, _begin_agent),
        Strike("replug_machine", _unplug, _plug_elsewhere),
        Strike("leave_laser", _leave_laser, _come_back),
    )
}
