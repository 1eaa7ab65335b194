"""Snapshots and plans as JSON files: `workshed plan FILE` reads one and writes the other.

Times are ISO 8601 with a zone. Unknown fields are refused, so that a misspelt one is not silently ignored.
"""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import msgspec

from scheduler.planning import snapshot as types
from scheduler.planning.snapshot import Plan, Snapshot

T = TypeVar("T")


class BadPlanFile(ValueError):
    """The file is not a snapshot or plan; the sentence says where."""


def dump(value: Snapshot | Plan) -> str:
    """The value as JSON, one line a record."""
    return msgspec.json.format(msgspec.json.encode(value), indent=1).decode()


def load_snapshot(text: str | bytes) -> Snapshot:
    """A snapshot from JSON.

    Raises:
        BadPlanFile: not JSON, or a field is missing, misspelt or of the wrong kind.
    """
    return _load(text, Snapshot)


def load_plan(text: str | bytes) -> Plan:
    """A plan from JSON; raises as `load_snapshot`."""
    return _load(text, Plan)


def load_decision(text: str | bytes) -> tuple[Snapshot, Plan]:
    """A snapshot and the plan made on it, from one JSON object with both; raises as `load_snapshot`."""
    try:
        raw = json.loads(text)
    except json.JSONDecodeError as wrong:
        raise BadPlanFile(f"the file is no JSON: {wrong}") from wrong
    if not isinstance(raw, dict) or not {"snapshot", "plan"} <= set(raw):
        raise BadPlanFile("a kept decision is an object with a snapshot and a plan")
    return load_snapshot(json.dumps(raw["snapshot"])), load_plan(json.dumps(raw["plan"]))


def _load(text: str | bytes, kind: type[T]) -> T:
    try:
        raw = json.loads(text)
        _known_fields(raw, kind.__name__)
        return msgspec.convert(raw, kind)
    except (json.JSONDecodeError, msgspec.ValidationError) as wrong:
        raise BadPlanFile(f"the file is not a {kind.__name__.lower()}: {wrong}") from wrong


#: Which type the records of a field have, for the check of names.
_RECORDS = {
    "machines": {"Snapshot": "PlanMachine", "Waiting": "Shut"},
    "jobs": {"Snapshot": "PlanJob"},
    "policy": {"Snapshot": "PlanPolicy"},
    "crews": {"Snapshot": "Crew"},
    "carbon": {"Snapshot": "Carbon"},
    "options": {"PlanJob": "DurationOption"},
    "placements": {"Plan": "Placement"},
    "waiting": {"Plan": "Waiting"},
}


def _known_fields(raw: Any, kind: str) -> None:
    known = getattr(types, kind)
    assert is_dataclass(known), "only records are checked"
    if not isinstance(raw, dict):
        raise BadPlanFile(f"a {kind} is an object, and the file has {type(raw).__name__}")
    names = {field.name for field in fields(known)}
    for name, value in raw.items():
        if name not in names:
            raise BadPlanFile(f"a {kind} has no field {name!r}; it has {', '.join(sorted(names))}")
        inner = _RECORDS.get(name, {}).get(kind)
        if inner is not None:
            for one in value if isinstance(value, list) else [value]:
                _known_fields(one, inner)


__all__ = ["BadPlanFile", "dump", "load_decision", "load_plan", "load_snapshot"]
