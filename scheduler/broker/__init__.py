"""The embedded MQTT broker: found, configured, started and stopped as a child process on a loopback port.

Lives here: who may say and hear what (made from the contract's topic table), configurations for Mosquitto and
nats-server. May touch: its own folder and one child process. In: names of agents; out: an address and credentials.
"""

from scheduler.broker.access import Principal, agent_principal, scheduler_principal
from scheduler.broker.process import (
    BrokerFailed,
    BrokerKind,
    BrokerMissing,
    BrokerProgram,
    BrokerSetup,
    EmbeddedBroker,
    find_broker,
    probe,
    programs,
)
from scheduler.broker.standing import StandingBroker

__all__ = [
    "BrokerFailed",
    "BrokerKind",
    "BrokerMissing",
    "BrokerProgram",
    "BrokerSetup",
    "EmbeddedBroker",
    "Principal",
    "StandingBroker",
    "agent_principal",
    "find_broker",
    "probe",
    "programs",
    "scheduler_principal",
]
