"""The lease protocol as a small model whose every decision is the product's own: both tables, the fence and holder
checks, the grant's refusal, the comparison after a restart. Channels lose, double and reorder; processes die; the
scheduler's database is put back to an old copy. `exploring.py` walks all of it.

One machine an agent. A journal number is applied once and in order, as `scheduler/dispatch/journal.py` does it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, Final

from agents.contract import messages as m
from agents.contract.vocabulary import LEASED_STATES, MOTION_STATES, JobState
from agents.lease import LIVE, MOVING, WAITING, LeaseEvent, LeaseState
from scheduler.dispatch import apply, reconcile
from scheduler.dispatch.states import TRANSITIONS, JobEvent
from tests.faults import holder
from tests.faults.stored import MACHINE, job_row, lease_row
from tests.faults.worlds import Agent, Base, Bounds, Broken, Event, Guards, Lease, World, put

_BEGUN: Final = LIVE - WAITING
Move = tuple[str, World]


class Model:
    """All moves from a world; raises Broken where one breaks a rule."""

    def __init__(self, bounds: Bounds, guards: Guards | None = None) -> None:
        self.bounds, self.guards = bounds, guards or Guards()

    def moves(self, w: World) -> Iterator[Move]:
        """(name, world after) of everything that can happen next."""
        for job in range(self.bounds.jobs):
            yield from self._deadlines(w, job)
            for replica in range(self.bounds.replicas):
                yield from self._plans(w, job, replica)
        for replica in range(self.bounds.replicas):
            yield from self._carries_out(w, replica)
        for agent in range(self.bounds.agents):
            yield from self._hears(w, agent)
            yield from self._comes(w, agent)
            yield from self._commits(w, agent)
            yield "hear ack", self._hears_ack(w, agent)
            for job in range(self.bounds.jobs):
                yield from self._acts(w, agent, job)
        yield from self._dies(w)

    # --- the scheduler ------------------------------------------------------------------------------------------------

    def _moved(self, w: World, job: int, event: JobEvent, **changes: Any) -> World | None:
        """The job after an event, by the product's table; None where the table does not know it."""
        was = w.base.jobs[job]
        taken = TRANSITIONS.get((was.state, event))
        if taken is None:
            return None
        after = was._replace(state=taken.to, **changes)
        if after.state is JobState.FAILED and was.given < self.bounds.fences:
            after = after._replace(state=TRANSITIONS[JobState.FAILED, JobEvent.RETRIED].to)
        if after.state not in LEASED_STATES | {JobState.OFFERED, JobState.FINISHED}:
            after = after._replace(holder=-1, old=False)
        return w._replace(base=w.base._replace(jobs=put(w.base.jobs, job, after)))

    def _post(self, w: World, agent: int, message: tuple[Any, ...]) -> World | None:
        box = w.down[agent]
        if message in box:
            return w
        if len(box) >= self.bounds.in_flight:
            if not self.bounds.loses:
                return None
            box = box[1:]
        return w._replace(down=put(w.down, agent, (*box, message)))

    def _deadlines(self, w: World, job: int) -> Iterator[Move]:
        if self.guards.reconcile_first and not all(w.base.heard):
            return
        was = w.base.jobs[job]
        for event in (JobEvent.OFFER_LAPSED, JobEvent.LEASE_LAPSED):
            after = self._moved(w, job, event)
            if after is None:
                continue
            if event is JobEvent.LEASE_LAPSED:
                after = self._post(after, was.holder, ("withdrawal", job, was.fence)) or after
            yield event.value, after

    def _plans(self, w: World, job: int, replica: int) -> Iterator[Move]:
        row = w.base.jobs[job]
        if w.plans[replica] is not None or row.state is not JobState.WAITING or row.doubt:
            return
        for agent in range(self.bounds.agents if row.given < self.bounds.fences else 0):
            planned = w._replace(plans=put(w.plans, replica, (job, agent, row)))
            if self.bounds.replicas > 1:
                yield "plan", planned
            else:
                yield from self._carries_out(planned, replica)

    def _carries_out(self, w: World, replica: int) -> Iterator[Move]:
        plan = w.plans[replica]
        if plan is None:
            return
        job, agent, read = plan
        w = w._replace(plans=put(w.plans, replica, None))
        if w.base.jobs[job] != read or (self.guards.reconcile_first and not all(w.base.heard)):
            yield "plan is old", w
            return
        after = self._moved(w, job, JobEvent.OFFERED, holder=agent, offer=read.offer + 1)
        if after is not None and read.offer < self.bounds.offers:
            posted = self._post(after, agent, ("offer", job, read.offer + 1))
            if posted is not None:
                yield "offer", posted

    def _commits(self, w: World, agent: int) -> Iterator[Move]:
        """An entry is told again until it is acknowledged: it may come at any time, in any order, again."""
        a = w.agents[agent]
        for event in a.journal:
            if not (a.gate and event.seq > a.gate) and not self._must_be_proven(w, agent, event):
                yield f"commit {event.kinds[-1]}", self._commit(w, agent, event)

    def _commit(self, w: World, agent: int, event: Event) -> World:
        cursor = w.base.cursors[agent]
        if event.seq == cursor + 1 or (not self.guards.numbers and event.seq <= cursor):
            refused = False
            for kind in event.kinds:
                after = self._applied(w, agent, event, kind)
                back = kind == "claimed" and after is not None and after.base.jobs[event.job].state is JobState.WAITING
                refused = refused or after is None or back
                w = after or w
            w = w._replace(base=w.base._replace(cursors=put(w.base.cursors, agent, max(cursor, event.seq))))
            if refused:
                known = w.base.refused[agent] | {event.seq}
                w = w._replace(base=w.base._replace(refused=put(w.base.refused, agent, known)))
        return w

    def _applied(self, w: World, agent: int, event: Event, kind: str) -> World | None:
        if kind == "holdings":
            return self._reconciled(w, agent, event)
        row = w.base.jobs[event.job]
        if kind == "claimed":
            if row.state is not JobState.OFFERED or (row.holder, row.offer) != (agent, event.offer):
                return None
            if row.old and self._unproven(w, agent):
                return self._moved(w, event.job, JobEvent.OFFER_WITHDRAWN)
            fence = row.fence + 1
            after = self._moved(w, event.job, JobEvent.CLAIMED, fence=fence, given=fence)
            return (
                None if after is None else self._post(after, agent, ("grant", event.job, fence, event.offer)) or after
            )
        held = row.state in LEASED_STATES
        lease = lease_row(event.job, row) if held else None
        said: Any = SimpleNamespace(job=event.job, fence=event.fence, machine=MACHINE)
        if apply._not_its_lease(lease, str(agent), said) is not None:
            return None
        after = self._moved(w, event.job, JobEvent(kind))
        if after is not None and kind == "start_intended":
            if event.fence != row.given:
                raise Broken(f"a start under fence {event.fence} was committed while {row.given} is live")
            return after._replace(committed=after.committed | {(event.job, event.fence, agent)})
        return after

    def _must_be_proven(self, w: World, agent: int, event: Event) -> bool:
        """As `scheduler/dispatch/apply.py`: a start under a lease from before the scheduler's start waits."""
        if event.seq != w.base.cursors[agent] + 1 or "start_intended" not in event.kinds:
            return False
        row = w.base.jobs[event.job]
        mine = row.state in LEASED_STATES and (row.holder, row.given) == (agent, event.fence)
        return mine and row.old and self._unproven(w, agent)

    def _unproven(self, w: World, agent: int) -> bool:
        """As `scheduler/dispatch/hearing.py`: another agent has not yet said what it holds."""
        others = (heard for n, heard in enumerate(w.base.heard) if n != agent)
        return self.guards.reconcile_first and not all(others)

    def _reconciled(self, w: World, agent: int, event: Event) -> World:
        """By the product's own comparison."""
        rows = list(enumerate(w.base.jobs))
        jobs = {str(n): job_row(n, row) for n, row in rows}
        leases = [lease_row(n, row) for n, row in rows if row.state in LEASED_STATES and row.holder == agent]
        held = tuple(m.Holding(job=str(n), fence=f, machine=MACHINE, state=s, lease="l") for n, f, s in event.held)
        highest = {str(n): fence for n, fence in enumerate(event.highest) if fence}
        said = m.Holdings(boot="b", jobs=held, highest_fences=highest, unacked_from=1)
        for d in reconcile.differences(leases, jobs, said):
            w = self._settled(w, agent, d)
        return w._replace(base=w.base._replace(heard=put(w.base.heard, agent, True)))

    def _settled(self, w: World, agent: int, d: reconcile.Difference) -> World:
        job = int(d.job)
        row = w.base.jobs[job]
        deed = reconcile.Deed
        if d.deed in (deed.TAKE_BACK, deed.ASK_CANCEL):
            return self._post(w, agent, ("withdrawal", job, d.fence)) or w
        if d.deed is deed.GRANT_AGAIN:
            return self._post(w, agent, ("grant", job, row.given, row.offer)) or w
        for event in (JobEvent.LEASE_WITHDRAWN, JobEvent.OFFER_WITHDRAWN):
            w = self._moved(w, job, event) or w
        row = w.base.jobs[job]
        doubted = row._replace(fence=max(row.fence, d.fence), doubt=True)
        return w._replace(base=w.base._replace(jobs=put(w.base.jobs, job, doubted)))

    # --- an agent -----------------------------------------------------------------------------------------------------

    def _comes(self, w: World, n: int) -> Iterator[Move]:
        """The agent connects anew: whoever has not heard it since it began asks what it holds."""
        on_its_way = any(told.kinds == ("holdings",) and told.seq > w.base.cursors[n] for told in w.agents[n].journal)
        if not w.base.heard[n] and ("ask",) not in w.down[n] and not on_its_way:
            asked = self._post(w, n, ("ask",))
            if asked is not None:
                yield "ask again", asked

    def _hears(self, w: World, agent: int) -> Iterator[Move]:
        for message in w.down[agent]:
            left = tuple(other for other in w.down[agent] if other is not message)
            yield f"hear {message[0]}", self._heard(w._replace(down=put(w.down, agent, left)), agent, message)
            if self.bounds.loses:
                yield f"{message[0]} is doubled", self._heard(w, agent, message)
                yield f"{message[0]} is lost", w._replace(down=put(w.down, agent, left))

    def _hears_ack(self, w: World, n: int) -> World:
        """What is acknowledged only grows, so an acknowledgement that is late says less than this one."""
        a = holder.acknowledged(w.agents[n], w.base.cursors[n], w.base.refused[n], keep=self.bounds.restores)
        return w._replace(agents=put(w.agents, n, a))

    def _heard(self, w: World, n: int, message: tuple[Any, ...]) -> World:
        a = w.agents[n]
        if message in a.seen and self.guards.message_ids:
            return w
        answers: dict[str, Callable[..., Agent]] = {
            "offer": self._offered,
            "grant": self._granted,
            "withdrawal": holder.withdrawn,
            "ask": holder.asked,
        }
        after: Agent = answers[message[0]](a, *message[1:])
        if message in a.seen and after.journal != a.journal:
            raise Broken(f"a repeated {message[0]} was written down as a new event")
        if self.bounds.loses and message != ("ask",):  # every asking is a new message
            after = after._replace(seen=after.seen | {message})
        return w._replace(agents=put(w.agents, n, after))

    def _offered(self, a: Agent, job: int, offer: int) -> Agent:
        lease = a.leases[job]
        if lease is not None and lease.state in _BEGUN:
            return a
        return holder.say(a, "claimed", job=job, offer=offer)._replace(claimed=put(a.claimed, job, offer))

    def _granted(self, a: Agent, job: int, fence: int, offer: int) -> Agent:
        lease, highest = a.leases[job], a.highest[job]
        if holder.why_not(a, job, fence, offer):
            known = lease is not None and lease.fence == fence
            return a if known else holder.say(a, "grant_refused", job=job, fence=fence)
        leases = put(a.leases, job, Lease(LeaseState.LEASED, fence))
        return a._replace(
            leases=leases, highest=put(a.highest, job, max(highest, fence)), claimed=put(a.claimed, job, 0)
        )

    def _acts(self, w: World, n: int, job: int) -> Iterator[Move]:
        a = w.agents[n]
        lease = a.leases[job]
        if lease is None:
            return
        busy = any(other is not None and other.state in _BEGUN for k, other in enumerate(a.leases) if k != job)
        if lease.state is LeaseState.LEASED and not busy:
            for event in (LeaseEvent.TOOLPATH_STAGED, LeaseEvent.GATES_OPEN, LeaseEvent.TURN_COME):
                lease = holder.stepped(lease, event)
            said = holder.say(a, "staged", "start_intended", job=job, fence=lease.fence)
            intended = lease._replace(seq=said.last)
            yield "intend", w._replace(agents=put(w.agents, n, said._replace(leases=put(a.leases, job, intended))))
        elif lease.state is LeaseState.INTENDED and (lease.permitted or not self.guards.permission):
            yield "run", self._run(w, n, job, lease)
        elif lease.state is LeaseState.RUNNING:
            done = holder.say(a, "finished", job=job, fence=lease.fence)
            done = done._replace(leases=put(a.leases, job, holder.stepped(lease, LeaseEvent.RUN_FINISHED)))
            made = put(w.made, job, w.made[job] + 1)
            if made[job] > 1:
                raise Broken("a job was made twice")
            yield "finish", w._replace(agents=put(w.agents, n, done), made=made)
            if self.bounds.fails:
                failed = holder.say(a, "failed", job=job, fence=lease.fence)
                failed = failed._replace(leases=put(a.leases, job, holder.stepped(lease, LeaseEvent.RUN_FAILED)))
                yield "fail", w._replace(agents=put(w.agents, n, failed))

    def _run(self, w: World, n: int, job: int, lease: Lease) -> World:
        """The machine is called; its first line is confirmed at once."""
        if (job, lease.fence, n) not in w.committed:
            raise Broken(f"agent {n} runs job {job} under fence {lease.fence}, which was not committed for it")
        if (job, lease.fence, n) in w.runs:
            raise Broken(f"agent {n} runs job {job} under fence {lease.fence} a second time")
        for k, other in enumerate(w.agents):
            held = other.leases[job]
            if k != n and held is not None and held.state in MOVING:
                raise Broken(f"two machines run job {job}")
        row = w.base.jobs[job]
        if not w.restored and (row.given != lease.fence or row.holder != n or row.state not in MOTION_STATES):
            raise Broken(f"agent {n} runs job {job} under fence {lease.fence}; the job is {row}")
        running = holder.stepped(holder.stepped(lease, LeaseEvent.RUN_ASKED), LeaseEvent.RUN_STARTED)
        a = holder.say(w.agents[n], "running", job=job, fence=lease.fence)
        a = a._replace(leases=put(a.leases, job, running))
        return w._replace(agents=put(w.agents, n, a), runs=w.runs | {(job, lease.fence, n)})

    # --- deaths -------------------------------------------------------------------------------------------------------

    def _dies(self, w: World) -> Iterator[Move]:
        if w.deaths < self.bounds.deaths:
            fresh = w._replace(deaths=w.deaths + 1)
            for n in range(self.bounds.agents):
                yield "kill agent", fresh._replace(agents=put(w.agents, n, holder.restarted(w.agents[n])))
            yield "kill scheduler", self._begun(fresh, w.base)
        if self.bounds.restores and not w.restored:
            if w.copy is None:
                yield "back up", w._replace(copy=w.base)
            elif w.copy != w.base:
                yield "restore", self._begun(w._replace(restored=True, copy=None), w.copy)

    def _begun(self, w: World, base: Base) -> World:
        """A new scheduler on what is written asks every agent what it holds."""
        nobody = (False,) * self.bounds.agents
        jobs = tuple(row._replace(old=row.state in LEASED_STATES | {JobState.OFFERED}) for row in base.jobs)
        w = w._replace(base=base._replace(heard=nobody, jobs=jobs), plans=(None,) * self.bounds.replicas)
        for n in range(self.bounds.agents):
            w = self._post(w, n, ("ask",)) or w
        return w
