"""Offcuts: kept with where they came from, used before whole sheets, marked by people, every area accounted for."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from shapely.geometry import Polygon
from typer.testing import CliRunner

from agents.contract import messages as m
from agents.contract.topics import MACHINE
from agents.contract.vocabulary import FailureClass, JobState, MachineState, Process, Ring
from agents.material import missing_of
from designs.processes.model import GeometryKind, PartFile, Piece, Stock
from designs.processes.sheet_layout import lay_out
from scheduler import cli
from scheduler.api.application import create_app
from scheduler.orders import making, remnants
from scheduler.orders.refusal import Refused
from scheduler.orders.remnants import RemnantState
from scheduler.store import content_queries, queries
from scheduler.store import content_tables as ct
from scheduler.store.content_queries import RemnantRow
from tests.scheduler import line as line_module
from tests.scheduler.line import Agent, Line
from tests.scheduler.shelf import ask, drawing


class Cutter(Agent):
    """A laser with a sheet of known size on it."""

    def report(
        self, machine: str, now: datetime, state: MachineState = MachineState.IDLE, **more: Any
    ) -> tuple[str, bytes]:
        sheet = m.LoadedMaterial(material="MDF", thickness_mm=3.0, width_mm=300.0, height_mm=200.0)
        description = m.MachineDescription(
            machine=machine,
            name=machine,
            process=Process.LASER,
            dialect="grbl",
            model="K40",
            envelope_mm=(400.0, 300.0, 30.0),
            materials=(sheet,),
            laser_power_w=40.0,
            max_feed_mm_min=6_000.0,
            accel_mm_s2=500.0,
        )
        body = m.MachineReport(
            shop=self.shop,
            agent=self.name,
            ring=Ring.NEIGHBOURHOOD,
            description=description,
            state=state,
            since=now,
            **more,
        )
        return MACHINE.of(shop=self.shop, agent=self.name, machine=machine), self._wrap(body, now)


@pytest.fixture
def cutter() -> Cutter:
    return Cutter("mill", "pi", ("laser",), Process.LASER)


@pytest.fixture
def line(url: str, tmp_path: Path, cutter: Cutter, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    monkeypatch.setattr(line_module, "tiny_toolpath", making.make)
    made = Line(tmp_path, cutter, database=url)
    made.arrive()
    yield made
    made.close()


def begin(line: Line, cutter: Agent, job: str) -> None:
    line.plan()
    line.plan()
    line.exchange(cutter)
    assert line.job(job).state is JobState.LEASED, line.job(job).waiting
    cutter.stage(job, line.now)
    cutter.intend(job, line.now)
    line.exchange(cutter)
    cutter.run(job, line.now)
    line.exchange(cutter)


def cut(line: Line, cutter: Agent, job: str) -> None:
    begin(line, cutter, job)
    held = cutter.finish(job, line.now)
    cutter.inspect(held, line.now, good=line.job(job).pieces)
    line.exchange(cutter)


def kept(line: Line) -> dict[str, RemnantRow]:
    with line.scheduler.store.read() as c:
        assert remnants.leaks(c) == {}
        return {row.id: row for row in content_queries.remnants(c)}


def card(line: Line, job: str) -> str:
    with line.scheduler.store.read() as c:
        lease = queries.lease_under(c, job, 1)
        assert lease is not None
        offer = queries.offer(c, lease.offer)
        assert offer is not None
        toolpath = queries.toolpath(c, offer.sha256)
        assert toolpath is not None
        return toolpath.work_card


def test_what_is_left_is_kept_and_the_next_job_lies_on_it(line: Line, cutter: Cutter) -> None:
    first = ask(line, "plate.svg", drawing(180, 100))
    cut(line, cutter, f"{first.id}-1")
    left = kept(line)
    assert left
    assert all(
        (row.shop, row.material, row.thickness_mm, row.state) == ("mill", "mdf", 3.0, "available")
        for row in left.values()
    )
    assert {row.from_job for row in left.values()} == {f"{first.id}-1"}
    assert sum(row.area_mm2 for row in left.values()) < 300 * 200 - 180 * 100

    second = ask(line, "tag.svg", drawing(60, 40), 3)
    begin(line, cutter, f"{second.id}-1")
    (used,) = [label for label in left if f"Offcut {label}" in card(line, f"{second.id}-1")]
    with pytest.raises(Refused, match="lies under a job"), line.scheduler.store.write() as c:
        remnants.mark(c, used, RemnantState.LOST, "", line.now)
    held = cutter.finish(f"{second.id}-1", line.now)
    cutter.inspect(held, line.now, good=3)
    line.exchange(cutter)
    after = kept(line)
    assert (after[used].state, after[used].used_by) == ("used_up", f"{second.id}-1")
    born = [row for row in after.values() if row.from_remnant == used]
    assert all(row.area_mm2 < left[used].area_mm2 for row in born)
    with line.scheduler.store.read() as c:
        masses = list(
            c.execute(sa.select(sa.func.sum(ct.stock_moves.c.mass_g)).group_by(ct.stock_moves.c.job)).scalars()
        )
    assert all(abs(mass) < 0.01 for mass in masses)


def test_a_sheet_that_fits_is_loaded_enough_for_its_shop(line: Line, cutter: Cutter) -> None:
    """Nobody weighs a sheet: the gate of a shop that declared the size of its sheet must open."""
    order = ask(line, "tag.svg", drawing(40, 30))
    line.plan()
    line.plan()
    line.exchange(cutter)
    need = next(offer.ticket.material for offer in cutter.spool.offers.values() if offer.ticket.order == order.id)
    sheet = m.LoadedMaterial(material="MDF", thickness_mm=3.0, width_mm=300.0, height_mm=200.0)
    assert missing_of(need, sheet) == ""
    assert "width_mm" in missing_of(need, structs.replace(sheet, width_mm=20.0))


def test_a_failed_run_leaves_its_offcut_in_doubt_and_a_person_decides(line: Line, cutter: Cutter) -> None:
    first = ask(line, "plate.svg", drawing(180, 100))
    cut(line, cutter, f"{first.id}-1")
    second = ask(line, "tag.svg", drawing(60, 40), 3)
    begin(line, cutter, f"{second.id}-1")
    cutter.fail(f"{second.id}-1", line.now, FailureClass.MATERIAL_RUNOUT)
    line.exchange(cutter)
    (doubted,) = [row.id for row in kept(line).values() if row.state == "in_doubt"]
    with line.scheduler.store.write() as c:
        back = remnants.mark(c, doubted, RemnantState.AVAILABLE, "only one line was cut", line.now)
    assert back.state == "available"


def test_an_offcut_that_is_lost_is_not_counted_on(line: Line, cutter: Cutter) -> None:
    first = ask(line, "plate.svg", drawing(180, 100))
    cut(line, cutter, f"{first.id}-1")
    with line.scheduler.store.write() as c:
        for label in kept(line):
            remnants.mark(c, label, RemnantState.LOST, "thrown away", line.now)
    second = ask(line, "tag.svg", drawing(60, 40), 3)
    begin(line, cutter, f"{second.id}-1")
    assert "Offcut" not in card(line, f"{second.id}-1")


def test_a_planted_leak_is_named(line: Line, cutter: Cutter) -> None:
    first = ask(line, "plate.svg", drawing(180, 100))
    cut(line, cutter, f"{first.id}-1")
    with line.scheduler.store.write() as c:
        where = (ct.stock_moves.c.kind == "pieces",)
        c.execute(sa.update(ct.stock_moves).where(*where).values(area_mm2=ct.stock_moves.c.area_mm2 * 0.98))
    with line.scheduler.store.read() as c:
        assert remnants.leaks(c, "mill") == {f"{first.id}-1": pytest.approx(360.0, abs=1.0)}


def test_people_list_draw_and_mark_offcuts_over_http(line: Line, cutter: Cutter) -> None:
    first = ask(line, "plate.svg", drawing(180, 100))
    cut(line, cutter, f"{first.id}-1")
    client = TestClient(create_app(line.settings, scheduler=line.scheduler))
    client.headers["Authorization"] = f"Bearer {(line.settings.data / 'admin.token').read_text().strip()}"
    shown = client.get("/api/v1/remnants", params={"shop": "mill"}).json()
    assert {row["id"] for row in shown} == set(kept(line))
    label = shown[0]["id"]
    drawn = client.get(f"/api/v1/remnants/{label}.svg")
    assert drawn.headers["content-type"].startswith("image/svg+xml")
    assert label in drawn.text
    done = client.post(f"/api/v1/remnants/{label}/mark", json={"state": "used_up", "why": "a jig for the drill"})
    assert done.status_code == 200, done.text
    assert kept(line)[label].state == "used_up"
    assert client.get("/api/v1/remnants/nothing.svg").status_code == 404
    sheet = client.get(f"/api/v1/jobs/{first.id}-1/sheet.svg")
    assert sheet.status_code == 200
    assert f"for order {first.id}" in sheet.text


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(20, 90), st.integers(20, 90), st.integers(1, 3)), min_size=1, max_size=4))
def test_areas_of_any_sheet_add_up(sizes: list[tuple[int, int, int]]) -> None:
    pieces = [
        Piece(PartFile(f"p{k}.svg", GeometryKind.SVG, drawing(w, h)), count) for k, (w, h, count) in enumerate(sizes)
    ]
    told = lay_out(pieces, Stock("MDF", "", 3.0, 600.0, 400.0), (700.0, 500.0), 1.5, 2.0).told()
    left = [Polygon(rings[0], rings[1:]) for rings in told.offcuts_mm]
    waste = 600 * 400 - told.parts_mm2 - sum(each.area for each in left)
    assert told.parts_mm2 == pytest.approx(sum(w * h * n for w, h, n in sizes), rel=1e-3)
    assert waste >= 0


def test_people_list_and_mark_offcuts_from_the_command_line(
    line: Line, cutter: Cutter, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ask(line, "plate.svg", drawing(180, 100))
    cut(line, cutter, f"{first.id}-1")
    with TestClient(create_app(line.settings, scheduler=line.scheduler)) as client:
        token = (line.settings.data / "admin.token").read_text().strip()
        client.headers["Authorization"] = f"Bearer {token}"
        monkeypatch.setattr(cli, "_client", lambda *_: contextlib.nullcontext(client))
        shown = json.loads(CliRunner().invoke(cli.app, ["offcuts", "--shop", "mill", "--json"]).stdout)
        assert {row["id"] for row in shown} == set(kept(line))
        label = shown[0]["id"]
        marked = CliRunner().invoke(cli.app, ["mark-offcut", label, "used_up", "--why", "a jig"])
        assert (marked.exit_code, kept(line)[label].state) == (0, "used_up")
        assert CliRunner().invoke(cli.app, ["mark-offcut", "R-NONE", "lost"]).exit_code == 1
        assert CliRunner().invoke(cli.app, ["mark-offcut", label, "eaten"]).exit_code == 2
