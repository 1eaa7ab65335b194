"""Bills of materials become order trees; content addresses hold; forks show where they came from."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from designs.okh import (
    BadManifest,
    Manifest,
    ManifestPart,
    ManifestStep,
    StepKind,
    design_address,
    fork,
    label,
    lineage,
    order_tree,
    read_bom,
    read_manifest,
    verify_design,
    write_manifest,
)
from designs.okh.manifest import BoughtItem

STOOL = Manifest(
    name="Stool",
    version="1",
    licence="CERN-OHL-S-2.0",
    licensor="A",
    function="to sit on",
    parts=(ManifestPart("seat", None), ManifestPart("joint", None, quantity=3)),
    bought=(BoughtItem("leg", 3),),
    steps=(
        ManifestStep("fit legs", StepKind.ASSEMBLY, ("sand seat", "joint", "leg"), 6),
        ManifestStep("sand seat", StepKind.HUMAN, ("seat",), 10),
    ),
)


def test_quantities_and_minutes_grow_with_the_order_and_steps_come_after_their_needs() -> None:
    tree = order_tree(STOOL, 2)
    assert [(node.part.name, node.quantity) for node in tree.parts] == [("seat", 2), ("joint", 6)]
    assert [(node.item.name, node.quantity) for node in tree.bought] == [("leg", 6)]
    assert [(step.name, step.minutes) for step in tree.steps] == [("sand seat", 20), ("fit legs", 12)]


def test_several_parts_without_steps_are_put_together_as_a_kit() -> None:
    assert [step.needs for step in order_tree(replace(STOOL, steps=())).steps] == [("seat", "joint")]


@pytest.mark.parametrize(
    ("manifest", "quantity", "says"),
    [
        (STOOL, 0, "1 or more"),
        (STOOL, 100_000, "at most"),
        (replace(STOOL, parts=()), 1, "no parts"),
        (replace(STOOL, steps=(ManifestStep("x", needs=("glue",)),)), 1, "glue"),
        (replace(STOOL, steps=(ManifestStep("x", needs=("y",)), ManifestStep("y", needs=("x",)))), 1, "wait for each"),
        (replace(STOOL, steps=(ManifestStep("seat"),)), 1, "same name"),
    ],
)
def test_trees_that_cannot_be(manifest: Manifest, quantity: int, says: str) -> None:
    with pytest.raises(BadManifest, match=says):
        order_tree(manifest, quantity)


def test_an_unknown_part_is_named_with_the_known_ones() -> None:
    with pytest.raises(BadManifest, match="seat, joint"):
        order_tree(STOOL, 1, part="lid")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_bills_of_materials_in_csv(delimiter: str) -> None:
    rows = [["Item", "Qty", "Comment"], ["M4 screw", "8", "25 long"], ["", "1", ""], ["glue", "", ""]]
    items = read_bom("\n".join(delimiter.join(row) for row in rows).encode())
    assert items == (BoughtItem("M4 screw", 8.0, "piece", "25 long"), BoughtItem("glue", 1.0))


@pytest.mark.parametrize("text", ["foo,bar\n1,2", "name,qty\nscrew,many", "name,qty\nscrew,-1", "name,qty\nscrew,nan"])
def test_bad_bills_are_refused(text: str) -> None:
    with pytest.raises(BadManifest):
        read_bom(text.encode())


FILES = {"okh.toml": b"name", "a.stl": b"solid", "b/c.svg": b"<svg/>"}


def test_the_address_does_not_depend_on_order_and_holds_every_byte() -> None:
    address = design_address(FILES)
    assert design_address(dict(reversed(FILES.items()))) == address
    verify_design(address, FILES)


@given(st.sampled_from(sorted(FILES)), st.integers(0, 3), st.integers(1, 255))
def test_one_corrupt_byte_is_refused(name: str, at: int, flip: int) -> None:
    damaged = bytearray(FILES[name])
    damaged[at] ^= flip
    with pytest.raises(BadManifest, match="changed or damaged"):
        verify_design(design_address(FILES), FILES | {name: bytes(damaged)})


def test_a_chain_of_five_forks_shows_lineage_and_licences() -> None:
    known: dict[str, Manifest] = {}
    manifest = replace(STOOL, name="Stool 0")
    for generation in range(1, 6):
        address = design_address({"okh.toml": write_manifest(manifest)})
        known[address] = read_manifest(write_manifest(manifest))
        manifest = fork(known[address], address, name=f"Stool {generation}", version="1", licensor=f"P{generation}")
    chain = lineage(manifest, known.get)
    assert [(each.generation, each.name, each.licence) for each in chain] == [
        (n, f"Stool {5 - n}", "CERN-OHL-S-2.0") for n in range(1, 6)
    ]
    assert label(manifest, chain).startswith(
        "Stool 5 1, P5, CERN-OHL-S-2.0; made from Stool 4 (CERN-OHL-S-2.0), Stool 3"
    )


def test_an_ancestor_nobody_has_is_still_named() -> None:
    child = fork(STOOL, "ab" * 32, name="Bench", version="1", licensor="B")
    assert [(each.name, each.licence) for each in lineage(child, lambda _: None)] == [("Stool", "CERN-OHL-S-2.0")]


def test_paths_outside_the_design_have_no_address() -> None:
    with pytest.raises(BadManifest):
        design_address({"../x": b""})
