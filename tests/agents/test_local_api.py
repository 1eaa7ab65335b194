"""The local page and API over real HTTP, with no broker at all."""

from __future__ import annotations

import contextlib
import json
import socket
import stat
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from agents import questions
from agents.agent import Agent
from agents.contract import messages as m
from agents.contract.envelope import decode, encode, wrap
from agents.contract.vocabulary import MachineState, Process
from agents.hands import Hands, NotPossible
from agents.lease import LeaseState
from agents.local_api import MOST_CONNECTIONS, LocalServer, read_or_make_token
from agents.metrics import AgentMetrics
from agents.policy import Accepting, Policy
from firmware_bridges import bridge as b
from tests.agents.peer import eventually
from tests.agents.scene import PROGRAM, ScriptedBridge, grant_of, machine_settings, offer_of, shop_config


class House:
    """An agent with a printer and a laser, and its server."""

    def __init__(self, folder: Path) -> None:
        self.bridges: dict[str, ScriptedBridge] = {}
        config = shop_config(folder, machine_settings("m1"), machine_settings("l1", Process.LASER))

        def scripted(machine: b.MachineConfig) -> ScriptedBridge:
            return self.bridges.setdefault(machine.dialect, ScriptedBridge(machine.dialect))

        self.agent = Agent(config, scripted)
        self.token = read_or_make_token(config.http.token_file)
        self.server = LocalServer(
            config.http, self.token, Hands(self.agent), AgentMetrics(self.agent).render, largest=100_000
        )
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.agent.start()

    def call(
        self, path: str, body: Any = None, *, token: str | None = None, method: str | None = None
    ) -> tuple[int, Any, str]:
        """(status, answer, content type)."""
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token if token is None else token}"}
        request = urllib.request.Request(self.server.address + path, data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                raw, kind, status = answer.read(), answer.headers["Content-Type"], answer.status
        except urllib.error.HTTPError as error:
            raw, kind, status = error.read(), error.headers["Content-Type"], error.code
        return status, json.loads(raw) if "json" in kind else raw.decode(), kind

    def hear(self, body: Any) -> None:
        message = wrap(body, sender="scheduler/main", now=self.agent.clock.now(), valid_for=timedelta(minutes=1))
        assert self.agent._received("inbox", encode(message))

    def told(self) -> dict[str, Any]:
        """What the journal holds, the last of each kind."""
        rows = self.agent.spool._db.execute("SELECT body FROM journal ORDER BY seq").fetchall()
        bodies = [decode(row[0]).body for row in rows]
        return {type(body).__name__: body for body in bodies}

    def machine(self, name: str) -> Any:
        return next(one for one in self.call("/api/state")[1]["machines"] if one["machine"] == name)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.agent.end()


@pytest.fixture
def house(memory_path: Path) -> Iterator[House]:
    made = House(memory_path)
    yield made
    made.close()


def test_the_page_is_there_and_holds_no_secret(house: House) -> None:
    status, page, kind = house.call("/", token="")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert "HOLD TO STOP" in page
    assert house.token not in page


def test_without_the_token_nothing_is_seen_or_done(house: House) -> None:
    for path, body in (("/api/state", None), ("/api/machines/m1/stop", {}), ("/api/presence", {"for_s": 5})):
        for token in ("", "wrong", house.token[:-1], house.token + "x"):
            status, problem, kind = house.call(path, body, token=token)
            assert (status, kind) == (401, "application/problem+json")
            assert "token" in problem["detail"]
    assert house.bridges["marlin"].calls.count("emergency_stop") == 0


def test_get_changes_nothing(house: House) -> None:
    for path in ("/api/machines/m1/stop", "/api/machines/m1/bed-clear", "/api/presence"):
        assert house.call(path)[0] == 404
    assert not house.machine("m1")["bed_clear"]


def test_the_token_is_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "token"
    token = read_or_make_token(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_or_make_token(path) == token
    assert len(token) > 20


def test_a_hundred_connections_that_say_nothing_stand_in_nobodys_way(house: House) -> None:
    """Each would have a thread; the service's process may have 64."""
    at = house.server.server_address[:2]
    before = threading.active_count()
    knocking = [socket.create_connection(at) for _ in range(100)]  # type: ignore[arg-type]
    for one in knocking:
        with contextlib.suppress(OSError):
            one.sendall(b"POST /api/machines/m1/stop HTTP/1.1\r\n")
    assert house.call("/api/machines/m1/stop", {})[0] == 200
    assert house.bridges["marlin"].calls.count("emergency_stop") == 1
    eventually(
        lambda: threading.active_count() <= before + MOST_CONNECTIONS,
        what=lambda: f"{threading.active_count()} threads are {before} and {MOST_CONNECTIONS}",
    )
    for one in knocking:
        one.close()


def test_who_is_being_answered_is_not_sent_away_for_somebody_who_knocks(house: House) -> None:
    host, port = house.server.server_address[:2]
    with socket.create_connection((host, port)) as asking:  # type: ignore[arg-type]
        head = ("POST /api/machines/m1/disable HTTP/1.1", f"Authorization: Bearer {house.token}", "Content-Length: 2")
        asking.sendall("\r\n".join((*head, "", "")).encode())
        eventually(lambda: bool(house.server._at_work), what=lambda: "its body is waited for")
        knocking = [socket.create_connection((host, port)) for _ in range(100)]  # type: ignore[arg-type]
        asking.sendall(b"{}")
        assert asking.recv(4096).startswith(b"HTTP/1.1 200")
        for one in knocking:
            one.close()


@pytest.mark.parametrize("left", ["", "\n"])
def test_an_empty_token_file_lets_nobody_in(tmp_path: Path, left: str) -> None:
    """A power cut at the first start leaves one."""
    path = tmp_path / "token"
    path.write_text(left)
    token = read_or_make_token(path)
    assert len(token) > 20
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_or_make_token(path) == token


def test_bed_material_and_disabling(house: House) -> None:
    assert house.machine("m1")["state"] == MachineState.OCCUPIED
    assert house.call("/api/machines/m1/bed-clear", {})[0] == 200
    assert house.machine("m1")["state"] == MachineState.IDLE
    status, said, _ = house.call("/api/machines/m1/material", {"materials": [{"material": "PETG", "remaining_g": 300}]})
    assert (status, said["said"]) == (200, "m1 has PETG loaded")
    assert house.machine("m1")["description"]["materials"] == [{"material": "PETG", "remaining_g": 300.0}]
    assert house.call("/api/machines/m1/disable", {"why": "belt"})[0] == 200
    assert house.machine("m1")["state"] == MachineState.DISABLED
    assert house.call("/api/machines/m1/enable", {})[0] == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "word"),
    [
        ("/api/machines/m9/hold", {}, 404, "known are m1, l1"),
        ("/api/machines/m1/fly", {}, 404, "no operation"),
        ("/api/nothing", {}, 404, "no operation"),
        ("/api/machines/m1/material", b"not json", 400, "not what was expected"),
        ("/api/machines/m1/material", {"materials": [{"colour": "red"}]}, 400, "material"),
        ("/api/presence", {"for_s": 1e9}, 409, "0 to 120"),
        ("/api/presence", {"for_s": 5, "machines": ["m9"]}, 404, "m9"),
        ("/api/machines/m1/resume", {}, 409, "nothing is held"),
        ("/api/machines/m1/cancel", {}, 409, "nothing runs"),
        ("/api/machines/l1/home", {}, 409, "present first"),
        ("/api/offers/none/accept", {}, 404, "no offer"),
        ("/api/jobs/none/inspect", {"good": 1}, 404, "no job"),
        ("/api/jobs/none/inspect", {"good": -1}, 400, "0 or more"),
        ("/api/machines/m1/own-jobs", b"  ", 409, "empty"),
        ("/api/machines/m1/own-jobs", b"G" * 100_001, 400, "at most"),
    ],
)
def test_what_cannot_be_done_says_why(house: House, path: str, body: Any, status: int, word: str) -> None:
    got, problem, kind = house.call(path, body)
    assert (got, kind) == (status, "application/problem+json")
    assert word in problem["detail"]


def test_ask_me_then_accept_or_decline(house: House) -> None:
    house.agent.policy_file._policy = Policy(accept=Accepting.ASK)
    for job in ("a", "b"):
        house.hear(offer_of(job, f"o-{job}", start=house.agent.clock.now()))
    offers = house.call("/api/state")[1]["offers"]
    assert [offer["offer"] for offer in offers] == ["o-a", "o-b"]
    assert house.call("/api/offers/o-a/accept", {})[1]["said"] == "claimed"
    assert house.call("/api/offers/o-b/decline", {"why": "noise"})[1]["said"] == "declined"
    assert house.call("/api/offers/o-a/accept", {})[0] == 409, "said once is said"
    assert house.call("/api/state")[1]["offers"] == []


def test_own_jobs_go_before_pool_work_and_through_the_same_gates(house: House) -> None:
    bridge, agent = house.bridges["marlin"], house.agent
    status, said, _ = house.call("/api/machines/m1/own-jobs?title=vase", PROGRAM)
    assert status == 200
    eventually(lambda: house.machine("m1")["jobs"][0]["state"] == "staged")
    assert bridge.runs == []
    agent.store.put(PROGRAM)
    offer = offer_of("pool", "o-pool", start=agent.clock.now())
    house.hear(offer)
    house.hear(grant_of(offer, start_by=agent.clock.now() + timedelta(hours=1)))
    eventually(lambda: len(house.machine("m1")["jobs"]) == 2)
    house.call("/api/machines/m1/bed-clear", {})
    eventually(lambda: len(bridge.runs) == 1)
    own = agent.spool.lease_of_job(said["said"])
    assert own is not None
    assert own.state is LeaseState.STARTING
    bridge.first_line()
    eventually(lambda: house.machine("m1")["state"] == MachineState.RUNNING)
    assert house.machine("m1").get("job") is None, "the owner's own work is not named to the network"
    assert house.call("/api/machines/m1/bed-clear", {})[0] == 409
    bridge.finish()
    eventually(lambda: house.machine("m1")["state"] == MachineState.OCCUPIED)


def test_an_unsafe_own_job_is_refused_too(house: House) -> None:
    _, said, _ = house.call("/api/machines/m1/own-jobs", b"G90\nG28\nG1 X900 F1000\nM104 S0\n")
    lease = eventually(lambda: (found := house.agent.spool.lease_of_job(said["said"])) and found.ended and found)
    assert lease.state is LeaseState.FAILED
    assert "x from" in lease.why


def test_the_stop_goes_first_and_leaves_the_machine_disarmed(house: House) -> None:
    house.call("/api/machines/m1/own-jobs", PROGRAM)
    house.call("/api/machines/m1/bed-clear", {})
    bridge = house.bridges["marlin"]
    eventually(lambda: bridge.runs)
    bridge.first_line()
    assert house.call("/api/machines/m1/stop", {})[0] == 200
    assert bridge.calls[-1] == "emergency_stop"
    eventually(lambda: house.machine("m1")["state"] == MachineState.ALARM)
    assert house.machine("m1")["disarmed"]
    assert house.call("/api/machines/m1/rearm", {})[0] == 200
    assert house.machine("m1")["disarmed"] == ""
    assert house.call("/api/stop", {})[0] == 200
    assert house.bridges["grbl"].calls[-1] == "emergency_stop"


def test_a_stop_gets_through_while_the_supervisor_is_stuck(house: House) -> None:
    supervisor = house.agent.supervisors["m1"]
    with supervisor.lock, house.agent.spool._lock:
        done = threading.Event()

        def stop() -> None:
            house.call("/api/machines/m1/stop", {})
            done.set()

        threading.Thread(target=stop, daemon=True).start()
        eventually(lambda: "emergency_stop" in house.bridges["marlin"].calls, within_s=3)
        assert not done.is_set(), "writing it down waits; stopping does not"
    eventually(done.is_set)


def test_hold_and_resume_need_the_person_at_a_laser(house: House) -> None:
    bridge = house.bridges["grbl"]
    house.call("/api/presence", {"for_s": 60, "machines": ["l1"]})
    house.call("/api/machines/l1/bed-clear", {})
    _, said, _ = house.call("/api/machines/l1/own-jobs", b"G21\nG90\nM4 S0\nG1 X5 Y5 S10 F500\nM5\n")
    eventually(lambda: house.machine("l1")["jobs"] and house.machine("l1")["jobs"][0]["state"] == "staged")
    assert house.call(f"/api/jobs/{said['said']}/work-card-confirmed", {})[0] == 200
    eventually(lambda: bridge.runs)
    bridge.first_line()
    eventually(lambda: house.machine("l1")["jobs"][0]["state"] == "running")
    house.call("/api/machines/l1/hold", {})
    bridge.stands()
    eventually(lambda: house.machine("l1")["state"] == MachineState.HELD)
    house.call("/api/presence", {"for_s": 0, "machines": ["l1"]})
    status, problem, _ = house.call("/api/machines/l1/resume", {})
    assert status == 409
    assert "present" in problem["detail"]
    house.call("/api/presence", {"for_s": 60, "machines": ["l1"]})
    assert house.call("/api/machines/l1/resume", {})[0] == 200
    assert bridge.calls[-1] == "resume"


def test_the_card_counts_once(house: House) -> None:
    house.call("/api/presence", {"for_s": 60})
    _, said, _ = house.call("/api/machines/l1/own-jobs", b"G21\nG90\nM4 S0\nG1 X5 Y5 S10 F500\nM5\n")
    house.call("/api/machines/l1/bed-clear", {})
    eventually(lambda: house.machine("l1")["jobs"][0]["state"] == "staged")
    house.call(f"/api/jobs/{said['said']}/work-card-confirmed", {})
    eventually(lambda: house.bridges["grbl"].runs)
    assert house.machine("l1")["jobs"][0]["card_confirmed"] is False


def test_metrics_have_base_units_states_and_no_job_names(house: House) -> None:
    house.call("/api/machines/m1/own-jobs", PROGRAM)
    status, text, kind = house.call("/metrics", token="")
    assert status == 200
    assert kind.startswith("text/plain")
    assert 'workshed_agent_machine_state{machine="m1",state="occupied"} 1.0' in text
    assert text.count('workshed_agent_machine_state{machine="m1"') == len(MachineState)
    assert "own-" not in text


SHARED = (
    m.PieceLine(order="or1", part="coaster", pieces=3, title="a coaster"),
    m.PieceLine(order="or2", part="tag", pieces=2, title="a tag"),
)


def finish_shared(house: House) -> None:
    """A plate with pieces of two orders, claimed, granted, run and finished."""
    offer = offer_of(start=house.agent.clock.now())
    ticket = structs.replace(offer.ticket, pieces=5, contents=SHARED)
    offer = structs.replace(offer, ticket=ticket, finish_p90=offer.planned_start + timedelta(minutes=30))
    house.agent.store.put(PROGRAM)
    house.call("/api/machines/m1/bed-clear", {})
    house.hear(offer)
    house.hear(grant_of(offer))
    eventually(lambda: "StartIntended" in house.told(), what="the start is intended")
    house.agent.teller.told = house.agent.spool.last_seq
    house.hear(m.JournalAck(upto=house.agent.spool.last_seq))
    bridge = house.bridges["marlin"]
    eventually(lambda: bridge.runs, what="it runs")
    bridge.first_line()
    bridge.finish()
    eventually(lambda: "Finished" in house.told(), what="it is finished")


def test_whose_pieces_were_bad_is_kept_in_the_journal_while_no_broker_is_there(house: House) -> None:
    finish_shared(house)
    (job,) = house.machine("m1")["jobs"]
    assert [line["order"] for line in job["contents"]] == ["or1", "or2"]
    one = {"order": "or2", "part": "tag", "rejected": 1}
    for body, word in (
        ({"good": 3, "rejected": 1}, "not the 5 pieces"),
        ({"good": 3, "rejected": 2, "rejected_of": [one]}, "not so many"),
        ({"good": 3, "rejected": 2, "rejected_of": [one, one]}, "once"),
        ({"good": 2, "rejected": 3, "rejected_of": [{**one, "rejected": 3}]}, "2 lie on j1"),
        ({"good": 4, "rejected": 1, "rejected_of": [{**one, "order": "or9"}]}, "0 lie on j1"),
    ):
        status, problem, _ = house.call("/api/jobs/j1/inspect", body)
        assert (status, word in problem["detail"]) == (409, True), problem
    assert "Inspected" not in house.told()
    assert house.call("/api/jobs/j1/inspect", {"good": 4, "rejected": 1, "rejected_of": [one]})[0] == 200
    told = house.agent.spool.unacknowledged_count()
    assert told >= 1
    inspected = house.told()["Inspected"]
    assert inspected.rejected_of == (m.RejectedPieces(order="or2", part="tag", rejected=1),)


class Meanwhile:
    """A lock that somebody else had just before."""

    def __init__(self, lock: Any, deed: Callable[[], object]) -> None:
        self._lock, self._deeds = lock, [deed]

    def __enter__(self) -> None:
        while self._deeds:
            self._deeds.pop()()
        self._lock.__enter__()

    def __exit__(self, *error: object) -> None:
        self._lock.__exit__(*error)


def test_of_two_people_who_inspect_at_once_the_second_is_told_whose_count_stands(house: House) -> None:
    finish_shared(house)
    supervisor, hands = house.agent.supervisors["m1"], Hands(house.agent)
    plain = supervisor.lock
    supervisor.lock = Meanwhile(plain, lambda: hands.inspect("j1", 5, 0, ""))  # type: ignore[assignment]
    with pytest.raises(NotPossible, match="somebody else"):
        hands.inspect("j1", 0, 5, "warped")
    supervisor.lock = plain
    assert house.told()["Inspected"].good == 5
    with pytest.raises(NotPossible, match="inspected"):
        hands.cancel_job("j1")


@pytest.mark.parametrize(("verb", "word"), [("accept", questions.AGREED), ("decline", questions.DECLINED)])
def test_the_owners_word_on_an_open_job_of_the_board_tells_no_scheduler(house: House, verb: str, word: str) -> None:
    offer = offer_of(offer="b1", start=house.agent.clock.now())
    questions.Questions(house.agent.spool).ask(offer, "elm/pi1", None, house.agent.clock.now())
    (asked,) = house.call("/api/state")[1]["offers"]
    assert (asked["offer"], asked["duration_s"]) == ("b1", 60.0)
    assert house.call(f"/api/offers/b1/{verb}", {})[0] == 200
    row = house.agent.spool.offer("b1")
    assert row is not None
    assert row.decision == word
    assert not {"Claimed", "Declined"} & set(house.told())
    assert house.call("/api/offers/b1/accept", {})[0] == 409, "one word is enough"


def test_reports_name_the_zone_by_which_the_owner_wrote_the_hours(house: House) -> None:
    """Pages of the network show a shop's times as its own clocks say them."""
    assert house.agent.views.report("m1").timezone == house.agent.policy().zone.key
