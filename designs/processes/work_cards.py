"""What the person at the machine must do before and after: stock, work-holding, origin, tool, care."""

from __future__ import annotations

from collections.abc import Sequence

from designs.processes.materials import LaserRecipe, RouterRecipe
from designs.processes.model import Stock, ToolSpec


def _colour(stock: Stock) -> str:
    return f" {stock.colour}" if stock.colour else ""


def _which(stock: Stock, word: str) -> str:
    """An offcut is fetched by what is written on it."""
    return f"Offcut {stock.label}, laid as it is drawn" if stock.label else word


def laser_card(stock: Stock, recipe: LaserRecipe, used_mm: tuple[float, float], focus_z_mm: float | None) -> str:
    """The laser's card, a line a step."""
    size = f"{used_mm[0] + 1:.0f} × {used_mm[1] + 1:.0f} mm"
    sheet = f"{_which(stock, 'Sheet')}: {stock.material}{_colour(stock)}, {stock.thickness_mm:g} mm, at least {size}, "
    sheet += "flat; hold it at the edges, pins or magnets outside this area."
    focus = "Focus on the top of the sheet by hand; the program never moves Z."
    if focus_z_mm is not None:
        focus = f"Z moves to {focus_z_mm:g} mm by itself."
    air = "Air assist on (M8). " if recipe.air else ""
    steps = (
        sheet,
        "Work origin: lower left corner of the sheet.",
        focus,
        "Check that the material is what it says: never cut PVC or vinyl.",
        f"{air}Extraction on, lid closed, extinguisher at hand.",
        "Stay with the machine while the beam can fire.",
    )
    return "\n".join(steps)


def router_card(
    stock: Stock, bits: Sequence[tuple[ToolSpec, RouterRecipe]], used_mm: tuple[float, float], safe_mm: float,
    below_mm: float, tabs_mm: float | None,
) -> str:  # fmt: skip
    """The router's card. `bits` in the order of their work; `below_mm`: how far cuts go under the stock; `tabs_mm`:
    height of tabs, None without."""
    thickness = stock.thickness_mm or 0.0
    holds = "The parts stay in the board: nothing comes loose."
    if tabs_mm is not None:
        holds = f"Tabs hold the parts: {tabs_mm:g} mm high; saw them through afterwards."
    size = f"{used_mm[0] + 1:.0f} × {used_mm[1] + 1:.0f} mm"
    held = "Work-holding: spoilboard under the stock; double-sided tape, or clamps outside this area and lower than "
    by_itself = "The controller changes bits by itself: every bit's length must be known to it."
    steps = (
        f"{_which(stock, 'Stock')}: {stock.material}{_colour(stock)}, {thickness:g} mm thick, at least {size}.",
        held + f"{safe_mm:g} mm above the stock.",
        "Work origin: lower left corner of the stock; z 0 on its top (touch off there).",
        *(_bit_steps(tool, recipe, thickness + below_mm) for tool, recipe in bits),
        *([by_itself] if len(bits) > 1 else []),
        f"Cuts go {below_mm:g} mm into the spoilboard.",
        holds,
        "Eye and ear protection, dust extraction on; stay with the machine while it runs.",
    )
    return "\n".join(steps)


def _bit_steps(tool: ToolSpec, recipe: RouterRecipe, deep_mm: float) -> str:
    bit = f"Bit {tool.number}: {tool.diameter_mm:g} mm {tool.kind.replace('_', ' ')}, {tool.flutes} flutes; "
    bit += f"cutting length over {deep_mm:.1f} mm.\n"
    return bit + f"Spindle {recipe.rpm:g} rpm, feed {recipe.feed_mm_min:g} mm/min."
