"""The shelf: what the sources generate is what is shipped, and every part of every design can be made."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from designs.catalogue import CatalogueEntry, entries
from designs.catalogue.building import build, content_uri, differences, generated
from designs.catalogue.outlines import circle, flattened, rectangle, slot
from designs.drawing_conventions import Operation
from designs.drawings import read_drawing
from designs.geometry import inspect, part_file
from designs.okh import ManifestPart, licence_gate, order_tree, read_manifest, write_manifest
from designs.processes import fdm, make_toolpath
from designs.processes.footprints import SUPPORT_FROM_MM2
from designs.processes.model import MachineProfile, MadeToolpath, Piece, ProcessKind, Severity, Stock, ToolSpec
from designs.processes.slicers.mandoline import Mandoline
from designs.toolpath import MachineLimits, lint

ENTRIES = entries()
PARTS = [(entry, part) for entry in ENTRIES for part in entry.manifest.parts]
PROFILES = {
    ProcessKind.FDM: MachineProfile(
        "Prusa MK3S", ProcessKind.FDM, "marlin", (250.0, 210.0, 210.0), (ToolSpec(0, "nozzle", 0.4),)
    ),
    ProcessKind.LASER: MachineProfile(
        "Laser 300", ProcessKind.LASER, "grbl", (300.0, 200.0, 50.0), max_feed_mm_min=12000, laser_power_w=40
    ),
    ProcessKind.CNC: MachineProfile(
        "Router 400",
        ProcessKind.CNC,
        "grbl",
        (400.0, 400.0, 80.0),
        (ToolSpec(1, "flat_end_mill", 3.175),),
        max_feed_mm_min=3000,
        spindle_max_rpm=24000,
    ),
}
ids = [f"{entry.name}-{part.name}" for entry, part in PARTS]


def test_what_is_shipped_is_what_the_sources_generate() -> None:
    assert differences() == []


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.name for entry in ENTRIES])
def test_the_repository_is_no_made_up_address(entry: CatalogueEntry) -> None:
    """A manifest says where its design is found: by the content of its files, or where its publisher says it is."""
    files = {name: entry.read(name) for name in entry.files if name != "okh.toml"}
    assert entry.manifest.repo == content_uri(files)
    assert re.fullmatch(r"ni:///sha-256;[A-Za-z0-9_-]{43}", entry.manifest.repo)
    changed = files | {"making.md": files["making.md"] + b" "}
    assert content_uri(changed) != entry.manifest.repo


def test_a_publisher_names_a_home() -> None:
    text = generated("https://designs.invalid/shelf/")["lamp"]["okh.toml"].decode()
    assert 'repo = "https://designs.invalid/shelf/lamp"' in text


def test_generating_twice_gives_the_same_bytes() -> None:
    assert generated() == generated()


def test_building_writes_changes_and_removes_what_no_source_makes(tmp_path: Path) -> None:
    everything = build(tmp_path)
    assert differences(tmp_path) == []
    (tmp_path / "lamp" / "lid.svg").write_text("changed")
    (tmp_path / "lamp" / "old.stl").write_text("left over")
    (tmp_path / "ruler" / "okh.toml").unlink()
    assert build(tmp_path) == ["lamp/lid.svg", "lamp/old.stl", "ruler/okh.toml"]
    assert build(tmp_path) == []
    assert len(everything) == sum(1 for path in tmp_path.rglob("*") if path.is_file())


def test_there_are_enough_designs_of_every_kind() -> None:
    assert len(ENTRIES) >= 8
    makes = {entry.name: {part.process for part in entry.manifest.parts} for entry in ENTRIES}
    for process in PROFILES:
        assert sum(process in kinds for kinds in makes.values()) >= 3
    assert sum(len(kinds) > 1 for kinds in makes.values()) >= 2
    formats = {Path(file).suffix for entry in ENTRIES for file in entry.files}
    assert {".stl", ".svg", ".dxf"} <= formats


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.name for entry in ENTRIES])
def test_manifests_are_open_complete_and_order(entry: CatalogueEntry) -> None:
    manifest = entry.manifest
    assert licence_gate(manifest).open
    assert manifest.notes == ()
    assert read_manifest(write_manifest(manifest)) == manifest
    named = {file for part in manifest.parts for file in part.exports} | set(manifest.instructions)
    assert named | {"okh.toml"} == set(entry.files)
    tree = order_tree(manifest, 2)
    assert all(node.quantity == 2 * node.part.quantity for node in tree.parts)
    if len(manifest.parts) > 1:
        assert tree.steps[-1].kind.value == "assembly"
    assert len(entry.read("making.md")) > 60


def made_of(entry: CatalogueEntry, part: ManifestPart) -> MadeToolpath:
    assert part.process is not None
    file = part_file(part.exports[0], entry.read(part.exports[0]))
    piece, stock = Piece(file, part.quantity), Stock(part.material or "", thickness_mm=part.thickness_mm)
    profile = PROFILES[part.process]
    if part.process is ProcessKind.FDM:
        return fdm.make([piece], profile, stock, slicer=Mandoline())
    return make_toolpath([piece], profile, stock)


@pytest.mark.parametrize(("entry", "part"), PARTS, ids=ids)
def test_every_part_can_be_made(entry: CatalogueEntry, part: ManifestPart) -> None:
    report = inspect(part_file(part.exports[0], entry.read(part.exports[0])))
    assert report.sound
    assert report.repaired == ()
    if part.process is ProcessKind.FDM:
        assert report.watertight
        assert report.dims_mm == pytest.approx(part.dimensions_mm, abs=0.6)
        assert (report.overhang_mm2 or 0) < SUPPORT_FROM_MM2
    made = made_of(entry, part)
    assert part.process is not None
    errors = [
        each
        for each in lint(made.gcode, MachineLimits.of(PROFILES[part.process]))
        if each.severity is not Severity.NOTE
    ]
    assert errors == []
    assert made.pieces == part.quantity
    assert made.lines <= 13_000
    assert 0 < made.duration_s < 3600


def test_drawings_keep_their_measures_and_operations() -> None:
    by_name = {entry.name: entry for entry in ENTRIES}
    ruler = read_drawing(part_file("ruler.svg", by_name["ruler"].read("ruler.svg")))
    assert ruler.size_mm == pytest.approx((112, 30), abs=1e-3)
    marks = ruler.of(Operation.MARK)
    positions = [contour.points[0][0] for contour in marks]
    assert max(positions) - min(positions) == pytest.approx(100, abs=1e-3)
    assert len(marks) == 51
    seat = read_drawing(part_file("seat.dxf", by_name["stool"].read("seat.dxf")))
    assert seat.size_mm == pytest.approx((220, 220), abs=0.1)
    assert [contour.depth_mm for contour in seat.of(Operation.POCKET)] == [8.0] * 3
    assert [contour.depth_mm for contour in seat.of(Operation.DRILL)] == [10.0] * 6
    assert sum(region.area for region in seat.regions()) == pytest.approx(math.pi * 110**2, rel=2e-3)


@pytest.mark.parametrize(
    ("ring", "area"),
    [
        (rectangle(1, 2, 10, 5), 50),
        (rectangle(0, 0, 10, 10, 2), 100 - 16 + math.pi * 4),
        (circle(3, 4, 10), math.pi * 25),
        (slot(0, 0, 20, 4), 16 * 4 + math.pi * 4),
    ],
)
def test_outlines_flatten_to_their_area(ring: tuple[tuple[float, float, float], ...], area: float) -> None:
    points = flattened(ring, 360)
    found = sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True)) / 2
    assert found == pytest.approx(area, rel=1e-3)
