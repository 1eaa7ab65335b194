"""Planning: which machines make which jobs when, and why.

Lives here: the planner's values, its checkers, engines and façade. May touch: nothing outside itself (no clock, network
or database; engines may use child processes). In: a `Snapshot`; out: a `Plan` with reasons, a bound or none, and waits.
"""

from scheduler.planning.compiling import BadSnapshot
from scheduler.planning.planner import plan
from scheduler.planning.snapshot import (
    Carbon,
    Circuit,
    Crew,
    Declined,
    DurationOption,
    Fixed,
    Leg,
    Material,
    MaterialNeed,
    Placement,
    Plan,
    PlanJob,
    PlanMachine,
    PlanPolicy,
    PlanTool,
    Pressure,
    Rejected,
    Shut,
    Snapshot,
    Term,
    Waiting,
    Window,
)

__all__ = [
    "BadSnapshot",
    "Carbon",
    "Circuit",
    "Crew",
    "Declined",
    "DurationOption",
    "Fixed",
    "Leg",
    "Material",
    "MaterialNeed",
    "Placement",
    "Plan",
    "PlanJob",
    "PlanMachine",
    "PlanPolicy",
    "PlanTool",
    "Pressure",
    "Rejected",
    "Shut",
    "Snapshot",
    "Term",
    "Waiting",
    "Window",
    "plan",
]
