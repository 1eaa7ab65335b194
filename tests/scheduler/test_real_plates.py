"""A sheet and a plate of two orders made for real: the laser's CAM and a slicer, linted, drawn, and whose is which."""

from __future__ import annotations

from pathlib import Path

import pytest
from shapely.geometry import Polygon

from agents.contract.vocabulary import JobState, Process
from scheduler.orders import making
from scheduler.orders.cards import read_layout, sheet_drawing, work_card
from scheduler.store import content_queries, queries
from scheduler.store.rows import ToolpathRow
from scheduler.web.models import OrderDetail
from scheduler.web.source import Source
from tests.scheduler import line as line_module
from tests.scheduler.line import Agent, Line
from tests.scheduler.shelf import ask, ask_product, block, drawing
from tests.scheduler.test_remnants import Cutter


def offered(line: Line) -> tuple[str, ToolpathRow]:
    (job,) = line.jobs(JobState.OFFERED)
    with line.scheduler.store.read() as c:
        offer = queries.open_offer(c, job.id)
        assert offer is not None
        toolpath = queries.toolpath(c, offer.sha256)
    assert toolpath is not None
    return job.id, toolpath


def read_order(line: Line, order: str) -> OrderDetail:
    found = Source(line.scheduler.store, line.clock).order(order)
    assert found is not None
    return found


def test_two_orders_are_cut_from_one_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "tiny_toolpath", making.make)
    line = Line(tmp_path, Cutter("mill", "pi", ("laser",), Process.LASER))
    line.arrive()
    one = ask(line, "coaster.svg", drawing(80, 80), 3)
    other = ask(line, "tag.svg", drawing(50, 20), 2)
    line.plan()
    line.plan()
    job, toolpath = offered(line)
    assert toolpath.layout is not None
    layout = read_layout(toolpath.layout)
    with line.scheduler.store.read() as c:
        lines = content_queries.lines(c, job)
    assert {(x.order, x.pieces) for x in lines} == {(one.id, 3), (other.id, 2)}
    sizes = {x.order: 6_400 if x.order == one.id else 1_000 for x in lines}
    for piece in layout.placed:
        xs, ys = zip(*piece.outline_mm, strict=True)
        area = (max(xs) - min(xs)) * (max(ys) - min(ys))
        assert area == pytest.approx(sizes[lines[piece.piece].order], rel=0.25)
    card = work_card(toolpath, lines)
    assert f"for order {one.id}" in card
    assert f"for order {other.id}" in card
    drawn = sheet_drawing(toolpath, lines)
    assert drawn is not None
    assert drawn.count("<path") == 6
    shown = read_order(line, one.id)
    assert shown.shared == ((job, 3),)
    cuts = line.scheduler.blobs.get(toolpath.sha256).decode().count("G0")
    assert cuts >= 5
    line.close()


def test_all_parts_of_an_order_on_a_sheet_count_as_its_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page said of five own pieces, four of one part and one of another, that four were the order's."""
    monkeypatch.setattr(line_module, "tiny_toolpath", making.make)
    line = Line(tmp_path, Cutter("mill", "pi", ("laser",), Process.LASER))
    line.arrive()
    lamp = ask_product(line, {"panel": drawing(80, 80), "lid": drawing(60, 60)}, quantity=2)
    tag = ask(line, "tag.svg", drawing(50, 20), 1)
    line.plan()
    line.plan()
    job, _ = offered(line)
    assert read_order(line, lamp.id).shared == ((job, 4),)
    assert read_order(line, tag.id).shared == ((job, 1),)
    line.close()


def test_two_orders_are_printed_on_one_plate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "tiny_toolpath", making.make)
    line = Line(tmp_path, Agent("shed", "pi", ("m1",)))
    line.arrive()
    one = ask(line, "clip.stl", block(20, 10, 3), 2)
    other = ask(line, "peg.stl", block(12, 12, 4), 1)
    line.plan()
    line.plan()
    job, toolpath = offered(line)
    assert toolpath.layout is not None
    layout = read_layout(toolpath.layout)
    assert sorted(piece.name for piece in layout.placed) == ["clip", "clip", "peg"]
    with line.scheduler.store.read() as c:
        owners = {x.order for x in content_queries.lines(c, job)}
    assert owners == {one.id, other.id}
    assert line.job(job).pieces == 3
    line.close()


def gusset(leg: float) -> bytes:
    """Half a square: the other half of its box is empty."""
    points = f"0,0 {leg},0 0,{leg}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{leg}mm" height="{leg}mm" viewBox="0 0 {leg} {leg}">'
        f'<polygon points="{points}" fill="none" stroke="red"/></svg>'
    ).encode()


def test_pieces_whose_boxes_do_not_fit_share_a_sheet_by_their_outlines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_module, "tiny_toolpath", making.make)
    line = Line(tmp_path, Cutter("mill", "pi", ("laser",), Process.LASER))
    line.arrive()
    orders = [ask(line, "gusset.svg", gusset(160)), ask(line, "brace.svg", gusset(158))]
    line.plan()
    line.plan()
    job, toolpath = offered(line)
    with line.scheduler.store.read() as c:
        assert {x.order: x.pieces for x in content_queries.lines(c, job)} == {order.id: 1 for order in orders}
    assert toolpath.layout is not None
    laid = [Polygon(piece.outline_mm) for piece in read_layout(toolpath.layout).placed]
    assert len(laid) == 2
    assert laid[0].envelope.intersects(laid[1].envelope), "one lies beside the other's long side"
    assert laid[0].distance(laid[1]) > 0
    line.close()
