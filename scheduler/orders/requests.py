"""Orders in: a request becomes parts, steps and jobs, all at once or not at all."""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from agents.contract.messages import MachineDescription, MachineReport
from agents.contract.vocabulary import NeedClass, Ring
from designs.okh import BadManifest, OrderTree, PartNode, order_tree, read_manifest
from designs.processes.materials import canonical, density_g_cm3
from designs.processes.model import GeometryKind, ProcessKind
from designs.processes.profiles import known_materials
from scheduler.orders.contents import MOST_PIECES as MOST_TOGETHER
from scheduler.orders.contents import new_job
from scheduler.orders.progress import OrderState
from scheduler.orders.recipes import JobBody, PieceSpec, fits
from scheduler.orders.refusal import Refused
from scheduler.store import Blobs, queries
from scheduler.store import tables as t
from scheduler.store.record import record
from scheduler.store.rows import OrderRow

MOST_PIECES: Final = 1_000
_GAP_MM: Final = 8.0


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """What somebody asks for. Validated here, whoever sends it."""

    design: str
    quantity: int
    part: str | None = None
    need_class: NeedClass = NeedClass.PERSONAL
    ring: Ring = Ring.FEDERATION
    due: datetime | None = None
    material: str | None = None
    colour: str = ""
    thickness_mm: float | None = None
    requester: str = ""
    delivery: str = ""
    note: str = ""
    accept: bool = False
    """Say yes at once, whatever date comes of it."""
    quote: bool = False
    """Say by when it would be made, before the yes."""
    own_use: bool = False
    shop: str | None = None
    """Own use of a closed design: the shop whose machines may make it."""

    @property
    def sha256(self) -> str:
        """What an idempotency key is bound to."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()


@dataclass(frozen=True, slots=True)
class _PlannedJob:
    part: str
    pieces: int
    process: str
    body: JobBody


def place_order(
    c: sa.Connection, blobs: Blobs, request: OrderRequest, now: datetime, *, idempotency_key: str | None = None
) -> tuple[OrderRow, bool]:
    """Create the order with its jobs. Returns it, and whether it is new (False: the key made it before).

    Raises Refused with nothing written: the caller's transaction holds nothing half-created.
    """
    if idempotency_key is not None:
        known = queries.order_by_key(c, idempotency_key)
        if known is not None:
            if known.request_sha256 != request.sha256:
                why = "another order was placed under the same key"
                raise Refused("key_reused", "The order was refused", why, "Use a fresh Idempotency-Key.", status=409)
            return known, False
    design, tree = _design_and_tree(c, blobs, request)
    files = {row["name"]: row for row in _design_files(c, request.design)}
    machines = _machines(c)
    jobs = [job for node in tree.parts for job in _jobs_of(node, request, design, files, machines)]
    order_id = f"o{secrets.token_hex(5)}"
    _write_order(c, order_id, request, design, now, idempotency_key)
    _write_tree(c, order_id, tree, jobs)
    _write_jobs(c, order_id, jobs, now)
    created = queries.order(c, order_id)
    if created is None:
        raise LookupError(f"order {order_id} vanished while it was created")
    return created, True


def _design_and_tree(c: sa.Connection, blobs: Blobs, request: OrderRequest) -> tuple[dict[str, Any], OrderTree]:
    if not 1 <= request.quantity <= MOST_PIECES:
        why = f"the quantity is {request.quantity}"
        raise Refused("bad_quantity", "The order was refused", why, f"Ask for 1 to {MOST_PIECES}.")
    row = c.execute(sa.select(t.designs).where(t.designs.c.id == request.design)).mappings().first()
    if row is None:
        why = f"no design {request.design[:64]} is kept here"
        raise Refused("unknown_design", "The order was refused", why, "Send the design first.", status=404)
    design = dict(row)
    if not design["licence_open"] and not request.own_use:
        why = f"the licence of the design is not open: {design['licence_why']}".rstrip(".")
        hint = "Order it for your own use in your own shop (own_use and shop), or choose an open design."
        raise Refused("closed_licence", "The order was refused", why, hint, status=403)
    if request.own_use and not request.shop:
        hint = "Name the shop whose machines may make it."
        raise Refused("own_use_needs_shop", "The order was refused", "own use means your own machines", hint)
    try:
        manifest = read_manifest(blobs.get(design["manifest_sha256"]))
        return design, order_tree(manifest, request.quantity, request.part)
    except BadManifest as error:
        raise Refused("bad_order", "The order was refused", str(error).rstrip(".")) from error


def _jobs_of(
    node: PartNode,
    request: OrderRequest,
    design: dict[str, Any],
    files: dict[str, dict[str, Any]],
    machines: Sequence[MachineDescription],
) -> list[_PlannedJob]:
    part = node.part
    if part.process is None:
        why = f"the manifest does not say how {part.name} is made"
        raise Refused("unknown_process", "The order was refused", why, "Add tsdc (3DP, LAS, CNC) to the part.")
    material = request.material or part.material
    colour = request.colour or part.colour
    thickness = request.thickness_mm if request.thickness_mm is not None else part.thickness_mm
    _check_material(part.name, material, part.process.value, machines)
    exported = [files[name] for name in part.exports if name in files]
    if not exported:
        why = f"{part.name} has no file that a machine can be fed from"
        raise Refused("nothing_to_make", "The order was refused", why, "Export it as STL, 3MF, SVG or DXF.")
    file = exported[0]
    dims = file["report"].get("dims_mm")
    process = part.process.value
    _check_size(part.name, dims, process, machines)
    per_plate = min(MOST_TOGETHER.get(process, 1), _on_one_plate(dims, process, machines))
    counts = _spread(node.quantity, per_plate)
    spec = PieceSpec(file["name"], GeometryKind(file["kind"]), file["sha256"], depth_mm=part.depth_mm)
    body = JobBody(
        title=part.name if part.name == design["name"] else f"{design['name']}: {part.name}",
        pieces=(spec,),
        material=material or "",
        colour=colour,
        thickness_mm=thickness,
        dims_mm=None if dims is None else (dims[0], dims[1], dims[2]),
        licence=design["licence"],
        own_shop=request.shop if request.own_use else None,
        outline_mm=tuple((float(x), float(y)) for x, y in file["report"].get("outline_mm", ())) or None,
        piece_s=file["report"].get("piece_s"),
    )
    return [_PlannedJob(part.name, count, process, body) for count in counts]


def _check_material(part: str, material: str | None, process: str, machines: Sequence[MachineDescription]) -> None:
    loaded = sorted({material.material for machine in machines for material in machine.materials})
    hint = "Loaded now: " + ", ".join(loaded) if loaded else "Name a material such as PLA, plywood or MDF."
    if not material:
        raise Refused("no_material", "The order was refused", f"nothing says what {part} is made from", hint)
    if process == ProcessKind.FDM:
        known = {canonical(name) for name in known_materials()}
    else:
        known = {canonical(material)} if density_g_cm3(material) is not None else set()
    if canonical(material) not in known | {canonical(name) for name in loaded}:
        raise Refused("unknown_material", "The order was refused", f"nobody here knows the material {material!r}", hint)


def _check_size(part: str, dims: Sequence[float] | None, process: str, machines: Sequence[MachineDescription]) -> None:
    same = [machine for machine in machines if machine.process.value == process]
    if not same or any(fits(dims, machine.envelope_mm, process) for machine in same):
        return
    largest = max(same, key=lambda machine: math.prod(machine.envelope_mm[:2]))
    size = " x ".join(f"{value:.0f}" for value in dims or ())
    room = " x ".join(f"{value:.0f}" for value in largest.envelope_mm)
    why = f"{part} is {size} mm and the largest {process} machine works in {room} mm"
    raise Refused("too_large", "The order was refused", why, "Split the part, scale it, or choose another process.")


def _on_one_plate(dims: Sequence[float] | None, process: str, machines: Sequence[MachineDescription]) -> int:
    """Pieces in a plain grid on the smallest machine that takes one; 1 where nothing is known."""
    fitting = [m for m in machines if m.process.value == process and fits(dims, m.envelope_mm, process)]
    if dims is None or not fitting:
        return 1
    x, y = (max(1.0, side) + _GAP_MM for side in dims[:2])
    grids = []
    for machine in fitting:
        width, depth = (side + _GAP_MM for side in _usable(machine))
        grids.append(max(int(width // x) * int(depth // y), int(width // y) * int(depth // x)))
    return max(1, min(grids))


def _usable(machine: MachineDescription) -> tuple[float, float]:
    """The machine's bed, or the sheet on it where that is smaller."""
    width, depth, _ = machine.envelope_mm
    for loaded in machine.materials:
        width = min(width, loaded.width_mm or width)
        depth = min(depth, loaded.height_mm or depth)
    return width, depth


def _spread(quantity: int, per_plate: int) -> list[int]:
    """As few plates as needed, evenly filled."""
    plates = math.ceil(quantity / per_plate)
    return [quantity // plates + (1 if index < quantity % plates else 0) for index in range(plates)]


def _machines(c: sa.Connection) -> list[MachineDescription]:
    return [msgspec.convert(row.report, MachineReport).description for row in queries.machines(c)]


def _design_files(c: sa.Connection, design: str) -> list[dict[str, Any]]:
    return [
        dict(row) for row in c.execute(sa.select(t.design_files).where(t.design_files.c.design == design)).mappings()
    ]


def _write_order(
    c: sa.Connection,
    order_id: str,
    request: OrderRequest,
    design: dict[str, Any],
    now: datetime,
    idempotency_key: str | None,
) -> None:
    state = OrderState.ACCEPTED if request.accept else OrderState.REQUESTED
    c.execute(
        sa.insert(t.orders).values(
            id=order_id,
            design=request.design,
            title=design["name"] if request.part is None else f"{design['name']}: {request.part}",
            state=state.value,
            quantity=request.quantity,
            need_class=request.need_class.value,
            ring=request.ring.value,
            own_use=request.own_use,
            requester=request.requester,
            delivery=request.delivery,
            note=request.note,
            due=request.due,
            created_at=now,
            accepted_at=now if request.accept else None,
            quote_asked_at=now if request.quote and not request.accept else None,
            idempotency_key=idempotency_key,
            request_sha256=request.sha256,
        )
    )
    record(c, f"order_{state.value}", now, order=order_id, to_state=state.value)


def _write_tree(c: sa.Connection, order_id: str, tree: OrderTree, jobs: Sequence[_PlannedJob]) -> None:
    processes = {job.part: job.process for job in jobs}
    for node in tree.parts:
        body = {"material": node.part.material, "exports": list(node.part.exports)}
        values = {"part": node.part.name, "quantity": node.quantity, "process": processes[node.part.name], "body": body}
        c.execute(sa.insert(t.order_parts).values(order=order_id, **values))
    made = {node.part.name for node in tree.parts} | {step.name for step in tree.steps}
    for position, step in enumerate(tree.steps):
        bought = [need for need in step.needs if need not in made]
        lines = [step.instructions or step.name, *(f"Needs from stock: {name}." for name in bought)]
        c.execute(
            sa.insert(t.order_steps).values(
                order=order_id,
                step=step.name,
                position=position,
                instruction=" ".join(lines),
                needs=[need for need in step.needs if need in made],
                done_by="",
            )
        )


def _write_jobs(c: sa.Connection, order_id: str, jobs: Sequence[_PlannedJob], now: datetime) -> None:
    for number, job in enumerate(jobs, start=1):
        new_job(
            c,
            job_id=f"{order_id}-{number}",
            order=order_id,
            part=job.part,
            pieces=job.pieces,
            process=job.process,
            body=msgspec.to_builtins(job.body),
            now=now,
        )
