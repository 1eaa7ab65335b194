"""Whatever is drawn: its program has no findings, the twin complains of nothing, and it ends at the origin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from designs.catalogue import entries
from designs.gallery import SHOWN_ON
from designs.geometry import part_file
from designs.okh import ManifestPart
from designs.processes import cnc, laser, make_toolpath
from designs.processes.cnc import RouterOptions
from designs.processes.model import (
    CannotMake,
    MachineProfile,
    MadeToolpath,
    PartFile,
    Piece,
    ProcessKind,
    Stock,
    ToolSpec,
)
from designs.processes.power_grid import make_grid
from designs.toolpath import MachineLimits, estimate, lint
from firmware_bridges.bridge import RunFinished
from firmware_bridges.gcode_words import compact
from firmware_bridges.survey import survey
from firmware_bridges.toolpath_file import ToolpathFile
from firmware_bridges.twins.grbl import GrblTwin
from firmware_bridges.twins.run import TwinOptions, make_twin
from tests.designs import drawing_zoo as zoo
from tests.designs.test_on_twins import picture
from tests.designs.twin_run import grbl, grbl_kinematics, run, stripped
from tests.firmware_bridges.simulated_grbl import SimulatedGrbl
from tests.firmware_bridges.simulated_line import Lines

SHEET = Stock("plywood", thickness_mm=3.0, width_mm=300.0, height_mm=200.0)
BOARD = Stock("plywood", thickness_mm=6.0, width_mm=350.0, height_mm=300.0)
FEW = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def runs(made: MadeToolpath, profile: MachineProfile, twin: str) -> None:
    """Zero findings for this machine; every line taken; tool off at the end, over the origin; the time as estimated."""
    assert lint(made.gcode, MachineLimits.of(profile)) == ()
    machine = grbl(twin, s30=profile.power_s_max)
    lines = stripped(made.gcode)
    done = run(machine, lines, window=127)
    assert done.answers == ()
    assert done.state["consumed"] == len(lines)
    assert done.position[:2] == pytest.approx((0.0, 0.0), abs=1e-6)
    assert done.position[2] >= 0.0
    assert done.state["spindle"]["power"] == 0.0
    assert estimate(made.gcode, grbl_kinematics(machine)).duration_s == pytest.approx(done.seconds, rel=0.05, abs=1.0)


@st.composite
def drawings(draw: st.DrawFn, router: bool) -> PartFile:
    """A plate with whatever may be in it: round and square holes, engraving, marks, pockets, drilled holes."""
    width, height = draw(st.integers(30, 90)), draw(st.integers(30, 55))
    body = f'<rect x="2" y="2" width="{width}" height="{height}" rx="{draw(st.sampled_from([0, 3, 9]))}"/>'
    cells = [(x, y) for x in range(6, width - 10, 13) for y in range(6, height - 10, 13)]
    spots = draw(st.lists(st.sampled_from(cells), max_size=5, unique=True))
    inner: dict[str, str] = {"CUT": body}
    kinds = ["hole", "window", "mark", "engrave"] + (["pocket", "drill"] if router else [])
    for x, y in spots:
        size = draw(st.floats(4.0, 10.0))
        square = f'<rect x="{x}" y="{y}" width="{size:.2f}" height="{size:.2f}"/>'
        circle = f'<circle cx="{x + 5}" cy="{y + 5}" r="{size / 2:.2f}"/>'
        name, shape = {
            "hole": ("CUT", circle),
            "window": ("CUT", square),
            "mark": ("MARK", f'<path d="M{x} {y} l{size:.2f} {size / 2:.2f} l3 -2"/>'),
            "engrave": ("ENGRAVE", square),
            "pocket": ("POCKET_2", square),
            "drill": ("DRILL", circle),
        }[draw(st.sampled_from(kinds))]
        inner[name] = inner.get(name, "") + shape
    return zoo.svg("".join(zoo.layer(name, shapes) for name, shapes in inner.items()))


@FEW
@given(drawings(router=False), st.integers(1, 3), st.sampled_from(["plywood", "acrylic", "cardboard"]))
def test_any_drawing_on_the_laser(file: PartFile, copies: int, material: str) -> None:
    stock = Stock(material, thickness_mm=3.0, width_mm=300.0, height_mm=200.0)
    runs(laser.make([Piece(file, copies)], zoo.laser(), stock), zoo.laser(), "laser")


@FEW
@given(drawings(router=True), st.booleans(), st.sampled_from(["plywood", "hardwood", "foam"]))
def test_any_drawing_on_the_router(file: PartFile, climb: bool, material: str) -> None:
    stock = Stock(material, thickness_mm=6.0, width_mm=350.0, height_mm=300.0)
    made = cnc.make([Piece(file)], zoo.router(), stock, RouterOptions(climb=climb))
    runs(made, zoo.router(), "router")


FLAT = [
    (entry.name, part, entry.read(part.exports[0]))
    for entry in entries()
    for part in entry.manifest.parts
    if part.process in (ProcessKind.LASER, ProcessKind.CNC)
]


@pytest.mark.parametrize(("name", "part", "data"), FLAT, ids=[f"{name}-{part.name}" for name, part, _ in FLAT])
def test_every_flat_part_of_the_catalogue(name: str, part: ManifestPart, data: bytes, tmp_path: Path) -> None:
    """And the agent, which reads every program by its own means, finds no danger and the same reach."""
    assert part.process is not None
    profile = SHOWN_ON[part.process]
    stock = Stock(part.material or "", thickness_mm=part.thickness_mm)
    made = make_toolpath([Piece(part_file(part.exports[0], data), part.quantity)], profile, stock)
    runs(made, profile, "laser" if part.process is ProcessKind.LASER else "router")
    (tmp_path / "part.nc").write_bytes(made.gcode)
    seen = survey(ToolpathFile(tmp_path / "part.nc"), part.process.value)
    assert (seen.dangers, seen.suspicions) == ((), ())
    assert seen.bounds_mm is not None
    assert (seen.bounds_mm.high[0], seen.bounds_mm.high[1]) == pytest.approx(made.bounds_mm[3:5], abs=0.02)


V_CARVER = MachineProfile(
    "carver", ProcessKind.CNC, "grbl", (400.0, 400.0, 80.0), (ToolSpec(3, "v_bit", 6.0, 2, 60.0),), 3000.0, 500.0,
    spindle_max_rpm=24000.0,
)  # fmt: skip
SIGN = zoo.svg(zoo.layer("ENGRAVE", '<rect x="10" y="10" width="60" height="8"/><circle cx="30" cy="40" r="9"/>'))
OTHERS: dict[str, tuple[Callable[[], MadeToolpath], MachineProfile, str]] = {
    "picture": (lambda: laser.make([Piece(picture())], zoo.laser(), SHEET), zoo.laser(), "laser"),
    "test grid": (lambda: make_grid(zoo.laser(), SHEET, (0.2, 0.6), (1200.0, 3000.0)), zoo.laser(), "laser"),
    "test cuts": (lambda: make_grid(zoo.laser(), SHEET, (0.2, 0.6), (600.0,), cut=True), zoo.laser(), "laser"),
    "V-carving": (lambda: cnc.make([Piece(SIGN)], V_CARVER, BOARD), V_CARVER, "router"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_the_other_processes(what: str) -> None:
    make, profile, twin = OTHERS[what]
    runs(make(), profile, twin)


@pytest.mark.parametrize("dialect", ["grblhal", "fluidnc"])
def test_kin_of_grbl_take_the_same_programs(dialect: str) -> None:
    profile = zoo.router(dialect=dialect)
    made = cnc.make([Piece(zoo.plate())], profile, BOARD)
    assert lint(made.gcode, MachineLimits.of(profile)) == ()
    twin = make_twin(TwinOptions(dialect, profile="router", settings=(("$22", "0"), ("$20", "0"))))
    done = run(twin, stripped(made.gcode), window=127)
    assert done.answers == ()
    assert done.position == pytest.approx((0.0, 0.0, 5.0), abs=1e-6)


def test_what_a_machine_cannot_do_is_a_sentence_not_a_program() -> None:
    for dialect in ("marlin", "ruida", "mach3"):
        with pytest.raises(CannotMake, match="GRBL"):
            laser.make([Piece(zoo.laser_plate())], zoo.laser(dialect), SHEET)


@pytest.mark.parametrize("name", ["laser", "router"])
def test_the_bridge_drives_arcs_and_helices_to_their_end(name: str) -> None:
    """Not the twin alone: the bridge that watches reported positions against the program has nothing to object."""
    program = (Path(__file__).parent / "golden" / f"{name}.nc").read_bytes()
    assert b"G3 " in program
    twin = GrblTwin(profile=name, settings={22: 0, 30: 1000}, keep_lines=True)
    line = SimulatedGrbl(twin, process="laser" if name == "laser" else "cnc")
    line.start()
    lines = stripped(program)
    line.bridge.run(Lines(lines))
    assert line.run_until(lambda: line.outcome is not None, 3000.0)
    assert isinstance(line.outcome, RunFinished), line.outcome
    assert list(line.grbl.consumed) == [compact(text) for text in lines]
