"""A manifest's bill of materials as an order's tree: parts to make, items to buy, steps in a workable order."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import Final

from designs.okh.manifest import BadManifest, BoughtItem, Manifest, ManifestPart, ManifestStep, StepKind

MOST_PIECES: Final = 100_000


@dataclass(frozen=True, slots=True)
class PartNode:
    """So many of a part, to be made as jobs."""

    part: ManifestPart
    quantity: int


@dataclass(frozen=True, slots=True)
class BoughtNode:
    """So many of an item, to be bought or found in stock."""

    item: BoughtItem
    quantity: float


@dataclass(frozen=True, slots=True)
class StepNode:
    """Work by a person once everything in `needs` is there; minutes are for the whole order."""

    name: str
    kind: StepKind
    needs: tuple[str, ...]
    minutes: float
    skill: str = ""
    instructions: str = ""


@dataclass(frozen=True, slots=True)
class OrderTree:
    """What an order comes down to. Every name in a step's `needs` is a part, a bought item or an earlier step."""

    quantity: int
    parts: tuple[PartNode, ...]
    bought: tuple[BoughtNode, ...] = ()
    steps: tuple[StepNode, ...] = ()
    """In an order in which they can be done."""


def order_tree(manifest: Manifest, quantity: int = 1, part: str | None = None) -> OrderTree:
    """The tree for `quantity` of the whole design, or of one part of it.

    A design of several parts that states no steps gets one: putting the kit together. Raises BadManifest for a
    quantity below 1, a manifest without parts, a part that is not there, and steps that need something unknown or
    each other.
    """
    if quantity < 1:
        raise BadManifest("Nothing to make", f"the quantity is {quantity}", "Ask for 1 or more.")
    if part is not None:
        chosen = manifest.part(part)
        return OrderTree(quantity, (PartNode(chosen, _count(quantity, chosen.name)),))
    if not manifest.parts:
        raise BadManifest(f"{manifest.name} cannot be ordered", "its manifest lists no parts")
    parts = tuple(PartNode(each, _count(quantity * each.quantity, each.name)) for each in manifest.parts)
    bought = tuple(BoughtNode(item, item.quantity * quantity) for item in manifest.bought)
    steps = _in_order(manifest)
    if not steps and len(parts) > 1:
        names = tuple(each.name for each in manifest.parts)
        steps = (ManifestStep("Put the kit together", StepKind.HUMAN, names, 5.0),)
    nodes = tuple(
        StepNode(step.name, step.kind, step.needs, step.minutes * quantity, step.skill, step.instructions)
        for step in steps
    )
    return OrderTree(quantity, parts, bought, nodes)


def _count(pieces: int, name: str) -> int:
    if pieces > MOST_PIECES:
        raise BadManifest("Too many", f"{pieces} pieces of {name} are asked for; at most {MOST_PIECES} in one order")
    return pieces


def _in_order(manifest: Manifest) -> tuple[ManifestStep, ...]:
    """Steps sorted so that each comes after what it needs, otherwise as written (Kahn's algorithm)."""
    ready = {part.name for part in manifest.parts} | {item.name for item in manifest.bought}
    names = {step.name for step in manifest.steps}
    if len(names) != len(manifest.steps) or names & ready:
        raise BadManifest(f"{manifest.name} cannot be ordered", "two of its parts, items and steps have the same name")
    for step in manifest.steps:
        unknown = [need for need in step.needs if need not in ready and need not in names]
        if unknown:
            raise BadManifest(
                f"{manifest.name} cannot be ordered", f"step {step.name!r} needs {unknown[0]!r}, which it does not list"
            )
    waiting, done = list(manifest.steps), []
    while waiting:
        following = next((step for step in waiting if ready.issuperset(step.needs)), None)
        if following is None:
            circle = ", ".join(step.name for step in waiting)
            raise BadManifest(f"{manifest.name} cannot be ordered", f"these steps wait for each other: {circle}")
        waiting.remove(following)
        ready.add(following.name)
        done.append(following)
    return tuple(done)


def read_bom(data: bytes) -> tuple[BoughtItem, ...]:
    """Items of a bill of materials in CSV (comma, semicolon or tab), as OKH's `bom` prefers it.

    Takes the columns named like name/item/part/description, quantity/qty/amount/count, unit, note/comment. Rows
    without a name are left out. Raises BadManifest when there is no name column or a quantity is not a number.
    """
    try:
        text = data[: 1 << 20].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadManifest("The bill of materials cannot be read", "it is not UTF-8 text") from error
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    rows = csv.DictReader(io.StringIO(text), delimiter=delimiter)
    columns = {_column(name): name for name in reversed(rows.fieldnames or []) if name and _column(name)}
    if "name" not in columns:
        raise BadManifest(
            "The bill of materials cannot be read", f"its first line {first[:80]!r} has no column for names"
        )
    items = []
    for number, row in enumerate(rows, start=2):
        name = (row.get(columns["name"]) or "").strip()
        if not name:
            continue
        amount = (row.get(columns.get("quantity", ""), "") or "1").strip() or "1"
        try:
            quantity = float(amount.replace(",", "."))
        except ValueError as error:
            raise BadManifest(
                "The bill of materials cannot be read", f"line {number} has the quantity {amount!r}"
            ) from error
        if not 0 <= quantity <= MOST_PIECES:
            raise BadManifest("The bill of materials cannot be read", f"line {number} has the quantity {amount!r}")
        unit = (row.get(columns.get("unit", ""), "") or "piece").strip()
        note = (row.get(columns.get("note", ""), "") or "").strip()
        items.append(BoughtItem(name, quantity, unit or "piece", note))
    return tuple(items)


_COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "name": ("name", "item", "part", "part name", "component", "description"),
    "quantity": ("quantity", "qty", "amount", "count", "pcs"),
    "unit": ("unit", "units"),
    "note": ("note", "notes", "comment", "comments"),
}


def _column(name: str) -> str:
    low = name.strip().lower()
    return next((key for key, words in _COLUMNS.items() if low in words), "")
