"""The HTTP API: bad input changes nothing and says why; tokens and roles; streams, ranges, the OpenAPI document."""

from __future__ import annotations

import io
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ezdxf
import pytest
import trimesh
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from agents.contract.vocabulary import JobState, MachineState, Process
from scheduler.api.application import create_app
from scheduler.api.tokens import Role, new_token
from tests.scheduler.line import Agent, Line


def box_stl(x: float = 20.0, y: float = 20.0, z: float = 5.0) -> bytes:
    """A sound mesh."""
    data: bytes = trimesh.creation.box((x, y, z)).export(file_type="stl")
    return data


def empty_dxf() -> bytes:
    """A drawing with nothing in it."""
    text = io.StringIO()
    ezdxf.new().write(text)
    return text.getvalue().encode()


class Api:
    """A line with its HTTP face and an admin's token."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.client = TestClient(create_app(line.settings, scheduler=line.scheduler))
        self.token = (line.settings.data / "admin.token").read_text().strip()
        self.client.headers["Authorization"] = f"Bearer {self.token}"

    def as_role(self, role: Role, name: str) -> dict[str, str]:
        with self.line.scheduler.store.write() as c:
            return {"Authorization": f"Bearer {new_token(c, name, role, self.line.now)}"}

    def design(self, name: str, data: bytes, **fields: str) -> Any:
        return self.client.post("/api/v1/designs", files={"files": (name, data)}, data=fields)

    def order(self, design: str, **said: Any) -> Any:
        return self.client.post("/api/v1/orders", json={"design": design, "quantity": 1, **said})


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    line = Line(tmp_path, Agent("mill", "pi", ("m1",)), Agent("lab", "pi", ("l1",), Process.LASER))
    line.arrive()
    made = Api(line)
    with made.client:
        yield made
    line.close()


def is_problem(answer: Any, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["code"] == code
    assert body["status"] == status
    assert body["title"]
    assert len(body["detail"]) > 20


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("not_a_mesh.stl", b"solid nothing\nendsolid nothing\n", "bad_geometry"),
        ("noise.stl", b"\x00\x01\x02" * 200, "bad_geometry"),
        ("empty.stl", b"", "bad_geometry"),
        ("empty.dxf", empty_dxf(), "bad_geometry"),
        ("broken.svg", b"<svg", "bad_geometry"),
        ("page.docx", b"PK", "unknown_format"),
        ("part.gcode", b"G0 X1\n", "gcode_is_no_design"),
        ("okh.toml", b"name = [", "bad_manifest"),
        ("okh.toml", b'name = "x"\n', "bad_manifest"),
    ],
)
def test_a_bad_design_leaves_nothing(api: Api, name: str, data: bytes, code: str) -> None:
    before = api.line.rows()
    is_problem(api.design(name, data, licence="CC0-1.0", material="PLA"), 422, code)
    assert api.line.rows() == before


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        ({"quantity": 0}, 422, "bad_quantity"),
        ({"quantity": -3}, 422, "bad_quantity"),
        ({"quantity": 10**9}, 422, "bad_quantity"),
        ({"quantity": "many"}, 422, "invalid_request"),
        ({"design": "0" * 64}, 404, "unknown_design"),
        ({"material": "unobtainium"}, 422, "unknown_material"),
        ({"need_class": "urgent"}, 422, "invalid_request"),
        ({"ring": "galaxy"}, 422, "invalid_request"),
        ({"due": "2026-03-09T00:00:00"}, 422, "invalid_request"),
        ({"part": "no such part"}, 422, "bad_order"),
        ({"own_use": True}, 422, "own_use_needs_shop"),
        ({"surprise": 1}, 422, "invalid_request"),
    ],
)
def test_a_bad_order_leaves_nothing(api: Api, said: dict[str, Any], status: int, code: str) -> None:
    design = api.design("box.stl", box_stl(), licence="CC0-1.0", material="PLA").json()["design"]
    before = api.line.rows()
    is_problem(api.order(said.pop("design", design), **said), status, code)
    assert api.line.rows() == before


def test_a_part_too_large_for_every_machine_is_refused(api: Api) -> None:
    design = api.design("slab.stl", box_stl(500, 500, 5), licence="CC0-1.0", material="PLA").json()["design"]
    before = api.line.rows()
    answer = api.order(design)
    is_problem(answer, 422, "too_large")
    assert "500 x 500 x 5" in answer.json()["detail"]
    assert api.line.rows() == before


def test_a_closed_licence_is_made_only_in_ones_own_shop(api: Api) -> None:
    said = {"licence": "LicenseRef-AllRightsReserved", "material": "PLA"}
    design = api.design("box.stl", box_stl(), **said).json()
    assert not design["licence_open"]
    before = api.line.rows()
    is_problem(api.order(design["design"]), 403, "closed_licence")
    assert api.line.rows() == before
    own = api.order(design["design"], own_use=True, shop="mill", accept=True)
    assert own.status_code == 201


def test_no_licence_at_all_is_closed(api: Api) -> None:
    design = api.design("box.stl", box_stl(), material="PLA").json()["design"]
    is_problem(api.order(design), 403, "closed_licence")


def test_no_material_anywhere_is_asked_for(api: Api) -> None:
    design = api.design("box.stl", box_stl(), licence="CC0-1.0").json()["design"]
    is_problem(api.order(design), 422, "no_material")
    assert api.order(design, material="PLA").status_code == 201


def test_the_same_key_makes_one_order(api: Api) -> None:
    design = api.design("box.stl", box_stl(), licence="CC0-1.0", material="PLA").json()["design"]
    key = {"Idempotency-Key": "abc"}
    body = {"design": design, "quantity": 2}
    first = api.client.post("/api/v1/orders", json=body, headers=key)
    second = api.client.post("/api/v1/orders", json=body, headers=key)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]
    is_problem(api.client.post("/api/v1/orders", json={**body, "quantity": 3}, headers=key), 409, "key_reused")


def test_bringing_a_design_twice_is_once(api: Api) -> None:
    first = api.design("box.stl", box_stl(), licence="CC0-1.0")
    second = api.design("box.stl", box_stl(), licence="CC0-1.0")
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()


def test_changing_anything_needs_a_token_and_reading_none(api: Api) -> None:
    bare = {"Authorization": ""}
    is_problem(api.client.post("/api/v1/orders", json={}, headers=bare), 401, "no_token")
    wrong = {"Authorization": "Bearer wks_wrong"}
    is_problem(api.client.post("/api/v1/orders", json={}, headers=wrong), 401, "bad_token")
    for path in ("orders", "jobs", "machines", "shops", "plan", "designs", "overview"):
        assert api.client.get(f"/api/v1/{path}", headers=bare).status_code == 200


def test_whoever_may_queue_may_not_operate_nor_touch_the_work_of_others(api: Api) -> None:
    ann, bob = api.as_role(Role.REQUESTER, "ann"), api.as_role(Role.REQUESTER, "bob")
    files = {"files": ("box.stl", box_stl())}
    said = {"licence": "CC0-1.0", "material": "PLA"}
    design = api.client.post("/api/v1/designs", files=files, data=said, headers=ann).json()["design"]
    order = {"design": design, "quantity": 1, "requester": "somebody else"}
    placed = api.client.post("/api/v1/orders", json=order, headers=ann).json()
    assert placed["requester"] == "ann"
    path = f"/api/v1/orders/{placed['id']}"
    assert api.client.get(path, headers=bob).json()["requester"] == ""
    is_problem(api.client.post(f"{path}/cancel", headers=bob), 403, "not_yours")
    is_problem(api.client.post(f"{path}/hand-over", headers=ann), 403, "not_allowed")
    job = placed["jobs"][0]["id"]
    lost = api.client.post(f"/api/v1/jobs/{job}/declare-lost", json={"why": "x"}, headers=ann)
    is_problem(lost, 403, "not_allowed")
    is_problem(api.client.post("/api/v1/tokens", json={"name": "x"}, headers=ann), 403, "not_allowed")
    assert api.client.post(f"{path}/cancel", headers=ann).json()["state"] == "cancelled"


def test_the_first_token_is_for_its_owner_only_and_stored_as_a_hash(api: Api) -> None:
    mode = (api.line.settings.data / "admin.token").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    stored = (api.line.settings.data / "workshed.db").read_bytes()
    stored += b"".join(path.read_bytes() for path in api.line.settings.data.glob("workshed.db-*"))
    assert api.token.encode() not in stored


def test_nothing_changes_by_get(api: Api) -> None:
    schema = api.client.get("/openapi.json").json()
    before = api.line.rows()
    for path, routes in schema["paths"].items():
        if "get" in routes and not path.endswith("/events"):
            api.client.get(path.replace("{", "").replace("}", ""))
    assert api.line.rows() == before


def test_the_openapi_document_says_what_is_served(api: Api) -> None:
    schema = api.client.get("/openapi.json").json()
    assert schema["openapi"].startswith("3.")
    assert len([1 for routes in schema["paths"].values() for _ in routes]) >= 25
    for path, routes in schema["paths"].items():
        for method, route in routes.items():
            where = f"{method} {path}"
            assert route.get("description"), where
            assert "application/problem+json" in route["responses"]["404"]["content"], where
    known = set(schema["components"]["schemas"])
    for reference in json.dumps(schema).split('"$ref": "')[1:]:
        name = reference.split('"')[0]
        if name.startswith("#/components/schemas/"):
            assert name.rsplit("/", 1)[1] in known
    assert schema["components"]["schemas"]["OrderBody"]["example"]["quantity"] == 3


def test_errors_of_the_framework_are_problems_too(api: Api) -> None:
    is_problem(api.client.get("/api/v1/orders/none"), 404, "unknown_order")
    assert api.client.get("/nowhere").headers["content-type"] == "application/problem+json"
    assert api.client.delete("/api/v1/orders").headers["content-type"] == "application/problem+json"
    answer = api.client.post("/api/v1/orders", content=b"{", headers={"content-type": "application/json"})
    is_problem(answer, 422, "invalid_request")


def test_a_waiting_job_says_why_on_every_machine(api: Api) -> None:
    agent = api.line.agents["mill.pi"]
    api.line.hear(agent.report("m1", api.line.now, MachineState.ALARM, why="thermal runaway"))
    design = api.design("box.stl", box_stl(), licence="CC0-1.0", material="PLA").json()["design"]
    job = api.order(design, accept=True).json()["jobs"][0]["id"]
    api.line.plan()
    api.line.plan()
    answer = api.client.get(f"/api/v1/jobs/{job}/why").json()
    assert answer["state"] == "waiting"
    assert {shut["machine"] for shut in answer["machines"]} == {"mill.pi.m1", "lab.pi.l1"}


def test_a_job_shows_its_history_and_its_toolpath_comes_in_ranges(api: Api) -> None:
    line, agent = api.line, api.line.agents["mill.pi"]
    design = api.design("box.stl", box_stl(), licence="CC0-1.0", material="PLA").json()["design"]
    job = api.order(design, accept=True).json()["jobs"][0]["id"]
    line.plan()
    line.plan()
    line.exchange(agent)
    page = api.client.get(f"/api/v1/jobs/{job}").json()
    assert page["job"]["state"] == "leased"
    assert [event["kind"] for event in page["history"]] == ["created", "offered", "claimed"]
    assert page["toolpath"]["made_by"] == "tests 1"
    assert page["placement"]["machine"] == "mill.pi.m1"
    address = f"/api/v1/toolpaths/{page['toolpath']['sha256']}"
    whole = api.client.get(address).content
    assert len(whole) == page["toolpath"]["size_bytes"]
    part = api.client.get(address, headers={"Range": "bytes=5-14"})
    assert (part.status_code, part.content) == (206, whole[5:15])
    rest = api.client.get(address, headers={"Range": f"bytes={len(whole) - 3}-"})
    assert rest.content == whole[-3:]
    assert api.client.get(address, headers={"Range": f"bytes={len(whole) + 9}-"}).status_code == 416
    is_problem(api.client.get("/api/v1/toolpaths/" + "0" * 64), 404, "unknown_toolpath")


def test_an_assembly_step_opens_when_its_parts_are_good(api: Api) -> None:
    line, agent = api.line, api.line.agents["mill.pi"]
    manifest = (
        'okhv = "2.4"\nname = "stand"\nrepo = "https://example.org"\nversion = "1"\nlicense = "CC0-1.0"\n'
        'licensor = "us"\nfunction = "stands"\n'
        '[[part]]\nname = "foot"\nexport = ["foot.stl"]\ntsdc = ["3DP"]\nprinting-process = "FDM"\nmaterial = "PLA"\n'
        '[[part]]\nname = "arm"\nexport = ["arm.stl"]\ntsdc = ["3DP"]\nprinting-process = "FDM"\nmaterial = "PLA"\n'
    )
    files = [
        ("files", ("foot.stl", box_stl())),
        ("files", ("arm.stl", box_stl(30, 10, 5))),
        ("okh", ("okh.toml", manifest)),
    ]
    design = api.client.post("/api/v1/designs", files=files).json()["design"]
    order = api.order(design, accept=True).json()
    path = f"/api/v1/orders/{order['id']}"
    (step,) = order["steps"]
    assert step["state"] == "shut"
    done = f"{path}/steps/{step['step']}/done"
    is_problem(api.client.post(done), 409, "step_shut")
    line.plan()
    assert len({piece["job"] for piece in api.client.get(path).json()["pieces"]}) == 1, "the kit lies on one plate"
    line.plan()
    line.exchange(agent)
    (job,) = [row.id for row in line.jobs(JobState.LEASED)]
    agent.stage(job, line.now)
    agent.intend(job, line.now)
    line.exchange(agent)
    agent.run(job, line.now)
    held = agent.finish(job, line.now)
    agent.inspect(held, line.now, good=held.pieces)
    line.exchange(agent)
    assert api.client.get(path).json()["steps"][0]["state"] == "open"
    is_problem(api.client.post(f"{path}/hand-over"), 409, "order_state")
    assert api.client.post(done).json()["state"] == "made"
    assert api.client.post(f"{path}/hand-over").json()["state"] == "handed_over"


def test_the_record_can_be_followed_from_any_line(api: Api) -> None:
    design = api.design("box.stl", box_stl(), licence="CC0-1.0", material="PLA").json()["design"]
    api.order(design)
    everything = api.client.get("/api/v1/events", params={"after": 0, "once": True}).json()
    ids = [event["id"] for event in everything]
    assert ids == sorted(ids)
    assert "order_requested" in {event["kind"] for event in everything}
    resumed = api.client.get("/api/v1/events", params={"once": True}, headers={"Last-Event-ID": str(ids[2])}).json()
    assert [event["id"] for event in resumed] == ids[3:]


def test_metrics_are_prometheus_text_without_ids(api: Api) -> None:
    design = api.design("box.stl", box_stl(), licence="CC0-1.0", material="PLA").json()["design"]
    order = api.order(design, accept=True).json()
    text = api.client.get("/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert order["id"] not in text
    waiting = {
        s.labels["process"]: s.value for s in families["workshed_jobs"].samples if s.labels["state"] == "waiting"
    }
    assert waiting == {"fdm": 1.0, "laser": 0.0, "cnc": 0.0, "manual": 0.0}
    states = [s for s in families["workshed_machine_state"].samples if s.labels["machine"] == "mill.pi.m1"]
    assert sum(s.value for s in states) == 1.0
    assert len(states) == len(MachineState)


def test_conservation_in_numbers(api: Api) -> None:
    design = api.design("box.stl", box_stl(), licence="CC0-1.0", material="PLA").json()["design"]
    api.order(design, quantity=20, accept=True)
    api.line.plan()
    api.line.plan()
    seen = api.client.get("/api/v1/overview").json()
    parts = ("done", "running", "waiting", "unmatched", "cancelled")
    assert seen["jobs_in"] == sum(seen[part] for part in parts) > 0
