"""The spool survives what kills its process, fills its disk or restores it from yesterday."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agents import forgetting
from agents.channels import Channel, home_channel
from agents.contract import messages as m
from agents.contract.envelope import decode
from agents.home_book import HomeBook
from agents.lease import LeaseState
from agents.spool import Lease, MachineFlags, Spool, SpoolBroken, SpoolFull
from tests.agents.scene import T0, Scene, offer_of

#: Writes for ever: each turn journals an event, raises a fence and moves a lease, in one transaction, then says so.
CHILD = """
import sys
from datetime import datetime, UTC
from pathlib import Path
from agents.spool import Spool
from agents.contract import messages as m
spool = Spool(Path(sys.argv[1]), sender="agent/a/b")
now = datetime(2030, 1, 1, tzinfo=UTC)
while True:
    with spool.transaction():
        seq = spool.journal(m.StartIntended(job="j", fence=1, machine="m1"), now)
        spool.raise_fence("j", seq)
        spool.record_seen(f"message-{seq}", "Grant", "held", now)
    sys.stdout.write(f"{seq}\\n")
    sys.stdout.flush()
"""


def spool_at(folder: Path) -> Spool:
    return Spool(folder / "agent.sqlite", sender="agent/a/b")


def test_kill_9_at_any_moment_loses_nothing_that_was_said_and_tears_nothing_apart(tmp_path: Path) -> None:
    """Twelve deaths: what the child reported as committed is there, and the three tables agree to the number."""
    dice = random.Random(7)
    said = 0
    for _ in range(12):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path / "agent.sqlite")], stdout=subprocess.PIPE)
        assert child.stdout is not None
        wanted = dice.randrange(1, 40)
        for _ in range(wanted):
            said = int(child.stdout.readline())
        os.kill(child.pid, signal.SIGKILL)
        rest = child.stdout.read().split()
        child.stdout.close()
        child.wait()
        said = int(rest[-1]) if rest else said
        spool = spool_at(tmp_path)
        last = spool.last_seq
        assert last >= said
        assert last <= said + 1, "at most the one that was being written"
        assert spool.highest_fence("j") == last
        assert spool.seen(f"message-{last}") == "held"
        assert spool.seen(f"message-{last + 1}") is None
        assert [seq for seq, _ in spool.unacknowledged(limit=10_000)] == list(range(1, last + 1))
        spool.close()


def test_a_write_ahead_log_cut_at_any_byte_is_an_earlier_state(tmp_path: Path) -> None:
    """Power loss: the log ends anywhere. What is read is some whole prefix of the transactions."""
    spool = spool_at(tmp_path)
    for _ in range(25):
        with spool.transaction():
            seq = spool.journal(m.StartIntended(job="j", fence=1, machine="m1"), T0)
            spool.raise_fence("j", seq)
    main, log = (tmp_path / "agent.sqlite").read_bytes(), (tmp_path / "agent.sqlite-wal").read_bytes()
    spool.close()
    dice = random.Random(3)
    seen = set()
    for number in range(40):
        folder = tmp_path / f"cut{number}"
        folder.mkdir()
        (folder / "agent.sqlite").write_bytes(main)
        (folder / "agent.sqlite-wal").write_bytes(log[: dice.randrange(len(log) + 1)])
        cut = spool_at(folder)
        assert cut.highest_fence("j") == cut.last_seq
        assert len(cut.unacknowledged(limit=1000)) == cut.last_seq
        seen.add(cut.last_seq)
        cut.close()
    assert len(seen) > 5, "the cuts reached different states"


def test_an_error_inside_leaves_nothing_behind(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)

    def broken() -> None:
        with spool.transaction():
            spool.journal(m.StartIntended(job="j", fence=1, machine="m1"), T0)
            raise KeyError("half-way")

    with pytest.raises(KeyError):
        broken()
    assert spool.last_seq == 0
    assert spool.journal(m.StartIntended(job="j", fence=1, machine="m1"), T0) == 1
    spool.close()


def limit_pages(spool: Spool) -> None:
    """As good as a full disk: SQLite answers SQLITE_FULL (https://www.sqlite.org/pragma.html#pragma_max_page_count)."""
    pages = spool._db.execute("PRAGMA page_count").fetchone()[0]
    spool._db.execute(f"PRAGMA max_page_count={pages}")


def lift_limit(spool: Spool) -> None:
    spool._db.execute("PRAGMA max_page_count=1000000")


def test_a_full_disk_is_a_clear_refusal(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    limit_pages(spool)

    def fill() -> None:
        for _ in range(1000):
            spool.journal(m.StartIntended(job="j", fence=1, machine="m1"), T0)

    with pytest.raises(SpoolFull, match="Free space"):
        fill()
    told = spool.last_seq
    lift_limit(spool)
    assert spool.journal(m.StartIntended(job="j", fence=1, machine="m1"), T0) == told + 1, "no number was lost"
    spool.close()


def test_a_full_disk_at_the_moment_of_the_start_starts_nothing_until_there_is_room(scene: Scene) -> None:
    scene.set_flags(bed_clear=True)
    scene.claim_and_grant()
    limit_pages(scene.spool)

    def fill() -> None:
        for number in range(5000):
            scene.spool.record_seen(f"filler-{number}-{'x' * 200}", "Offer", "expired", T0)

    with pytest.raises(SpoolFull):
        fill()
    original = scene.spool.put_lease

    def full(lease: Lease) -> None:
        fill()

    scene.spool.put_lease = full  # type: ignore[method-assign]
    ack = scene.message(m.JournalAck(upto=scene.spool.last_seq))
    scene.hear_bytes(ack)
    assert scene.bridge.runs == [], "STARTING could not be written, so nothing was started"
    assert "Free space" in scene.supervisor.trouble
    scene.spool.put_lease = original  # type: ignore[method-assign]
    lift_limit(scene.spool)
    scene.turn()
    assert len(scene.bridge.runs) == 1
    assert scene.supervisor.trouble == ""


def test_an_event_that_cannot_be_written_is_kept_and_written_later(scene: Scene) -> None:
    scene.set_flags(bed_clear=True)
    scene.claim_and_grant()
    scene.acknowledge()
    scene.bridge.first_line()
    scene.turn()
    original = scene.spool.put_lease

    def full(lease: Lease) -> None:
        raise SpoolFull("the disk is full")

    scene.spool.put_lease = full  # type: ignore[method-assign]
    scene.bridge.finish()
    scene.turn()
    assert scene.supervisor.trouble == "the disk is full"
    assert scene.kinds()[-1] == "Running", "the event went with the transaction that failed"
    scene.spool.put_lease = original  # type: ignore[method-assign]
    scene.turn()
    assert scene.kinds()[-1] == "Finished"
    assert scene.supervisor.trouble == ""


def test_another_version_and_a_damaged_file_are_refused_with_advice(tmp_path: Path) -> None:
    spool_at(tmp_path).close()
    with sqlite3.connect(tmp_path / "agent.sqlite") as db:
        db.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    with pytest.raises(SpoolBroken, match="another version"):
        spool_at(tmp_path)
    (tmp_path / "agent.sqlite").write_bytes(b"not a database at all" * 200)
    with pytest.raises(SpoolBroken, match="Move it aside"):
        spool_at(tmp_path)


def test_fences_only_rise_and_acknowledgements_cover_only_what_exists(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    for fence in (3, 1, 7, 5):
        spool.raise_fence("j", fence)
    assert spool.highest_fence("j") == 7
    first = spool.journal(m.StartIntended(job="j", fence=7, machine="m1"), T0)
    spool.acknowledge(first + 100, {first: "no"})
    second = spool.journal(m.StartIntended(job="j", fence=7, machine="m1"), T0)
    assert spool.verdict(first) == (True, "no")
    assert spool.verdict(second) == (False, None)
    spool.close()


def test_renumbering_keeps_order_ids_and_references(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    spool.journal(m.StartIntended(job="a", fence=1, machine="m1"), T0)
    spool.acknowledge(1, {})
    seq = spool.journal(m.StartIntended(job="b", fence=1, machine="m1"), T0)
    later = spool.journal(m.StartIntended(job="c", fence=1, machine="m1"), T0)
    offer = offer_of("b")
    lease = Lease(
        *("l", "b", 1, "m1", LeaseState.INTENDED, False),
        ticket=offer.ticket,
        toolpath=offer.toolpath,
        start_by=None,
        planned_start=T0,
        p90_s=1.0,
        at=T0,
        start_seq=seq,
    )
    spool.put_lease(lease)
    ids = [decode(payload).id for _, payload in spool.unacknowledged()]
    spool.renumber_from(50, T0)
    fresh = [(seq, decode(payload)) for seq, payload in spool.unacknowledged()]
    assert [(seq, envelope.seq) for seq, envelope in fresh] == [(50, 50), (51, 51)]
    assert [envelope.id for _, envelope in fresh] == ids
    found = spool.lease("l")
    assert found is not None
    assert found.start_seq == 50
    assert spool.last_seq == 51
    assert later == 3
    spool.close()


def test_what_a_person_said_of_a_machine_stays(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    assert spool.flags("m1") == MachineFlags(), "a bed that nobody has seen is not clear"
    flags = MachineFlags(True, "", "broken", (m.LoadedMaterial(material="PLA", remaining_g=3.5),))
    spool.put_flags("m1", flags)
    spool.close()
    again = spool_at(tmp_path)
    assert again.flags("m1") == flags
    again.close()


def test_old_answers_are_forgotten_and_fences_never(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    spool.record_seen("old", "Offer", "claimed", T0)
    spool.raise_fence("j", 4)
    spool.put_offer(offer_of(), "claimed", expires=None, seq=1, at=T0)
    spool.prune(T0 + timedelta(days=29))
    assert spool.seen("old") == "claimed"
    spool.prune(T0 + timedelta(days=31))
    assert spool.seen("old") is None
    assert spool.offer("o1") is None
    assert spool.highest_fence("j") == 4
    spool.close()


def test_a_lease_comes_back_as_it_was_written(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    offer = offer_of()
    lease = Lease(
        *("l", "j1", 2, "m1", LeaseState.HELD, False),
        ticket=offer.ticket,
        toolpath=offer.toolpath,
        start_by=T0 + timedelta(minutes=5),
        planned_start=T0,
        p90_s=12.5,
        at=T0,
        start_seq=9,
        card=True,
        problems=("one", "two"),
        gates="bed_clear",
        last_line=77,
        started=T0,
        why="because",
    )
    spool.put_lease(lease)
    assert spool.lease("l") == lease
    spool.checkpoint("l", 90)
    spool.checkpoint("l", 80)
    assert spool.lease("l") == replace(lease, last_line=90)
    spool.close()


def test_what_was_acknowledged_long_since_is_forgotten_in_every_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "TOLD_KEPT", 100)
    spool = spool_at(tmp_path)
    channel, heard = Channel(spool, home_channel("oak/pi")), HomeBook(spool)
    body = m.Holdings(boot="b", jobs=(), highest_fences={}, unacked_from=1)
    with spool.transaction():
        for seq in range(1, 1201):
            spool.journal(body, T0)
            channel.journal(body, T0)
            heard.note_heard("oak.pi", seq, f"id{seq}", "")
        spool.acknowledge(1150, {})
        channel.acknowledge(1200, {})
    turns = 1
    while forgetting.forget_told(spool):
        turns += 1
    assert turns > 1, "not all in one transaction"
    assert (spool.event(1099), spool.first_kept, spool.last_seq) == (None, 1100, 1200)
    assert [seq for seq, _ in spool.unacknowledged()] == list(range(1151, 1201))
    assert (channel.first_kept, channel.last_seq, channel.verdict(1150)) == (1100, 1200, (True, None))
    assert (heard.heard_upto("oak.pi"), heard.heard_id("oak.pi", 1200), heard.heard_id("oak.pi", 1)) == (
        1200,
        "id1200",
        None,
    )
    spool.close()
