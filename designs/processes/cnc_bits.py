"""Which bit of the machine does what: one for outlines, pockets and lines, and for each drilled hole one that fits it.

A machine that changes bits within a program gets the bit that suits each hole best; one that cannot is given all work
with one bit where one bit can do it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shapely.geometry import Polygon

from designs.contours import Contour
from designs.drawing_conventions import Operation
from designs.processes.cnc_paths import Loop, PocketArea, uncut_share
from designs.processes.materials import RouterRecipe
from designs.processes.model import CannotMake, Finding, MachineProfile, ToolSpec
from designs.processes.sheet_layout import Layout

MILLS = ("flat_end_mill", "ball_end_mill")
DRILL_PLAY_MM = 0.15
"""A hole this much wider or narrower than the bit is pecked straight down."""
_REACHED = 0.97
_PLAIN_GRBL = "grbl"


@dataclass(slots=True)
class BitWork:
    """All that one bit does, sorted."""

    tool: ToolSpec
    recipe: RouterRecipe
    lines: list[tuple[Contour, float]] = field(default_factory=list)
    drills: list[tuple[tuple[float, float], float]] = field(default_factory=list)
    pockets: list[PocketArea] = field(default_factory=list)
    loops: list[Loop] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether the bit has nothing to do."""
        return not (self.lines or self.drills or self.pockets or self.loops)


def changes_bits(profile: MachineProfile) -> bool:
    """Whether a program may change bits: GRBL 1.1 knows no M6 (grbl/gcode.c), grblHAL and FluidNC do."""
    return profile.dialect.lower() != _PLAIN_GRBL and len({t.number for t in profile.tools}) > 1


def named(tools: Sequence[ToolSpec]) -> str:
    """The bits, for people: `1 (3.175 mm flat end mill), 2 (2 mm drill)`."""
    return ", ".join(f"{t.number} ({t.diameter_mm:g} mm {t.kind.replace('_', ' ')})" for t in tools) or "none"


def choose_mill(mills: Sequence[ToolSpec], layout: Layout, profile: MachineProfile) -> ToolSpec:
    """The thickest bit that reaches 97 % everywhere; else the one that reaches most, the thinnest of equals.

    Without a changer a bit that also bores every drilled hole is preferred to one that does not.
    """
    areas = [_unreached(tool, layout) for tool in mills]
    alone = [_bores_all(tool, layout) for tool in mills]
    good = [k for k, share in enumerate(areas) if share <= 1.0 - _REACHED]
    single = [k for k in good if alone[k]]
    if single and (good[0] == single[0] or not changes_bits(profile)):
        return mills[single[0]]
    if good:
        return mills[good[0]]
    return mills[min(range(len(mills)), key=lambda k: (areas[k], -k))]


def _unreached(tool: ToolSpec, layout: Layout) -> float:
    """Share of holes' and pockets' areas that this bit cannot reach, the worst place."""
    radius = tool.diameter_mm / 2.0
    worst = 0.0
    for laid in layout.laid:
        for region in laid.regions:
            worst = max([worst, *(uncut_share(Polygon(ring), radius) for ring in region.interiors)])
        for c in laid.contours:
            if c.operation is Operation.POCKET and c.closed:
                worst = max(worst, uncut_share(c.polygon(), radius))
    return worst


def _bores_all(tool: ToolSpec, layout: Layout) -> bool:
    circles = [c.circle() for laid in layout.laid for c in laid.contours if c.operation is Operation.DRILL]
    return all(circle is None or 2.0 * circle[1] >= tool.diameter_mm - DRILL_PLAY_MM for circle in circles)


def bit_for_hole(name: str, diameter_mm: float, mill: ToolSpec, profile: MachineProfile) -> ToolSpec:
    """The bit that makes a drilled hole. Raises CannotMake that names the bits there where none of them can."""
    if abs(mill.diameter_mm - diameter_mm) <= DRILL_PLAY_MM:
        return mill
    others = [t for t in profile.tools if t.kind in ("drill", "flat_end_mill")]
    exact = [t for t in others if abs(t.diameter_mm - diameter_mm) <= DRILL_PLAY_MM]
    exact.sort(key=lambda t: (abs(t.diameter_mm - diameter_mm), t.kind != "drill", t.number))
    wider = diameter_mm > mill.diameter_mm
    if exact and (changes_bits(profile) or not wider):
        return exact[0]
    if wider:
        return mill
    thinner = [t for t in others if t.kind == "flat_end_mill" and t.diameter_mm < diameter_mm]
    if thinner:
        return max(thinner, key=lambda t: (t.diameter_mm, -t.number))
    raise CannotMake(
        f"{name} has a {diameter_mm:.2f} mm hole, too narrow for the bits of {profile.model}",
        f"a bit makes no hole thinner than itself, and there are {named(profile.tools)}",
        f"Put a drill of {diameter_mm:.2g} mm into the machine and declare it, or draw the hole wider.",
    )
