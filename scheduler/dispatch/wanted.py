"""Which toolpaths waiting jobs have, which are being made, and which there will never be, machine by machine.

Machines that want the same program of the same stock are looked at once: a town has many machines and few kinds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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
        for alike in groups.get(job.process, ()):
            description = alike[0].report.description
            why = _no_recipe(job, body, description)
            if why is None:
                for shop, own in _by_shop(alike).items():
                    if shop not in laid:
                        laid[shop] = remnants.fitting(offcuts, shop, job.process, body, lines.get(job.id, []))
                    _need(c, needs, job, body, description, laid[shop], own)
            elif why:
                found.shut.setdefault(job.id, {}).update({machine.key: why for machine in alike})
        offcuts = [row for row in offcuts if row not in laid.values()]
    rows = queries.recipes(c, sorted(needs))
    made = queries.toolpaths(c, sorted({row.sha256 for row in rows.values() if row.sha256}))
    for key, need in needs.items():
        _sort(found, key, need, rows.get(key), made)
    return found


def _grouped(machines: Iterable[SeenMachine]) -> dict[str, list[list[SeenMachine]]]:
    """Machines of each process, those together that no recipe tells apart."""
    alike: dict[_Kind, list[SeenMachine]] = {}
    for machine in machines:
        described = machine.report.description
        kind = (profile_of(described), _stuff(described.materials), _stuff(described.loadable))
        alike.setdefault(kind, []).append(machine)
    groups: dict[str, list[list[SeenMachine]]] = {}
    for group in alike.values():
        groups.setdefault(group[0].row.process, []).append(group)
    return groups


def _stuff(materials: Iterable[LoadedMaterial]) -> tuple[_Stuff, ...]:
    return tuple((each.material, each.colour, each.thickness_mm, each.width_mm, each.height_mm) for each in materials)


def _by_shop(machines: Iterable[SeenMachine]) -> dict[str, list[str]]:
    shops: dict[str, list[str]] = {}
    for machine in machines:
        shops.setdefault(machine.report.shop, []).append(machine.key)
    return shops


def _need(
    c: sa.Connection,
    needs: dict[str, _Need],
    job: JobRow,
    body: JobBody,
    description: MachineDescription,
    offcut: RemnantRow | None,
    machines: Sequence[str],
) -> None:
    recipe = _recipe(c, job, body, description, offcut)
    need = needs.setdefault(recipe.key, _Need(recipe, job.file_key, []))
    need.places.extend((job.id, machine) for machine in machines)


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
