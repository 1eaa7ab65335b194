"""The people of a life: they look before they say anything, and say only what is true."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from agents.contract.vocabulary import MOTION_STATES, JobState, Process
from agents.hands import NotPossible, Unknown
from agents.lease import LIVE, MOVING, LeaseState
from agents.spool import Spool, SpoolFull
from firmware_bridges.bridge import BLOCKED_STATES, BridgeState
from scheduler.dispatch import people
from scheduler.orders.refusal import Refused
from scheduler.store import queries

if TYPE_CHECKING:
    from tests.faults.bench import Bench
    from tests.faults.lives import Life
    from tests.faults.shop import Shop

_PRESENT_S: Final = 45.0
_SLOW: Final = 0.6


class People:
    """Whoever stands in the shops, and whoever looks after the network. `act` is one turn of all of them."""

    def __init__(self, life: Life) -> None:
        self._life = life

    def act(self) -> None:
        """Everybody does what there is to do, in their own time."""
        for shop in self._life.shops:
            if shop.agent is None or shop.paused:
                continue
            for bench in shop.benches.values():
                with contextlib.suppress(NotPossible, Unknown, SpoolFull):
                    self._life._do(shop.id, lambda shop=shop, bench=bench: self._beside(shop, bench))  # type: ignore[misc]
            self._inspect(shop)
        if self._life.calm:
            self._look_after_the_network()

    def _beside(self, shop: Shop, bench: Bench) -> None:
        """At one machine."""
        life, agent, hands = self._life, shop.agent, shop.hands
        if agent is None or hands is None:  # it was killed at the machine before
            return
        attended = bench.process is Process.LASER
        if attended and not life.somebody_there:
            return
        if attended:
            hands.be_present(_PRESENT_S, (bench.name,))
            bench.present_until = life.time.elapsed_s + _PRESENT_S
            for lease in agent.spool.leases(bench.name, LIVE):
                if not lease.card:
                    hands.confirm_card(lease.job)
        if not life.calm and life.chance.random() > _SLOW:
            return
        flags, state = agent.spool.flags(bench.name), agent.supervisors[bench.name].bridge.status().state
        if state is BridgeState.HELD:
            bench.by_hand = True
            try:
                hands.resume(bench.name)
            finally:
                bench.by_hand = False
        if bench.busy or not bench.plugged or agent.spool.leases(bench.name, MOVING):
            return
        if state in BLOCKED_STATES or flags.disarmed:
            bench.must_rearm = False
            hands.rearm(bench.name)
        elif state is BridgeState.IDLE:
            if not flags.bed_clear:  # nobody clears a bed that the page calls clear
                bench.occupied = False
                hands.bed_clear(bench.name)
            shut = any(gate.gate == "material" and not gate.open for gate in agent.supervisors[bench.name].gates)
            if (shut or flags.materials == ()) and not bench.shelf_empty:
                hands.load(bench.name, agent.supervisors[bench.name].machine.description.materials)
                bench.material_gone = False

    def _inspect(self, shop: Shop) -> None:
        agent, hands = shop.agent, shop.hands
        if agent is None or hands is None:
            return
        for lease in agent.spool.leases(None, frozenset({LeaseState.FINISHED})):
            if self._life.calm or self._life.chance.random() < _SLOW:
                with contextlib.suppress(NotPossible, Unknown, SpoolFull):
                    self._life._do(shop.id, lambda job=lease.job, n=lease.ticket.pieces: self._good(shop, job, n))  # type: ignore[misc]
            if shop.agent is None:
                return

    def _good(self, shop: Shop, job: str, pieces: int) -> None:
        if shop.hands is not None:
            shop.hands.inspect(job, pieces, 0, "")

    def _look_after_the_network(self) -> None:
        """Decides where the scheduler asks for a person, after looking at the machines."""
        life = self._life
        scheduler = life.side.scheduler
        if scheduler is None or life._dues:
            return
        spools = [shop.agent.spool for shop in life.shops if shop.agent is not None]
        if any(spool.unacknowledged_count() for spool in spools):
            return
        now = life.side.clock.now()
        with scheduler.store.write() as c:
            for machine in queries.machines(c):
                if machine.quarantined_at is not None:
                    people.release_machine(c, machine.agent, machine.machine, now)
                    life.books.looked_at(machine.agent, machine.machine)
        for job in life.jobs():
            held = any(spool.leases(None, LIVE) and job.id in {x.job for x in spool.leases()} for spool in spools)
            if job.state is JobState.FINISHED and not any(_can_inspect(spool, job.id) for spool in spools):
                with scheduler.store.write() as c:
                    people.inspect_job(c, scheduler.mover, job.id, job.pieces, 0, "the agent forgot it", now)
            asked = job.flag or job.state is JobState.FAILED or "quarantined" in str(job.waiting)
            if not asked or held:
                continue
            life.books.decided.add(job.id)
            with contextlib.suppress(Refused), scheduler.store.write() as c:
                if job.state in MOTION_STATES:
                    people.declare_lost(c, scheduler.mover, job.id, "looked at it", now)
                elif job.state is not JobState.INSPECTED:
                    people.release_job(c, scheduler.mover, job.id, now)


def _can_inspect(spool: Spool, job: str) -> bool:
    return any(lease.job == job for lease in spool.leases(None, frozenset({LeaseState.FINISHED})))
