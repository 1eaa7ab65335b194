"""The crowd of `tests.benchmarks.dispatch`, a process of its own: agents whose machines run and who tell how far.

`python -m tests.benchmarks.dispatch_fleet BROKER_PORT AGENTS RATE SECONDS` reads the names of their jobs (JSON) from
standard input, says RATE events a second and agent, and hears every acknowledgement. RATE 0: all at once.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from agents.contract import PREFIX, decode, encode, wrap
from agents.contract import messages as m
from scheduler.clock import SystemClock
from tests.agents import peer
from tests.benchmarks.dispatch_scheduler import agent_of

_CONNECTIONS = 4
#: Events each of the crowd is ahead of the one before, modulo: journals of a town are not in step.
_OUT_OF_STEP = 17


def at_once(_client: paho.Client, _data: object, connection: socket.socket) -> None:
    """What the programs of both sides do to their connections, too."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def client_of(port: int, name: str) -> paho.Client:
    """A connection that sends at once."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv5)
    client.max_inflight_messages_set(1000)
    client.on_socket_open = at_once
    client.connect("127.0.0.1", port)
    client.loop_start()
    peer.eventually(client.is_connected, 10)
    return client


class Crowd:
    """All agents, their journals' numbers, and when what was said and answered."""

    def __init__(self, port: int, jobs: list[str]) -> None:
        self.jobs, self.clock = jobs, SystemClock()
        self.agents = [agent_of(number) for number in range(len(jobs))]
        self.seq = [0] * len(jobs)
        self.said: list[dict[int, float]] = [{} for _ in jobs]
        self.late_s: list[float] = []
        self.clients = [client_of(port, f"fleet-{number}") for number in range(_CONNECTIONS)]
        self.ears = client_of(port, "fleet-ears")
        self.ears.on_message = lambda _c, _d, message: self._heard(message.topic, message.payload)
        self.ears.subscribe(f"{PREFIX}/+/+/inbox", 1)

    def _heard(self, topic: str, payload: bytes) -> None:
        shop = topic.split("/")[2]
        if not shop.startswith("shop"):
            return
        body, said = decode(payload).body, self.said[int(shop[4:])]
        if isinstance(body, m.JournalAck):
            now = time.monotonic()
            for seq in [seq for seq in tuple(said) if seq <= body.upto]:
                self.late_s.append(now - said.pop(seq))

    def say(self, number: int) -> None:
        """One event of one agent."""
        agent = self.agents[number]
        self.seq[number] += 1
        body = m.Progressed(job=self.jobs[number], fence=1, machine="m1", line=self.seq[number], fraction=0.5)
        sender = f"agent/{agent.shop}/{agent.name}"
        payload = encode(wrap(body, sender=sender, now=self.clock.now(), seq=self.seq[number]))
        self.said[number][self.seq[number]] = time.monotonic()
        self.clients[number % _CONNECTIONS].publish(agent.journal_topic(), payload, qos=1)


def main() -> None:
    """Speak, hear, tell."""
    port, agents, rate, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
    crowd = Crowd(port, json.loads(sys.stdin.readline()))
    for number in range(agents):
        for _ in range(number % _OUT_OF_STEP):
            crowd.say(number)
    pause = threading.Event()
    pause.wait(2.0)
    before = sum(crowd.seq)
    crowd.late_s.clear()
    began = time.monotonic()
    print(json.dumps({"began": began, "before": before}), flush=True)
    ticks = int(seconds * (rate or 1))
    for tick in range(ticks):
        for number in range(agents):
            crowd.say(number)
            if rate and (number % 25 == 24 or number == agents - 1):
                due = began + (tick + number / agents) / rate
                pause.wait(max(0.0, due - time.monotonic()))
    done = time.monotonic()
    until = done + 120
    while any(crowd.said) and time.monotonic() < until:
        pause.wait(0.02)
    late = sorted(crowd.late_s)
    print(
        json.dumps(
            {
                "said": sum(crowd.seq),
                "offered_s": done - began,
                "answered_s": time.monotonic() - began,
                "p50_s": late[len(late) // 2],
                "p99_s": late[int(0.99 * len(late))],
                "cpu_s": time.process_time(),
            }
        ),
        flush=True,
    )
    for client in (*crowd.clients, crowd.ears):
        client.disconnect()
        client.loop_stop()


if __name__ == "__main__":
    main()
