"""Router programs, measured: the bit stays outside the part, pockets are cleared, tabs stand, nothing plunges blind."""

from __future__ import annotations

import math

import pytest
from shapely.geometry import LineString, Point, box
from shapely.ops import unary_union

from designs.processes import cnc
from designs.processes.cnc import RouterOptions
from designs.processes.cnc_paths import uncut_share
from designs.processes.materials import router_recipe
from designs.processes.model import CannotMake, MadeToolpath, Piece, Stock, ToolSpec
from designs.toolpath import MachineLimits, lint
from designs.toolpath.parser import read_lines
from designs.toolpath.strokes import read_segments
from tests.designs import drawing_zoo as zoo

PLY = Stock("plywood", thickness_mm=6.0, width_mm=350.0, height_mm=300.0)
BIT = 3.175


def cuts(made: MadeToolpath, deeper_than: float = 0.0) -> list[tuple[list[float], float]]:
    """(segment, lower z) of all motion with an end below the given depth."""
    found = []
    for part in read_segments(made.gcode):
        for piece in part.ends.tolist():
            low = min(piece[2], piece[5])
            if low < -deeper_than - 1e-9:
                found.append((piece, low))
    return found


def _trace(piece: list[float]) -> LineString | Point:
    start, end = (piece[0], piece[1]), (piece[3], piece[4])
    return Point(start) if start == end else LineString([start, end])


def test_program_shape_and_lint():
    profile = zoo.router()
    made = cnc.make([Piece(zoo.plate(), 2)], profile, PLY)
    lines = made.gcode.decode("ascii").splitlines()
    assert lines[-2:] == ["M5 S0", "X0 Y0"]
    assert lint(made.gcode, MachineLimits.of(profile)) == ()
    assert made.pieces == 2
    assert made.bounds_mm[2] == pytest.approx(-6.3)
    for word in ("spoilboard", "Tabs", "Work origin"):
        assert word in made.work_card


def test_the_bit_never_enters_the_part():
    """Swept by the bit, every through cut misses the part's 80 × 40 area but for its hole and drill hole."""
    made = cnc.make([Piece(zoo.plate())], zoo.router(), PLY)
    deep = [_trace(p) for p, low in cuts(made, 3.01)]
    swept = unary_union(deep).buffer(BIT / 2.0)
    whole = box(*swept.bounds)
    x0, y0, x1, y1 = whole.bounds
    part = box(x0 + BIT, y0 + BIT, x1 - BIT, y1 - BIT)
    assert part.bounds[2] - part.bounds[0] == pytest.approx(80.0, abs=0.03)
    assert part.bounds[3] - part.bounds[1] == pytest.approx(40.0, abs=0.03)
    inside = swept.intersection(part.buffer(-0.03))
    holes = sorted(g.area for g in getattr(inside, "geoms", [inside]))
    drilled = math.pi * (BIT / 2.0) ** 2
    assert holes == pytest.approx([drilled, math.pi * 5.0**2], rel=0.02)


def test_pocket_is_cleared_to_its_depth_and_no_more():
    made = cnc.make([Piece(zoo.plate())], zoo.router(), PLY)
    level = [
        LineString([(p[0], p[1]), (p[3], p[4])])
        for p, low in cuts(made)
        if low == pytest.approx(-3.0) and p[2] == p[5] and (p[0], p[1]) != (p[3], p[4])
    ]
    swept = unary_union(level).buffer(BIT / 2.0)
    x0, y0, x1, y1 = swept.bounds
    assert (x1 - x0, y1 - y0) == pytest.approx((20.0, 20.0), abs=0.02)
    missed = box(x0, y0, x1, y1).area - swept.area
    corners = (4.0 - math.pi) * (BIT / 2.0) ** 2
    assert missed == pytest.approx(corners, abs=0.15)


def test_tabs_stand_and_only_on_the_outline():
    options = RouterOptions(tab_count=4, tab_width_mm=6.0, tab_height_mm=1.5)
    made = cnc.make([Piece(zoo.plate())], zoo.router(), PLY, options)
    tab_top = -4.5
    bottom = unary_union(
        [LineString([(p[0], p[1]), (p[3], p[4])]) for p, low in cuts(made, 6.2) if p[2] == p[5]]
    ).buffer(BIT / 2.0)
    above = unary_union(
        [
            LineString([(p[0], p[1]), (p[3], p[4])])
            for p, low in cuts(made, 4.4)
            if low == pytest.approx(tab_top) and p[2] == p[5] and (p[0], p[1]) != (p[3], p[4])
        ]
    )
    standing = above.buffer(0.05).difference(bottom)
    tabs = [g for g in getattr(standing, "geoms", [standing]) if g.area > 0.05]
    assert len(tabs) == 4
    for tab in tabs:
        x0, y0, x1, y1 = tab.bounds
        assert max(x1 - x0, y1 - y0) == pytest.approx(6.0, abs=0.3)


@pytest.mark.parametrize(("side", "tabs"), [(6.0, 0), (20.0, 0), (34.0, 2)])
def test_no_core_comes_loose(side: float, tabs: int):
    """What is inside a hole is either milled away or held: nothing flies."""
    at = 50.0 - side / 2.0, 30.0 - side / 2.0
    window = zoo.svg(
        zoo.layer(
            "CUT",
            '<rect x="10" y="10" width="80" height="40"/>'
            f'<rect x="{at[0]}" y="{at[1]}" width="{side}" height="{side}"/>',
        )
    )
    made = cnc.make([Piece(window)], zoo.router(), PLY)
    bottom = unary_union([_trace(p) for p, low in cuts(made, 6.2) if p[2] == p[5]]).buffer(BIT / 2.0)
    x0, y0, _, _ = bottom.bounds
    middle = Point(x0 + BIT + 40.0, y0 + BIT + 20.0)
    hole = middle.buffer(side / 2.0 - 0.3, cap_style="square")
    core = hole.difference(bottom)
    if tabs == 0:
        assert all(g.area < 0.1 for g in getattr(core, "geoms", [core]))
    else:
        assert core.area > 100.0
        frame = middle.buffer(side / 2.0 + 1.0, cap_style="square").difference(bottom)
        held = [g for g in getattr(frame, "geoms", [frame]) if g.area > 100.0]
        assert len(held) == 1
        assert held[0].intersects(middle.buffer(side / 2.0 + 1.0, cap_style="square").exterior)


def test_no_pass_deeper_than_the_stepdown_and_ramps_not_plunges():
    profile = zoo.router()
    made = cnc.make([Piece(zoo.plate())], profile, PLY)
    recipe = router_recipe("plywood", profile.tools[0], 24000.0, 3000.0)
    steepest = 0.0
    for piece, _ in cuts(made):
        sideways = math.dist(piece[:2], piece[3:5])
        down = piece[2] - piece[5]
        if sideways > 0.2 and down > 0.0:
            steepest = max(steepest, math.degrees(math.atan2(down, sideways)))
    assert 0.0 < steepest < 9.0
    depths = sorted({round(low, 3) for p, low in cuts(made) if p[2] == p[5] and low < -3.1})
    gaps = [b - a for a, b in zip(depths, [*depths[1:], 0.0], strict=True)]
    assert max(gaps) <= recipe.stepdown_mm + 1e-6 or depths[-1] > -recipe.stepdown_mm * 2


def signed_area(points: list[tuple[float, float]]) -> float:
    return 0.5 * sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(points, points[1:] + points[:1], strict=True))


@pytest.mark.parametrize(("climb", "sign"), [(True, -1.0), (False, 1.0)])
def test_climb_goes_clockwise_around_the_outline(climb: bool, sign: float):
    made = cnc.make([Piece(zoo.plate())], zoo.router(), PLY, RouterOptions(climb=climb, tab_count=0))
    last = [p for p, low in cuts(made, 6.2) if p[2] == p[5]]
    outline = [(p[0], p[1]) for p in last[-60:]]
    assert math.copysign(1.0, signed_area(outline)) == sign


def test_sideways_rapids_only_at_the_safe_height_and_spindle_before_the_bit():
    made = cnc.make([Piece(zoo.plate(), 3)], zoo.router(), PLY)
    spindle, mode, at = False, 0, {"X": 0.0, "Y": 0.0, "Z": 0.0}
    for line in read_lines(made.gcode):
        before = dict(at)
        for word in line.words:
            if word.letter == "G" and word.value in (0.0, 1.0):
                mode = int(word.value)
            if word.letter == "M" and word.value == 3.0:
                spindle = True
            if word.letter == "M" and word.value == 5.0:
                spindle = False
            if word.letter in at and word.value is not None:
                at[word.letter] = word.value
        if mode == 0 and (before["X"], before["Y"]) != (at["X"], at["Y"]):
            assert before["Z"] == at["Z"] == 5.0
        if at["Z"] < 0.5:
            assert spindle or at["Z"] == 0.0 == before["Z"]


def test_the_thickest_bit_that_fits_is_taken():
    made = cnc.make([Piece(zoo.plate())], zoo.router(1.5, 3.175, 12.0, dialect="grblhal"), PLY)
    assert "3.175 mm" in made.settings
    assert b"T2 M6" in made.gcode


def test_what_cannot_be_made():
    narrow = zoo.svg(
        zoo.layer("CUT", '<rect x="10" y="10" width="80" height="40"/><rect x="20" y="20" width="2" height="20"/>')
    )
    with pytest.raises(CannotMake, match="too narrow"):
        cnc.make([Piece(narrow)], zoo.router(), PLY)
    tiny_hole = zoo.svg(
        zoo.layer("CUT", '<rect x="10" y="10" width="80" height="40"/>')
        + zoo.layer("DRILL", '<circle cx="30" cy="30" r="1"/>')
    )
    with pytest.raises(CannotMake, match="too narrow"):
        cnc.make([Piece(tiny_hole)], zoo.router(), PLY)
    with pytest.raises(CannotMake, match="does not know"):
        cnc.make([Piece(zoo.plate())], zoo.router(), Stock("steel", thickness_mm=3.0))
    with pytest.raises(CannotMake, match="do not fit"):
        cnc.make([Piece(zoo.plate(), 99)], zoo.router(), PLY)
    with pytest.raises(CannotMake, match="deeper"):
        cnc.make([Piece(zoo.plate())], zoo.router(), Stock("plywood", thickness_mm=2.0))
    with pytest.raises(CannotMake, match="no milling bit"):
        cnc.make([Piece(zoo.plate())], zoo.laser().__class__(**{**_fields(zoo.router()), "tools": ()}), PLY)
    with pytest.raises(CannotMake, match="cannot run"):
        cnc.make([Piece(zoo.plate())], zoo.laser(), PLY)


def _fields(profile: object) -> dict[str, object]:
    return {name: getattr(profile, name) for name in profile.__dataclass_fields__}  # type: ignore[attr-defined]


def test_feed_follows_tool_and_machine():
    thin = router_recipe("plywood", ToolSpec(1, "flat_end_mill", 2.0), 24000.0, None)
    thick = router_recipe("plywood", ToolSpec(1, "flat_end_mill", 6.0), 24000.0, None)
    assert thick.feed_mm_min == pytest.approx(3.0 * thin.feed_mm_min, rel=0.01)
    assert thick.stepdown_mm > thin.stepdown_mm
    slow = router_recipe("plywood", ToolSpec(1, "flat_end_mill", 6.0), 24000.0, 1000.0)
    assert slow.feed_mm_min <= 1000.0
    assert slow.rpm < thick.rpm


def test_uncut_share_of_a_square_is_its_corners():
    assert uncut_share(box(0, 0, 20, 20), 2.0) == pytest.approx((4 - math.pi) * 4.0 / 400.0, abs=1e-3)
    assert uncut_share(box(0, 0, 1, 20), 2.0) == pytest.approx(1.0)
