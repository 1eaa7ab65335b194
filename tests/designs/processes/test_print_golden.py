"""What we write ourselves for a print, against golden files: start, layers, end, and PrusaSlicer's profile.

`python -m tests.designs.processes.test_print_golden` writes the golden files again: read what changes first.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from designs.processes.model import MachineProfile, ProcessKind, Stock, ToolSpec
from designs.processes.print_program import end_lines, start_lines
from designs.processes.profiles import print_settings
from designs.processes.slicers.layer_gcode import Feature, Layer, LayerWriter
from designs.processes.slicers.prusaslicer import profile_ini

GOLDEN = Path(__file__).parent / "golden"
PRINTER = MachineProfile("Ender 3", ProcessKind.FDM, "marlin", (220.0, 220.0, 250.0), (ToolSpec(0, "nozzle", 0.4),))
SETTINGS = print_settings(PRINTER, Stock("PETG"), "standard")


def square(size: float, inset: float = 0.0) -> tuple[tuple[float, float], ...]:
    low, high = inset, size - inset
    return ((low, low), (high, low), (high, high), (low, high), (low, low))


def two_layers_of_two_copies() -> str:
    infill = tuple(((2.0 + 0.45 * n, 1.0), (2.0 + 0.45 * n, 9.0)) for n in range(4))
    layers = [
        Layer(0.2, (Feature("perimeter", (square(10, 0.7), square(10, 0.2))), Feature("solid", infill))),
        Layer(0.4, (Feature("perimeter", (square(10, 0.2),)), Feature("sparse", (((1.0, 1.0), (9.0, 9.0)),)))),
    ]
    writer = LayerWriter(SETTINGS, 0.2)
    for number, layer in enumerate(layers):
        writer.layer(number, layer.z, [((100.0, 100.0), layer), ((120.0, 100.0), layer)])
    writer.finish()
    return "\n".join([*start_lines(SETTINGS), *writer.lines, *end_lines(SETTINGS, 0.4)]) + "\n"


def generated() -> dict[str, str]:
    return {
        "two_squares.gcode": two_layers_of_two_copies(),
        "ender3_petg_standard.ini": profile_ini(SETTINGS, start_lines(SETTINGS), end_lines(SETTINGS, 0.4)),
    }


@pytest.mark.parametrize("name", sorted(generated()))
def test_as_the_golden_file(name: str) -> None:
    assert generated()[name] == (GOLDEN / name).read_text(encoding="utf-8")


if __name__ == "__main__":
    for file_name, text in generated().items():
        (GOLDEN / file_name).write_text(text, encoding="utf-8")
