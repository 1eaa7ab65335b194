"""Sliced plates run on the Marlin twin: no complaint, all consumed, an end where the program says, all heat off."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from designs.catalogue import entries
from designs.geometry import part_file
from designs.processes import fdm
from designs.processes.model import MachineProfile, Piece, ProcessKind, Stock, ToolSpec
from designs.toolpath import estimate
from firmware_bridges.survey import survey
from firmware_bridges.toolpath_file import ToolpathFile
from firmware_bridges.twins.run import TwinOptions, make_twin
from tests.designs.twin_run import MARLIN_TWIN, run, stripped

PRINTER = MachineProfile("Twin", ProcessKind.FDM, "marlin", (200.0, 200.0, 200.0), (ToolSpec(0, "nozzle", 0.4),))
HERE = {each.name: each for each in fdm.slicers() if each.version()}


@pytest.mark.parametrize("name", sorted({"PrusaSlicer", "mandoline", *HERE}))
def test_a_sliced_plate_on_the_marlin_twin(name: str, real_part: Callable[[str], Path], tmp_path: Path) -> None:
    if name == "PrusaSlicer":
        real_part("prusa-slicer")
    clip = next(entry for entry in entries() if entry.name == "cable_clip")
    made = fdm.make([Piece(part_file("clip.stl", clip.read("clip.stl")))], PRINTER, Stock("PLA"), slicer=HERE[name])
    twin = make_twin(TwinOptions(kind="marlin", profile="printer"))
    lines = stripped(made.gcode)
    done = run(twin, lines, window=96)
    assert [said for said in done.answers if "error" in said.lower() or "unknown" in said.lower()] == []
    counted = [line for line in lines if line != "M400"]  # the twin counts what acts, not what only waits
    assert (done.state["lines"], done.state["unknown"], done.state["resends"]) == (len(counted), 0, 0)
    assert done.state["sha256"] == hashlib.sha256("".join(f"{line}\n" for line in counted).encode()).hexdigest()
    assert done.position == pytest.approx((5.0, 195.0, 16.0), abs=1e-3)
    assert [target for _, target in done.state["heaters"].values()] == [0.0, 0.0]
    assert done.state["fan"] == 0
    assert done.state["homed"]
    extruded_g = done.state["position"][3] * 3.14159265 * 1.75**2 / 4 * 1.24 / 1000
    assert extruded_g == pytest.approx(made.material_g, abs=0.02)
    assert done.seconds == pytest.approx(estimate(made.gcode, MARLIN_TWIN).duration_s, rel=0.08)

    (tmp_path / "plate.gcode").write_bytes(made.gcode)
    seen = survey(ToolpathFile(tmp_path / "plate.gcode"), "fdm")
    assert seen.safe
    assert (seen.dangers, seen.suspicions) == ((), ())
    assert seen.bounds_mm is not None
    assert seen.filament_mm == pytest.approx(done.state["position"][3], abs=2.0)
