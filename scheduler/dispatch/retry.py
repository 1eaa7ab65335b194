"""What happens after a failed attempt: a table by failure class. Pure.

Every class has a cap; nothing is tried without end, and the wrong thing is not tried again (a rejected line goes to
another machine, a lost toolpath to the same one).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from agents.contract.vocabulary import FILE_FAULTS, MACHINE_FAULTS, MAYBE_MADE, FailureClass

#: Attempts of one job over all classes; then a person decides.
MOST_ATTEMPTS: Final = 6
#: Faults of a machine's own in a row that quarantine it.
FAULTS_TO_QUARANTINE_MACHINE: Final = 2
#: Distinct machines a file must fail on to be quarantined.
MACHINES_TO_QUARANTINE_FILE: Final = 2


@dataclass(frozen=True, slots=True)
class Rule:
    """At most `attempts` attempts ended by this class; wait before the next; whether the same machine may try again."""

    attempts: int
    wait: timedelta
    same_machine: bool


_LATER: Final = timedelta(minutes=2)
_SOON: Final = timedelta(seconds=5)
_NOW: Final = timedelta(0)

RULES: Final[dict[FailureClass, Rule]] = {
    **{failure: Rule(4, _SOON, same_machine=False) for failure in MACHINE_FAULTS},
    **{failure: Rule(3, _NOW, same_machine=False) for failure in FILE_FAULTS},
    **{failure: Rule(1, _NOW, same_machine=True) for failure in MAYBE_MADE},
    FailureClass.MATERIAL_RUNOUT: Rule(4, _SOON, same_machine=True),
    FailureClass.EMERGENCY_STOP: Rule(3, _LATER, same_machine=False),
    FailureClass.PRESENCE_LOST: Rule(5, _SOON, same_machine=True),
    FailureClass.GATE_CLOSED: Rule(5, _LATER, same_machine=True),
    FailureClass.TOOLPATH_UNAVAILABLE: Rule(5, _LATER, same_machine=True),
    FailureClass.AGENT_RESTARTED: Rule(5, _SOON, same_machine=True),
    FailureClass.CANCELLED_BY_OPERATOR: Rule(3, _NOW, same_machine=False),
    FailureClass.OTHER: Rule(3, _LATER, same_machine=False),
}


@dataclass(frozen=True, slots=True)
class Again:
    """Try again after `wait`; not on the machine it failed on unless `same_machine`."""

    wait: timedelta
    same_machine: bool


@dataclass(frozen=True, slots=True)
class Stop:
    """No more attempts by itself; `why` tells a person."""

    why: str


def after_failure(failure: FailureClass, *, attempt: int, of_this_class: int, file_quarantined: bool) -> Again | Stop:
    """What to do after attempt number `attempt`, the `of_this_class`-th of this job that ended so (both from 1)."""
    rule = RULES[failure]
    if failure in MAYBE_MADE:
        why = "the shop's memory was put back to an old copy, and the part may be there: a person must decide"
        return Stop(f"{why} (look, then release the job to have it made again, or cancel it)")
    if file_quarantined:
        return Stop("the file failed on two machines: it is quarantined until a person has looked at it")
    if attempt >= MOST_ATTEMPTS:
        return Stop(f"{attempt} attempts failed, the last by {_words(failure)}: a person must decide")
    if of_this_class >= rule.attempts:
        return Stop(f"{of_this_class} attempts ended by {_words(failure)}: a person must decide")
    return Again(rule.wait, rule.same_machine)


def _words(failure: FailureClass) -> str:
    return failure.replace("_", " ")
