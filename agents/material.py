"""Whether what is loaded will do for a job, and what is left of it afterwards. Pure."""

from __future__ import annotations

from typing import Final

from msgspec import structs

from agents.contract.messages import LoadedMaterial, MaterialNeed

#: Sheets are cut to nominal size; a thickness this close is the same sheet.
THICKNESS_TOLERANCE_MM: Final = 0.25


def missing_of(need: MaterialNeed, loaded: LoadedMaterial) -> str:
    """What a loaded material lacks for a need; empty when it will do. Unknown amounts and sizes do not do."""
    if need.material.casefold() != loaded.material.casefold():
        return f"{loaded.material} is loaded, {need.material} is needed"
    if need.colour and need.colour.casefold() != loaded.colour.casefold():
        return f"{loaded.material} in {loaded.colour or 'an unknown colour'} is loaded, {need.colour} is needed"
    if need.thickness_mm is not None and (
        loaded.thickness_mm is None or abs(need.thickness_mm - loaded.thickness_mm) > THICKNESS_TOLERANCE_MM
    ):
        return f"{need.thickness_mm:g} mm is needed, {loaded.thickness_mm or 'an unknown thickness'} is loaded"
    if need.amount_g is not None and (loaded.remaining_g is None or loaded.remaining_g < need.amount_g):
        left = "an unknown amount" if loaded.remaining_g is None else f"{loaded.remaining_g:g} g"
        return f"{need.amount_g:g} g of {need.material} are needed, {left} is left"
    for name in ("width_mm", "height_mm"):
        want, have = getattr(need, name), getattr(loaded, name)
        if want is not None and (have is None or have < want):
            return f"{name} {want:g} is needed, the loaded piece has {have if have is not None else 'an unknown one'}"
    return ""


def named(need: MaterialNeed) -> str:
    """The need in a few words."""
    parts = [f"{need.thickness_mm:g} mm" if need.thickness_mm else "", need.colour, need.material]
    return " ".join(part for part in parts if part)


def left_of(need: MaterialNeed, materials: tuple[LoadedMaterial, ...]) -> tuple[LoadedMaterial, ...]:
    """What is loaded after a run. An interrupted run counts as a whole one, so that the gate errs to the safe side."""
    amount_g = need.amount_g or 0.0
    left: list[LoadedMaterial] = []
    for loaded in materials:
        after = loaded
        if amount_g and loaded.remaining_g is not None and loaded.material.casefold() == need.material.casefold():
            after = structs.replace(loaded, remaining_g=max(0.0, round(loaded.remaining_g - amount_g, 3)))
            amount_g = 0.0
        left.append(after)
    return tuple(left)
