"""Offers, not commands (A1): a hostile granter says everything it can say, and nothing of it reaches the wire.

A real bridge on a pseudo-terminal, overheard on the machine's side of the line: while every message type comes with
every kind of field, replayed and re-fenced, only the bridge's own read-only questions pass.
"""

from __future__ import annotations

import contextlib
import json
import logging
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from agents.agent import Agent
from agents.contract import messages as m
from agents.contract.envelope import RefusedMessage, encode, wrap
from agents.hands import Hands
from agents.policy import Policy
from firmware_bridges.bridge import BridgeState, MachineConfig
from firmware_bridges.registry import open_bridge
from firmware_bridges.toolpath_file import ToolpathFile
from firmware_bridges.twins.host import Twin, TwinHost
from firmware_bridges.twins.run import TwinOptions, make_twin
from tests.agents.peer import eventually
from tests.agents.scene import PROGRAM, FakeClock, Scene, grant_of, machine_settings, offer_of, shop_config
from tests.contract.whole import whole

INBOX = get_args(m.InboxMessage)
STRINGS = ("", "m1", "j1", "o1", "x" * 64, "x" * 65, "../etc", "G1 X100", "\x18", "M112", "ü", "a b", "+", "#")
NUMBERS = (-1, 0, 1, 2, 7, 2**31, 2**53, 2**63, 2**64, 10**300, 1.5, -0.0)
ODD = (
    None,
    True,
    [],
    {},
    [1],
    {"type": "offer"},
    "2030-01-01T00:00:00",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
)


def plain(body: m.InboxMessage) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(body)
    return built


def samples() -> list[dict[str, Any]]:
    """One well-formed message of every kind."""
    offer = offer_of()
    bodies = [
        offer,
        grant_of(offer),
        m.Withdrawal(job="j1", offer="o1", lease="lease-j1-1", fence=1, why="because"),
        m.PauseRequest(job="j1", fence=1, why="because"),
        m.CancelRequest(job="j1", fence=1, why="because"),
        m.JournalAck(upto=1, refused=(m.RefusedEvent(seq=1, why="no"),)),
        m.ReconcileRequest(why="because"),
        m.BookRequest(scheduler="main", epoch=1, settled=0),
    ]
    assert {type(body) for body in bodies} == set(INBOX), "every kind is here"
    return [plain(body) for body in bodies]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every field and element of a message."""
    if path:
        yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, (*path, index))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    copy = json.loads(json.dumps(value))
    at = copy
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = new
    return copy


def envelope(body: Any, dice: random.Random, scene_now: str) -> bytes:
    return json.dumps(
        {"v": 1, "id": f"{dice.getrandbits(64):x}", "sent": scene_now, "sender": "scheduler/evil", "body": body}
    ).encode()


def attacks(now: str) -> Iterator[bytes]:
    """Every kind with every field replaced by every odd value, then random doubles of those, replayed and re-fenced."""
    dice = random.Random(11)
    every = samples()
    sent: list[bytes] = []
    for body in (*every, *map(whole, INBOX)):
        for path in places(body):
            for new in (*STRINGS, *NUMBERS, *ODD):
                sent.append(envelope(changed(body, path, new), dice, now))
                yield sent[-1]
    for _ in range(400):
        body = dice.choice(every)
        for _ in range(dice.randrange(1, 4)):
            path = dice.choice(list(places(body)))
            if len(path) == 1 or path[0] != "type":
                body = changed(body, path, dice.choice((*STRINGS, *NUMBERS, *ODD)))
        sent.append(envelope(body, dice, now))
        yield sent[-1]
        yield dice.choice(sent)
    for fence in (1, 2, 3, 100, 2**40):
        for kind in every:
            if "fence" in kind:
                yield envelope({**kind, "fence": fence}, dice, now)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_a_core_that_declines_everything_runs_nothing_whatever_is_said(memory_path: Path) -> None:
    scene = Scene(memory_path, policy=lambda: Policy(pool=False))
    scene.set_flags(bed_clear=True)
    count = 0
    for payload in attacks(scene.clock.now().isoformat()):
        count += 1
        try:
            scene.hear_bytes(payload)
        except RefusedMessage:
            continue
    assert count > 1800
    assert scene.bridge.runs == []
    assert scene.bridge.calls == [], "not even a hold: nothing of theirs is held here"
    assert "Claimed" not in scene.kinds()
    assert "StartIntended" not in scene.kinds()
    assert scene.spool.leases() == ()
    scene.close()


class Overheard:
    """A twin, and every byte that came to it."""

    def __init__(self, twin: Twin) -> None:
        self._twin = twin
        self.bytes = bytearray()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._twin, name)

    def receive(self, data: bytes, now: float) -> None:
        self.bytes += data
        self._twin.receive(data, now)


#: What a bridge asks by itself: numbering, identity, temperatures, position, auto-report, capabilities, settings.
QUESTIONS = re.compile(rb"^(N\d+ ?)?(M110|M115|M105|M114|M155|M154|M27|M113|M503|M119)\b[^G]*$")


def test_only_the_bridges_own_questions_reach_a_printer_without_a_claim(memory_path: Path) -> None:
    twin = Overheard(make_twin(TwinOptions("marlin")))
    with TwinHost(twin, speed=60.0) as host:
        machine = machine_settings()
        machine = replace(machine, bridge=MachineConfig(host.port, "marlin"))
        agent = Agent(shop_config(memory_path, machine), open_bridge)
        agent.policy_file._policy = Policy(pool=False)
        agent.start()
        eventually(lambda: agent.supervisors["m1"].bridge.status().state is BridgeState.IDLE)
        agent.store.put(PROGRAM)
        Hands(agent).bed_clear("m1")
        for payload in attacks(agent.clock.now().isoformat()):
            agent._received("workshed/v1/alder/pi1/inbox", payload)
        # A whole conversation too, with everything in order but the claim.
        offer = offer_of(start=agent.clock.now())
        for body in (
            offer,
            grant_of(offer, 1, start_by=agent.clock.now() + timedelta(hours=1)),
            m.JournalAck(upto=agent.teller.told),
        ):
            message = wrap(body, sender="scheduler/main", now=agent.clock.now())
            agent._received("workshed/v1/alder/pi1/inbox", encode(message))
        agent.supervisors["m1"].catch_up()
        heard = [line for line in bytes(twin.bytes).splitlines() if line.strip()]
        assert heard, "the bridge and the twin spoke"
        strange = [line for line in heard if not QUESTIONS.match(line)]
        assert strange == []
        assert agent.spool.leases() == ()
        agent.end()


def test_the_ear_would_have_heard_a_run(memory_path: Path) -> None:
    """The same ear, with a claim: the toolpath's lines are heard, so the silence above means something."""
    twin = Overheard(make_twin(TwinOptions("marlin")))
    with TwinHost(twin, speed=60.0) as host:
        bridge = open_bridge(MachineConfig(host.port, "marlin"))
        bridge.connect()
        path = memory_path / "part.gcode"
        path.write_bytes(PROGRAM)
        bridge.run(ToolpathFile(path))
        eventually(lambda: any(b"G1 X10" in line for line in bytes(twin.bytes).splitlines()))
        bridge.close()


def test_times_of_another_epoch_are_refused_or_declined(tmp_path: Path) -> None:
    scene = Scene(tmp_path, clock=FakeClock())
    body = plain(offer_of()) | {"planned_start": "0001-01-01T00:00:00Z", "finish_p90": "9999-12-31T23:59:59Z"}
    with contextlib.suppress(RefusedMessage):
        scene.hear_bytes(envelope(body, random.Random(1), scene.clock.now().isoformat()))
    assert scene.kinds() in ([], ["Declined"])
    scene.close()


def test_only_the_named_schedulers_are_heard(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.inbox._config = replace(scene.config, schedulers=("home",))
    with pytest.raises(RefusedMessage, match="not one of the schedulers"):
        scene.hear(offer_of())
    assert scene.kinds() == []
    scene.close()
