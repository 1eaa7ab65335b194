"""One lease from offer to inspection, and every way it can end otherwise."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from agents.contract import messages as m
from agents.contract.vocabulary import FailureClass
from agents.lease import LeaseState
from firmware_bridges import bridge as b
from tests.agents.scene import T0, Scene, grant_of, offer_of


def state_of(scene: Scene, job: str = "j1") -> LeaseState:
    lease = scene.spool.lease_of_job(job)
    assert lease is not None
    return lease.state


def running(scene: Scene) -> m.Offer:
    scene.set_flags(bed_clear=True)
    offer = scene.claim_and_grant()
    scene.acknowledge()
    scene.bridge.first_line()
    scene.turn()
    assert state_of(scene) is LeaseState.RUNNING
    return offer


def test_the_whole_way(scene: Scene) -> None:
    scene.set_flags(bed_clear=True)
    scene.claim_and_grant()
    assert scene.kinds() == ["Claimed", "Staged", "Ready", "StartIntended"]
    assert scene.bridge.runs == [], "nothing moves before the start is committed"
    scene.acknowledge()
    assert len(scene.bridge.runs) == 1
    assert state_of(scene) is LeaseState.STARTING
    scene.bridge.first_line()
    scene.turn()
    scene.clock.go(6)
    scene.bridge.progress(5)
    scene.bridge.finish()
    scene.turn()
    assert scene.kinds()[4:] == ["Running", "Progressed", "Finished"]
    assert state_of(scene) is LeaseState.FINISHED
    assert not scene.spool.flags("m1").bed_clear, "the part is on the bed"
    assert scene.spool.flags("m1").materials == (m.LoadedMaterial(material="PLA", remaining_g=488.0),)


def test_a_start_that_was_refused_never_moves(scene: Scene) -> None:
    scene.set_flags(bed_clear=True)
    scene.claim_and_grant()
    scene.acknowledge((m.RefusedEvent(seq=scene.spool.last_seq, why="fence 1 is stale"),))
    assert scene.bridge.runs == []
    assert state_of(scene) is LeaseState.RELEASED


def test_an_acknowledgement_of_numbers_that_do_not_exist_yet_authorises_nothing(scene: Scene) -> None:
    scene.hear(m.JournalAck(upto=1000))
    scene.set_flags(bed_clear=True, disarmed="", materials=None)
    scene.claim_and_grant()
    assert scene.kinds()[-1] == "StartIntended"
    assert scene.bridge.runs == []


def test_gates_shut_are_told_once_and_opening_starts(scene: Scene) -> None:
    scene.claim_and_grant()
    scene.turn()
    scene.turn()
    assert scene.kinds() == ["Claimed", "Staged", "GatesShut"]
    shut = scene.events()[-1].body
    assert isinstance(shut, m.GatesShut)
    assert [gate.gate for gate in shut.gates if not gate.open] == ["bed_clear"]
    scene.set_flags(bed_clear=True)
    assert scene.kinds()[-1] == "StartIntended"


def test_gates_that_shut_between_intention_and_commit_hold_the_start_back_then_fail_it(scene: Scene) -> None:
    scene.set_flags(bed_clear=True)
    scene.claim_and_grant()
    scene.set_flags(bed_clear=False)
    scene.acknowledge()
    assert scene.bridge.runs == []
    scene.clock.go(60)
    scene.turn()
    assert state_of(scene) is LeaseState.INTENDED
    scene.clock.go(61)
    scene.turn()
    failed = scene.events()[-1].body
    assert isinstance(failed, m.Failed)
    assert failed.failure is FailureClass.GATE_CLOSED
    assert scene.bridge.runs == []


def test_fences_must_rise(scene: Scene) -> None:
    offer = scene.claim_and_grant(fence=5)
    again = offer_of("j1", "o2", attempt=2)
    scene.hear(again)
    for fence in (1, 4, 5):
        scene.hear(grant_of(again, fence, lease=f"x{fence}"))
        refused = scene.events()[-1].body
        assert isinstance(refused, m.GrantRefused)
        assert "is not above 5" in refused.why
    scene.hear(grant_of(again, 6))
    assert scene.spool.highest_fence("j1") == 6
    live = scene.spool.leases()
    assert [lease.fence for lease in live] == [6], "the older lease was given back"
    assert offer.offer == "o1"


def test_grants_without_a_claim_or_with_other_names_are_refused(scene: Scene) -> None:
    offer = offer_of()
    scene.hear(grant_of(offer))
    assert scene.kinds() == ["GrantRefused"]
    scene.hear(offer)
    for wrong in (
        grant_of(offer_of("other", "o1")),
        grant_of(offer_of(machine="m2")),
        grant_of(offer_of(attempt=2)),
    ):
        scene.hear(wrong)
        assert scene.kinds()[-1] == "GrantRefused"
    assert scene.spool.leases() == ()


def test_a_repeated_offer_gets_the_recorded_answer(scene: Scene) -> None:
    payload = scene.message(offer_of())
    scene.hear_bytes(payload)
    effects = scene.hear_bytes(payload)
    assert scene.kinds() == ["Claimed"]
    assert [getattr(effect, "seq", None) for effect in effects] == [1], "event 1 is told again, nothing new is decided"
    scene.hear(offer_of())
    assert scene.kinds() == ["Claimed"], "the same offer in a new envelope is still the same offer"


def test_a_lease_lapses_at_its_time_and_a_withdrawn_one_is_given_back(scene: Scene) -> None:
    scene.claim_and_grant()
    scene.clock.go(2 * 3600 + 1)
    scene.turn()
    assert state_of(scene) is LeaseState.RELEASED
    assert scene.kinds()[-1] == "GivenUp", "its granter, whose clock may go otherwise, must not wait for it"
    second = offer_of("j2", "o2", start=scene.clock.now())
    scene.hear(second)
    scene.hear(grant_of(second))
    scene.hear(m.Withdrawal(job="j2", lease="lease-j2-1", why="another shop is nearer"))
    assert state_of(scene, "j2") is LeaseState.RELEASED


def test_a_wrong_wall_clock_does_not_shorten_a_lease(scene: Scene) -> None:
    offer = offer_of()
    scene.hear(offer)
    grant = scene.message(grant_of(offer))
    scene.clock.wall += timedelta(hours=1, minutes=59)
    scene.hear_bytes(grant)
    scene.clock.go(600)
    scene.turn()
    assert state_of(scene) is LeaseState.STAGED


def test_a_withdrawal_after_the_intention_waits_for_the_answer(scene: Scene) -> None:
    scene.set_flags(bed_clear=True)
    scene.claim_and_grant()
    scene.hear(m.Withdrawal(job="j1", lease="lease-j1-1", why="changed our mind"))
    assert state_of(scene) is LeaseState.INTENDED
    scene.acknowledge((m.RefusedEvent(seq=scene.spool.last_seq, why="withdrawn"),))
    assert state_of(scene) is LeaseState.RELEASED
    assert scene.bridge.runs == []


def test_pause_and_cancel_by_message_need_the_right_fence(scene: Scene) -> None:
    running(scene)
    scene.hear(m.PauseRequest(job="j1", fence=9, why="no"))
    scene.hear(m.CancelRequest(job="j1", fence=9, why="no"))
    assert scene.bridge.calls == []
    scene.hear(m.PauseRequest(job="j1", fence=1, why="breaker"))
    assert scene.bridge.calls == ["hold"]
    assert state_of(scene) is LeaseState.RUNNING, "held only once the machine says so"
    scene.bridge.stands()
    scene.turn()
    held = scene.events()[-1].body
    assert isinstance(held, m.Held)
    assert "breaker" in held.why
    scene.hear(m.CancelRequest(job="j1", fence=1, why="wrong colour"))
    scene.bridge.cancelled()
    scene.turn()
    assert scene.kinds()[-1] == "CancelConfirmed"
    assert not scene.spool.flags("m1").bed_clear


def test_link_loss_ends_the_attempt_with_the_last_confirmed_line(scene: Scene) -> None:
    running(scene)
    scene.bridge.progress(5)
    scene.bridge.fail(b.Failure.LINK_LOST, b.BridgeState.OFFLINE)
    scene.turn()
    failed = scene.events()[-1].body
    assert isinstance(failed, m.Failed)
    assert (failed.failure, failed.last_line) == (FailureClass.LINK_LOST, 5)
    scene.bridge.become(b.BridgeState.DISARMED)
    scene.set_flags(bed_clear=True)
    scene.claim_and_grant(offer_of("j2", "o2"))
    scene.acknowledge()
    assert len(scene.bridge.runs) == 1, "nothing moves until a person re-arms"
    assert state_of(scene, "j2") is LeaseState.STAGED


def test_after_a_restart_in_mid_run_the_attempt_is_over_and_the_machine_disarmed(scene: Scene, tmp_path: Path) -> None:
    running(scene)
    scene.clock.go(3)
    scene.bridge.progress(4)
    scene.turn()
    scene.spool.close()
    after = Scene(tmp_path, clock=scene.clock)
    failed = after.events()[-1].body
    assert isinstance(failed, m.Failed)
    assert (failed.failure, failed.last_line) == (FailureClass.AGENT_RESTARTED, 4)
    after.set_flags(bed_clear=True)
    after.claim_and_grant(offer_of("j2", "o2"))
    after.acknowledge()
    assert after.bridge.runs == []
    assert [gate.gate for gate in after.supervisor.gates if not gate.open] == ["armed"]
    after.set_flags(disarmed="")
    assert after.kinds()[-1] == "StartIntended"
    after.acknowledge()
    assert len(after.bridge.runs) == 1
    after.close()


def test_an_intended_start_ends_with_its_process_and_waits_for_a_person(scene: Scene, tmp_path: Path) -> None:
    scene.set_flags(bed_clear=True)
    scene.claim_and_grant()
    scene.spool.close()
    after = Scene(tmp_path, clock=scene.clock)
    after.turn()
    after.acknowledge()
    assert after.bridge.runs == []
    assert after.kinds()[-2:] == ["StartIntended", "Failed"]
    flags = after.spool.flags("m1")
    assert not flags.bed_clear, "this memory may be a copy from before the machine was called"
    assert "nothing moved that it remembers" in flags.disarmed
    after.close()


def test_a_corrupt_byte_on_disk_is_refused_before_motion(scene: Scene) -> None:
    scene.set_flags(bed_clear=True)
    offer = scene.claim_and_grant()
    path = scene.store.path(offer.toolpath.sha256)
    data = bytearray(path.read_bytes())
    data[10] ^= 1
    path.write_bytes(bytes(data))
    scene.acknowledge()
    assert scene.bridge.runs == []
    failed = scene.events()[-1].body
    assert isinstance(failed, m.Failed)
    assert failed.failure is FailureClass.TOOLPATH_UNAVAILABLE


def test_a_toolpath_outside_the_envelope_is_refused(tmp_path: Path) -> None:
    program = b"G21\nG90\nG28\nG1 X500 Y10 F3000\nM104 S0\n"
    scene = Scene(tmp_path, program=program)
    scene.set_flags(bed_clear=True)
    scene.claim_and_grant(offer_of(program=program))
    failed = scene.events()[-1].body
    assert isinstance(failed, m.Failed)
    assert failed.failure is FailureClass.TOOLPATH_UNSAFE
    assert "x from" in failed.why
    scene.close()


def test_the_first_of_two_granted_jobs_runs_and_the_second_waits_for_the_bed(scene: Scene) -> None:
    scene.set_flags(bed_clear=True)
    scene.claim_and_grant(offer_of("late", "o1", start=T0 + timedelta(minutes=30)))
    scene.claim_and_grant(offer_of("early", "o2", start=T0))
    states = {lease.job: lease.state for lease in scene.spool.leases()}
    assert states == {"late": LeaseState.INTENDED, "early": LeaseState.STAGED}, "work conserving: what was ready went"
    scene.acknowledge()
    scene.bridge.first_line()
    scene.bridge.finish()
    scene.turn()
    assert len(scene.bridge.runs) == 1
    scene.set_flags(bed_clear=True)
    scene.acknowledge()
    assert len(scene.bridge.runs) == 2


def test_an_offer_that_is_over_by_a_fast_clock_is_declined_with_that_reason(scene: Scene) -> None:
    sent = scene.message(offer_of(), valid_for=timedelta(seconds=60))
    scene.clock.wall += timedelta(hours=1)
    scene.hear_bytes(sent)
    (declined,) = [event.body for event in scene.events() if isinstance(event.body, m.Declined)]
    assert "3540 s after its end" in declined.reasons[0]
    assert "clocks is wrong" in declined.reasons[0]
    scene.hear(grant_of(offer_of()))
    assert "GrantRefused" in scene.kinds()


def test_a_hold_that_came_as_a_run_ended_explains_nothing_of_the_next(scene: Scene) -> None:
    scene.set_flags(bed_clear=True)
    offer = scene.claim_and_grant()
    scene.acknowledge()
    scene.bridge.first_line()
    scene.bridge.finish()
    scene.supervisor.hold("the scheduler asked: lunch")  # the end is on its way
    scene.turn()
    scene.set_flags(bed_clear=True)
    scene.claim_and_grant(offer_of("j2", "o2"))
    scene.acknowledge()
    scene.bridge.first_line()
    scene.turn()
    scene.bridge.become(b.BridgeState.HELD, "the machine's own button")
    scene.turn()
    held = [event.body for event in scene.events() if isinstance(event.body, m.Held)]
    assert [one.why for one in held] == ["the machine's own button"]
    assert offer.ticket.job != held[0].job
