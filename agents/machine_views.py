"""How each machine looks from outside: to the network (its report), to the owner's rules, and to the board's puller.

In: supervisors, spool, policy. Out: values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from msgspec import structs

from agents.board import OwnMachine
from agents.clock import Clock
from agents.config import AgentConfig
from agents.contract.messages import MachineReport
from agents.contract.vocabulary import MachineState
from agents.doubt import doubt_about
from agents.lease import WAITING, LeaseState
from agents.machine import Supervisor
from agents.own_jobs import own_until
from agents.policy import MachineView, Policy, attended_hours, maintenance_of, needs_person, open_hours
from agents.reports import Home, Hours, described, machine_state, report
from agents.safety import Presence
from agents.spool import Spool
from firmware_bridges.bridge import Status

#: Claims that were neither granted nor taken back count against the queue for so long.
_CLAIM_COUNTS: Final = timedelta(minutes=10)


class MachineViews:
    """Called from any thread."""

    def __init__(
        self,
        config: AgentConfig,
        spool: Spool,
        presence: Presence,
        clock: Clock,
        *,
        supervisors: Mapping[str, Supervisor],
        policy: Callable[[], Policy],
    ) -> None:
        self._home = Home(config.shop, config.agent, config.ring)
        self._spool, self._presence, self._clock = spool, presence, clock
        self._supervisors, self._policy = supervisors, policy
        self._hours: dict[str, tuple[Policy, datetime, Hours]] = {}

    def view(self, machine: str) -> MachineView:
        """What the policy may know of a machine."""
        supervisor = self._supervisors[machine]
        flags = self._spool.flags(machine)
        waiting = len(self._spool.leases(machine, WAITING | {LeaseState.INTENDED}))
        claims = self._spool.claims_open(machine, self._clock.now() - _CLAIM_COUNTS)
        description = structs.replace(supervisor.machine.description, materials=supervisor.materials(flags))
        return MachineView(description, waiting + claims, flags.disabled, self._presence.present(machine))

    def own_machines(self) -> tuple[OwnMachine, ...]:
        """The machines as the board's puller sees them."""
        return tuple(self._own_machine(supervisor) for supervisor in self._supervisors.values())

    def _own_machine(self, supervisor: Supervisor) -> OwnMachine:
        flags = self._spool.flags(supervisor.name)
        idle = machine_state(supervisor.bridge.status(), flags)[0] is MachineState.IDLE
        free = idle and not self._spool.leases(supervisor.name)
        return OwnMachine(supervisor.machine, self.view(supervisor.name), free)

    def report(self, machine: str) -> MachineReport:
        """The machine's report as of now."""
        supervisor = self._supervisors[machine]
        flags, now = self._spool.flags(machine), self._clock.now()
        policy, status = self._policy(), supervisor.bridge.status()
        hours = self._hours_of(machine, policy, now)
        description = described(supervisor.machine, supervisor.materials(flags), status)
        open_to_pool = policy.pool and machine not in policy.closed_machines
        return report(
            self._home,
            structs.replace(description, attended=needs_person(description, policy)),
            status,
            flags,
            running=supervisor.running(),
            since=now,
            accepts_pool_work=open_to_pool and hours.any_left and not flags.disabled,
            present=self._presence.present(machine),
            gates=supervisor.gates,
            hours=hours,
            own_until=self._own_until(machine, status, now),
        )

    def _own_until(self, machine: str, status: Status, now: datetime) -> datetime | None:
        own = [each for each in self._spool.leases(machine) if each.own and not doubt_about(self._spool, each.lease)]
        return own_until(own, min(1.0, status.line / status.total_lines) if status.total_lines else 0.0, now)

    def _hours_of(self, machine: str, policy: Policy, now: datetime) -> Hours:
        """Worked out once an hour and policy: a rule is expanded from its first day on, which a Pi feels."""
        hour = now.replace(minute=0, second=0, microsecond=0)
        known = self._hours.get(machine)
        if known is not None and known[0] is policy and known[1] == hour:
            return known[2]
        bounded = policy.windows or policy.quiet
        found = Hours(
            open_hours(machine, hour, policy) if bounded else None,
            attended_hours(machine, hour, policy),
            maintenance_of(machine, hour, policy),
            policy.people,
            policy.hours_a_week,
            policy.zone.key,
        )
        self._hours[machine] = (policy, hour, found)
        return found
