"""A low stool: a routed seat, three printed collars, three round legs from the shop."""

from __future__ import annotations

import math

from designs.catalogue.outlines import CUT, FlatDrawing, circle, polygon
from designs.catalogue.solids import drawn_up, stl
from designs.catalogue.source import Source, flat, manifest, printed
from designs.drawing_conventions import Meaning, Operation
from designs.okh import BoughtItem, ManifestStep, StepKind
from designs.processes.model import ProcessKind

SEAT_MM = 220.0
BOARD_MM = 18.0
LEG_MM = 22.0
PLAY_MM = 0.3
SOCKET_DEEP_MM = 8.0
COLLAR_MM = 38.0
COLLAR_TALL_MM = 3.6
SCREW_MM = 3.4
CIRCLE_MM = 150.0
"""Diameter of the circle on which the legs stand."""


def _legs() -> list[tuple[float, float]]:
    middle = SEAT_MM / 2
    angles = [math.pi / 2 + k * math.tau / 3 for k in range(3)]
    return [(middle + CIRCLE_MM / 2 * math.cos(a), middle + CIRCLE_MM / 2 * math.sin(a)) for a in angles]


def make() -> Source:
    """Seat and collar."""
    seat = FlatDrawing("stool, seat from below").add(CUT, circle(SEAT_MM / 2, SEAT_MM / 2, SEAT_MM))
    socket = Meaning(Operation.POCKET, SOCKET_DEEP_MM)
    insert = Meaning(Operation.DRILL, 10.0)
    for x, y in _legs():
        seat.add(socket, circle(x, y, LEG_MM + PLAY_MM))
        seat.add(insert, *(circle(x + side * 15.0, y, 3.2) for side in (-1, 1)))
    hexagon = polygon(
        *((COLLAR_MM / 2 * math.cos(k * math.pi / 3), COLLAR_MM / 2 * math.sin(k * math.pi / 3)) for k in range(6))
    )
    holes = [circle(0, 0, LEG_MM + 2 * PLAY_MM)] + [circle(side * 15.0, 0, SCREW_MM) for side in (-1, 1)]
    collar = drawn_up(hexagon, COLLAR_TALL_MM, holes, segments=16)
    return Source(
        manifest(
            "Low stool",
            "To sit on at a low bench, or to step on: 26 cm high, three legs",
            (
                flat("seat", "seat.dxf", ProcessKind.CNC, "plywood", BOARD_MM),
                printed("collar", "collar.stl", (COLLAR_MM, COLLAR_MM * 0.87, COLLAR_TALL_MM), quantity=3),
            ),
            bought=(
                BoughtItem("round leg 22 × 250 mm", 3.0, note="a broom stick, sawn"),
                BoughtItem("M3 × 12 screw with insert", 6.0),
                BoughtItem("wood glue", 10.0, "ml"),
            ),
            steps=(
                ManifestStep(
                    "Sand the seat", StepKind.HUMAN, ("seat",), 15.0, instructions="Break all edges, sand to 180."
                ),
                ManifestStep(
                    "Screw on the collars",
                    StepKind.ASSEMBLY,
                    ("Sand the seat", "collar", "M3 × 12 screw with insert"),
                    10.0,
                    instructions="Over the three sockets, two screws each.",
                ),
                ManifestStep(
                    "Glue in the legs",
                    StepKind.ASSEMBLY,
                    ("Screw on the collars", "round leg 22 × 250 mm", "wood glue"),
                    15.0,
                    instructions="Through the collar to the bottom of the socket. Leave it a night to dry.",
                ),
            ),
        ),
        {"seat.dxf": seat.dxf(), "collar.stl": stl(collar, "stool collar")},
        "# Low stool\n\nThe seat is routed from 18 mm plywood, lower side up: sockets 8 mm deep take the "
        "legs, and a printed collar holds each leg over another 4 mm. Sit on it only when the glue is dry. "
        "Nobody has load-tested it: put a sack of 80 kg on it for a day before you do.\n",
    )
