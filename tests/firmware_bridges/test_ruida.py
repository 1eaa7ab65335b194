"""Ruida: bytes as published, and a bridge against a small twin on the loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridges import ruida_wire as wire
from firmware_bridges.bridge import (
    BridgeState,
    Capability,
    Event,
    Failure,
    MachineConfig,
    NotNow,
    NotSupported,
    RunCancelled,
    RunFailed,
    RunFinished,
    WrongMachine,
)
from firmware_bridges.ruida import RuidaBridge
from firmware_bridges.twins.host import TwinHost
from firmware_bridges.twins.ruida import CARD, RuidaSerialTwin, RuidaTwin
from tests.firmware_bridges.simulated_line import Lines

JOB = ["; a square", "88 00 00 00 00 00 00 00 00 00 00", *["a9 00 64 00 00 ; 100 um"] * 600, "d7"]


def test_bytes_as_published() -> None:
    assert wire.swizzle(bytes([wire.ACK])) == b"\xc6"
    assert wire.swizzle(b"\xda\x00\x05\x7e") == b"\xd4\x89\x0d\xf7"
    assert wire.encode_number(1_000_000) == bytes([0, 0, 0x3D, 0x04, 0x40])


@given(st.binary(min_size=1, max_size=1470), st.sampled_from([0x88, 0x11, 0x38]))
def test_scrambling_and_packets_come_back(data: bytes, magic: int) -> None:
    assert wire.unswizzle(wire.swizzle(data, magic), magic) == data
    assert wire.payload_of(wire.packet(data, magic), magic) == data


@given(st.binary(min_size=2, max_size=100), st.integers(2, 101), st.integers(1, 255))
def test_a_changed_byte_is_refused(data: bytes, place: int, change: int) -> None:
    datagram = bytearray(wire.packet(data))
    place = 2 + place % len(data)
    datagram[place] ^= change
    assert wire.payload_of(bytes(datagram)) is None


@given(st.integers(0, 2**35 - 1))
def test_numbers_come_back(value: int) -> None:
    assert wire.decode_number(wire.encode_number(value)) == value


@pytest.mark.parametrize("text", ["g0 x1", "00 11", "88 ff", "8"])
def test_what_is_not_a_command(text: str) -> None:
    assert wire.command(text) is None


@contextmanager
def at_work(twin: RuidaTwin, **changes: str) -> Iterator[tuple[RuidaBridge, list[Event], threading.Event]]:
    config = MachineConfig(
        f"127.0.0.1:{twin.port}", "ruida", process="laser", options=(("reply_port", "0"),), **changes
    )
    bridge = RuidaBridge(config)
    events: list[Event] = []
    over = threading.Event()

    def hear(event: Event) -> None:
        events.append(event)
        if isinstance(event, RunFinished | RunFailed | RunCancelled):
            over.set()

    bridge.listen(hear)
    try:
        yield bridge, events, over
    finally:
        bridge.close()


def test_a_job_is_uploaded_once_whatever_the_network_does() -> None:
    with RuidaTwin() as twin, at_work(twin) as (bridge, events, over):
        identity = bridge.connect()
        assert identity.fingerprint == f"ruida:{CARD:08x}"
        assert Capability.UPLOAD_AND_START in identity.capabilities
        twin.naks, twin.losses = 1, 1
        bridge.run(Lines(JOB))
        assert over.wait(10)
        assert isinstance(events[-1], RunFinished), events
        wanted = b"".join(wire.command(text) or b"" for text in JOB)
        assert bytes(twin.stored).count(wanted) == 1
        assert len(twin.stored) == len(wanted)
        assert bridge.status().resends >= 1
        with pytest.raises(NotSupported):
            bridge.run(Lines(JOB), 2)


def test_hold_resume_and_cancel_are_confirmed_by_the_status() -> None:
    with RuidaTwin(works_for_s=30) as twin, at_work(twin) as (bridge, events, over):
        bridge.connect()
        bridge.run(Lines(JOB))
        assert bridge.session.wait_until(lambda: bridge.status().state is BridgeState.RUNNING, 5)
        bridge.hold()
        assert bridge.session.wait_until(lambda: bridge.status().state is BridgeState.HELD, 5)
        assert twin.paused
        bridge.resume()
        assert not twin.paused
        bridge.cancel()
        assert over.wait(5)
        assert isinstance(events[-1], RunCancelled)
        assert not twin.running


def test_a_controller_that_falls_silent_fails_the_run() -> None:
    with RuidaTwin(works_for_s=30) as twin, at_work(twin) as (bridge, events, over):
        bridge.connect()
        bridge.run(Lines(JOB))
        assert bridge.session.wait_until(lambda: bridge.status().state is BridgeState.RUNNING, 5)
        twin.losses = 1000
        assert over.wait(10)
        failed = events[-1]
        assert isinstance(failed, RunFailed)
        assert failed.failure is Failure.LINK_LOST
        assert failed.may_be_moving


def test_emergency_stop_and_bad_jobs() -> None:
    with RuidaTwin(works_for_s=30) as twin, at_work(twin) as (bridge, events, over):
        bridge.connect()
        bridge.run(Lines(["88 00", "not hex"]))
        assert over.wait(5)
        assert isinstance(events[-1], RunFailed)
        assert events[-1].failure is Failure.LINE_REJECTED
        over.clear()
        bridge.run(Lines(JOB))
        assert bridge.session.wait_until(lambda: bridge.status().state is BridgeState.RUNNING, 5)
        bridge.emergency_stop()
        assert over.wait(5)
        with pytest.raises(NotNow):
            bridge.run(Lines(JOB))


def test_another_card_is_refused() -> None:
    with (
        RuidaTwin() as twin,
        at_work(twin, fingerprint="ruida:00000001") as (bridge, _, _over),
        pytest.raises(WrongMachine, match="another machine"),
    ):
        bridge.connect()


@contextmanager
def on_serial(twin: RuidaSerialTwin, speed: float = 1.0) -> Iterator[tuple[RuidaBridge, TwinHost, threading.Event]]:
    with TwinHost(twin, speed=speed) as host:
        bridge = RuidaBridge(MachineConfig(host.port, "ruida", process="laser"))
        over = threading.Event()
        bridge.listen(lambda e: over.set() if isinstance(e, RunFinished | RunFailed | RunCancelled) else None)
        try:
            yield bridge, host, over
        finally:
            bridge.close()


@pytest.mark.parametrize("acknowledges", [True, False])
def test_on_the_serial_port_the_job_arrives_once_and_bare(acknowledges: bool) -> None:
    twin = RuidaSerialTwin(works_for_s=0.3, acknowledges=acknowledges)
    with on_serial(twin) as (bridge, _, over):
        assert Capability.CHECKSUMS not in bridge.connect().capabilities
        bridge.run(Lines(JOB))
        assert over.wait(10)
        assert bridge.status().line == len(JOB), bridge.status().why
        assert bytes(twin.controller.stored) == b"".join(wire.command(text) or b"" for text in JOB)


def test_a_refusal_on_the_serial_port_fails_the_run_and_nothing_starts() -> None:
    twin = RuidaSerialTwin(works_for_s=0.3)
    with on_serial(twin) as (bridge, host, over):
        bridge.connect()
        host.fault("nak")
        bridge.run(Lines(JOB))
        assert over.wait(10)
        assert bridge.status().state is BridgeState.FAULT
        assert twin.controller.executed == []


def test_an_emergency_stop_during_the_upload_is_never_followed_by_a_start() -> None:
    twin = RuidaSerialTwin(works_for_s=30)
    with on_serial(twin) as (bridge, host, over):
        bridge.connect()
        host.fault("mute", for_s=0.4)
        bridge.run(Lines(JOB * 5))
        bridge.emergency_stop()
        assert over.wait(5)
        bridge.close()
        assert not twin.controller.running
        assert twin.controller.executed == []
