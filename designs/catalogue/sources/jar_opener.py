"""A flat key that lifts the edge of a screw-top lid and lets the air in, so that weak hands can open the jar."""

from __future__ import annotations

from designs.catalogue.outlines import circle, polygon, rectangle
from designs.catalogue.solids import drawn_up, stl
from designs.catalogue.source import Source, manifest, printed

LONG_MM = 40.0
WIDE_MM = 16.0
THICK_MM = 4.2


def make() -> Source:
    """The key."""
    body = drawn_up(rectangle(0, 0, LONG_MM, WIDE_MM, 5.0), THICK_MM)
    throat = drawn_up(
        polygon((LONG_MM - 9, -1), (LONG_MM - 4.5, -1), (LONG_MM - 4.5, 4.5), (LONG_MM - 6, 6), (LONG_MM - 9, 6)),
        THICK_MM,
    )
    string = drawn_up(circle(6, WIDE_MM / 2, 5), THICK_MM, segments=16)
    return Source(
        manifest(
            "Jar-lid key",
            "Breaks the vacuum under a screw-top lid without strength in the wrist",
            (printed("key", "key.stl", (LONG_MM, WIDE_MM, THICK_MM), material="PETG"),),
        ),
        {"key.stl": stl(body - throat - string, "jar-lid key")},
        "# Jar-lid key\n\nPrint it flat. Hook the lip under the edge of the lid, lever gently until it "
        "clicks, then turn the lid by hand. Wash it before and after.\n",
    )
