"""Which toolpaths waiting jobs have, which are being made, and which there will never be, machine by machine.

Machines that want the same program of the same stock are looked at once: a town has many machines and few kinds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

import sqlalchemy as sa

from agents.contract.messages import LoadedMaterial, MachineDescription
from designs.processes.model import MachineProfile
from scheduler.dispatch.plan_machines import SeenMachine
from scheduler.orders import remnants
from scheduler.orders.recipes import JobBody, Recipe, fits, matching_material, profile_of, read_body, recipe_for
from scheduler.store import queries
from scheduler.store.content_queries import LineRow, RemnantRow
from scheduler.store.rows import JobRow, RecipeRow, ToolpathRow

#: Why a job has no toolpath yet; it will have one.
MAKING: Final = "its toolpath for this machine is being made"
TOO_LARGE: Final = "one piece alone is larger than its working area"

_Stuff = tuple[str, str, float | None, float | None, float | None]
_Kind = tuple[MachineProfile, tuple[_Stuff, ...], tuple[_Stuff, ...]]


@dataclass(slots=True)
class Wanted:
    """What is known of the toolpaths of waiting jobs."""

    made: dict[str, dict[str, ToolpathRow]] = field(default_factory=dict)
    """By job and machine key."""
    shut: dict[str, dict[str, str]] = field(default_factory=dict)
    """Why there is none, by job and machine key."""
    missing: dict[str, Recipe] = field(default_factory=dict)
    """Those that nobody asked for yet, by recipe key."""
    asked: dict[str, Recipe] = field(default_factory=dict)
    """Those asked for and not made yet."""
    file_keys: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Need:
    """One recipe, and all places that want it."""

    recipe: Recipe
    file_key: str
    places: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class _Alike:
    """Machines that no recipe tells apart."""

    description: MachineDescription
    shops: dict[str, list[str]] = field(default_factory=dict)
    """Their keys, by shop."""


def find_toolpaths(
    c: sa.Connection,
    machines: Mapping[str, SeenMachine],
    waiting: Sequence[JobRow],
    lines: Mapping[str, list[LineRow]],
) -> Wanted:
    """Ask what every waiting job has on every machine of its process."""
    found, needs = Wanted(), dict[str, _Need]()
    groups = _grouped(machines.values())
    offcuts = remnants.on_hand(c) if any(job.process in remnants.SHEET_PROCESSES for job in waiting) else []
    for job in waiting:
        body = read_body(job.body)
        laid: dict[str, RemnantRow | None] = {}
        by_shop = _by_shop(offcuts)
        for alike in groups.get(job.process, ()):
            why = _no_recipe(job, body, alike.description)
            if why is None:
                for shop in alike.shops:
                    if shop not in laid:
                        own, its = by_shop.get(shop), lines.get(job.id, [])
                        laid[shop] = remnants.fitting(own, shop, job.process, body, its) if own else None
                _need(c, needs, job, body, alike, laid)
            elif why:
                found.shut.setdefault(job.id, {}).update(dict.fromkeys(chain(*alike.shops.values()), why))
        offcuts = [row for row in offcuts if row not in laid.values()]
    rows = queries.recipes(c, sorted(needs))
    made = queries.toolpaths(c, sorted({row.sha256 for row in rows.values() if row.sha256}))
    for key, need in needs.items():
        _sort(found, key, need, rows.get(key), made)
    return found


def _grouped(machines: Iterable[SeenMachine]) -> dict[str, list[_Alike]]:
    """Machines of each process, those together that no recipe tells apart."""
    kinds: dict[_Kind, _Alike] = {}
    groups: dict[str, list[_Alike]] = {}
    for machine in machines:
        described = machine.report.description
        kind = (profile_of(described), _stuff(described.materials), _stuff(described.loadable))
        alike = kinds.get(kind)
        if alike is None:
            alike = kinds[kind] = _Alike(described)
            groups.setdefault(machine.row.process, []).append(alike)
        alike.shops.setdefault(machine.report.shop, []).append(machine.key)
    return groups


def _stuff(materials: Iterable[LoadedMaterial]) -> tuple[_Stuff, ...]:
    return tuple((each.material, each.colour, each.thickness_mm, each.width_mm, each.height_mm) for each in materials)


def _by_shop(offcuts: Iterable[RemnantRow]) -> dict[str, list[RemnantRow]]:
    shops: dict[str, list[RemnantRow]] = {}
    for row in offcuts:
        shops.setdefault(row.shop, []).append(row)
    return shops


def _need(
    c: sa.Connection,
    needs: dict[str, _Need],
    job: JobRow,
    body: JobBody,
    alike: _Alike,
    laid: Mapping[str, RemnantRow | None],
) -> None:
    """What the job wants on machines alike: one recipe for all shops that lay it on no offcut of theirs."""
    wanted: dict[str | None, _Need] = {}
    for shop, machines in alike.shops.items():
        offcut = laid[shop]
        name = None if offcut is None else offcut.id
        if name not in wanted:
            recipe = _recipe(c, job, body, alike.description, offcut)
            wanted[name] = needs.setdefault(recipe.key, _Need(recipe, job.file_key, []))
        wanted[name].places.extend((job.id, machine) for machine in machines)


def _recipe(
    c: sa.Connection, job: JobRow, body: JobBody, description: MachineDescription, offcut: RemnantRow | None
) -> Recipe:
    """Offcut first; a whole sheet where none fits, or where the pieces turned out not to lie on it after all."""
    if offcut is not None:
        recipe = recipe_for(body, job.pieces, description, remnants.stock_of(offcut))
        known = queries.recipe(c, recipe.key)
        if known is None or known.status != "impossible":
            return recipe
    return recipe_for(body, job.pieces, description)


def _sort(found: Wanted, key: str, need: _Need, row: RecipeRow | None, made: Mapping[str, ToolpathRow]) -> None:
    found.file_keys[key] = need.file_key
    why = MAKING
    if row is None:
        found.missing[key] = need.recipe
    elif row.status == "making":
        found.asked[key] = need.recipe
    elif row.status == "impossible" or row.sha256 is None:
        why = row.why
    else:
        for job, machine in need.places:
            found.made.setdefault(job, {})[machine] = made[row.sha256]
        return
    for job, machine in need.places:
        found.shut.setdefault(job, {})[machine] = why


def _no_recipe(job: JobRow, body: JobBody, description: MachineDescription) -> str | None:
    """Why no toolpath is wanted for this machine; empty when the planner's own checkers say it better."""
    if not fits(body.dims_mm, description.envelope_mm, job.process):
        return TOO_LARGE
    if matching_material(body, description) is None:
        return ""
    return None
