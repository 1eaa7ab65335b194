"""The contract between scheduler and agents: one definition, imported by both.

Lives here: vocabulary, messages, envelope, topics, the AsyncAPI document, log fields. Touches nothing. In and out:
typed values and their JSON.
"""

from agents.contract.envelope import SCHEMA_VERSION, Envelope, RefusedMessage, decode, encode, expect, wrap
from agents.contract.topics import PREFIX, TOPICS, Topic, identify
from agents.contract.vocabulary import (
    CLOSED_STATES,
    FILE_FAULTS,
    LEASED_STATES,
    MACHINE_FAULTS,
    MOTION_STATES,
    TRANSITIONAL_STATES,
    FailureClass,
    JobState,
    MachineState,
    NeedClass,
    Process,
    Ring,
)

__all__ = [
    "CLOSED_STATES",
    "FILE_FAULTS",
    "LEASED_STATES",
    "MACHINE_FAULTS",
    "MOTION_STATES",
    "PREFIX",
    "SCHEMA_VERSION",
    "TOPICS",
    "TRANSITIONAL_STATES",
    "Envelope",
    "FailureClass",
    "JobState",
    "MachineState",
    "NeedClass",
    "Process",
    "RefusedMessage",
    "Ring",
    "Topic",
    "decode",
    "encode",
    "expect",
    "identify",
    "wrap",
]
