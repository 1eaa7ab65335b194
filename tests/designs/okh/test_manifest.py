"""Manifests in and out: both spellings, the traps, the refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from designs.okh import BadManifest, Manifest, ManifestPart, order_tree, read_manifest, write_manifest
from designs.okh.manifest import BoughtItem, ManifestStep, Parent, StepKind
from designs.processes.model import ProcessKind

MINIMAL = """
okhv = "{okhv}"
name = "Hook"
repo = "https://example.org/hook"
version = "1.10"
license = "CERN-OHL-S-2.0"
licensor = "A. Maker"
function = "Holds a coat"
{more}
"""


def minimal(more: str = "", okhv: str = "2.4") -> str:
    return MINIMAL.format(more=more, okhv=okhv)


@pytest.mark.parametrize("okhv", ["2.4", "OKH-LOSHv1.0", "2.3"])
def test_both_spellings_of_the_version_are_read_without_a_note(okhv: str) -> None:
    assert read_manifest(minimal(okhv=okhv)).notes == ()


def test_an_unknown_version_is_read_and_said() -> None:
    assert "does not know" in read_manifest(minimal(okhv="9")).notes[0]


def test_tsdc_as_string_and_as_list_mean_the_same() -> None:
    as_string = read_manifest(minimal('[[part]]\nname = "a"\ntsdc = "LAS"\nexport = "a.svg"'))
    as_list = read_manifest(minimal('[[part]]\nname = "a"\ntsdc = ["LAS"]\nexport = ["a.svg"]'))
    assert as_string.parts == as_list.parts
    assert as_list.parts[0].process is ProcessKind.LASER
    assert "one string" in as_string.notes[0]


@pytest.mark.parametrize(
    ("fields", "process"),
    [
        ('tsdc = ["3DP"]\nprinting-process = "FDM"', ProcessKind.FDM),
        ('tsdc = ["3DP"]', ProcessKind.FDM),
        ('tsdc = ["3DP"]\nprinting-process = "SLS"', None),
        ('tsdc = ["CNC"]', ProcessKind.CNC),
        ('tsdc = ["ASM"]', ProcessKind.MANUAL),
        ('tsdc = ["WEL"]', None),
        ('tsdc = ["LAS", "CNC"]', None),
        ("", None),
    ],
)
def test_processes_are_read_and_never_guessed(fields: str, process: ProcessKind | None) -> None:
    assert read_manifest(minimal(f'[[part]]\nname = "a"\n{fields}')).parts[0].process is process


def test_yaml_keeps_versions_as_they_are_written() -> None:
    manifest = read_manifest(
        "okhv: 2.4\nname: Hook\nversion: 1.10\nlicense: MIT\nlicensor: [{name: A. Maker}]\nfunction: holds\n"
        "part:\n  - name: a\n    tsdc: [3DP]\n    export: [a.stl]\n    mass: 12.5\n"
    )
    assert (manifest.version, manifest.okhv, manifest.licensor) == ("1.10", "2.4", "A. Maker")
    assert manifest.parts[0].mass_g == 12.5


def test_snake_case_and_older_words_are_read() -> None:
    manifest = read_manifest(
        'name="a"\nversion="1"\nspdx_license="MIT"\norganisation="Lab"\nfunction="f"\ndocumentation_language="nl"'
    )
    assert (manifest.licence, manifest.licensor, manifest.documentation_language) == ("MIT", "Lab", "nl")


def test_okh_v1_yaml_is_read_with_its_limits_said() -> None:
    manifest = read_manifest(
        "okh-manifest-version: 1.0.0\ntitle: Pump\nlicensor: {name: B}\nlicense: {hardware: CERN-OHL-1.2}\n"
        "intended-use: moves water\ndesign-files: [{path: body.stl, title: Body}, {path: readme.md}]\n"
    )
    assert (manifest.name, manifest.licence, manifest.function) == ("Pump", "CERN-OHL-1.2", "moves water")
    assert [(part.name, part.process) for part in manifest.parts] == [("body", None)]
    assert "not parts" in manifest.notes[0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("just words", "no named fields"),
        ("{a: *b}", "neither TOML"),
        ("a: &x [1]\nb: *x\n", "aliases"),
        ('name = "x"', "'version'"),
        (minimal('[[part]]\nname="a"\nexport="../../etc/passwd"'), "outside the design"),
        (minimal('[[part]]\nname="a"\nexport="/etc/passwd"'), "outside the design"),
        (minimal('[[part]]\nname="a"\nx-quantity=0'), "1 or more"),
        (minimal('[[part]]\nname="a"\nx-quantity="many"'), "not a number"),
        (minimal('[[part]]\nname="a"\nmass=nan'), "not a number|0 or more"),
        (minimal('[[part]]\nname="a"\n[[part]]\nname="a"'), "same name"),
        (minimal('[[part]]\ntsdc="LAS"'), "part.name"),
        (minimal('[[x-step]]\nname="s"\nkind="robot"'), "not assembly or human"),
        (minimal('[[x-parent]]\ndesign="nonsense"'), "content address"),
    ],
)
def test_refusals_are_sentences(text: str, says: str) -> None:
    with pytest.raises(BadManifest, match=says):
        read_manifest(text)


def test_bytes_that_are_not_text_and_huge_manifests_are_refused() -> None:
    with pytest.raises(BadManifest, match="UTF-8"):
        read_manifest(b"\xff\xfe\x00")
    with pytest.raises(BadManifest, match="larger"):
        read_manifest(b"#" * (2 << 20))


def test_a_path_is_read(tmp_path: Path) -> None:
    (tmp_path / "okh.toml").write_text(minimal())
    assert read_manifest(tmp_path / "okh.toml").name == "Hook"


@given(st.text(max_size=200))
def test_any_text_is_a_manifest_or_a_sentence(text: str) -> None:
    try:
        said = read_manifest(text).name
    except BadManifest as refused:
        said = str(refused)
    assert said


_words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12).map(
    lambda word: "w" + word.strip()
)
_numbers = st.integers(1, 5000).map(lambda hundredths: hundredths / 4)
_parts = st.builds(
    ManifestPart,
    name=_words,
    process=st.just(ProcessKind.LASER),
    tsdc=st.just(("LAS",)),
    exports=st.lists(_words.map(lambda word: word.replace("/", "").replace("\\", "") + ".svg"), max_size=2).map(tuple),
    material=st.none() | _words,
    quantity=st.integers(1, 50),
    thickness_mm=st.none() | _numbers,
    depth_mm=st.none() | _numbers,
    mass_g=st.none() | _numbers,
    dimensions_mm=st.none() | st.tuples(_numbers, _numbers, _numbers),
)
_manifests = st.builds(
    Manifest,
    name=_words,
    version=_words,
    licence=st.none() | st.just("MIT OR CC0-1.0"),
    licensor=_words,
    function=_words,
    repo=st.just("") | _words,
    parts=st.lists(_parts, max_size=3, unique_by=lambda part: part.name).map(tuple),
    bought=st.lists(st.builds(BoughtItem, _words, _numbers, _words, _words), max_size=2).map(tuple),
    steps=st.lists(
        st.builds(ManifestStep, _words, st.sampled_from(StepKind), st.just(()), _numbers, _words, _words), max_size=2
    ).map(tuple),
    parents=st.lists(st.builds(Parent, st.just("ab" * 32), _words, st.just("MIT")), max_size=1).map(tuple),
    fork_of=st.just("") | _words,
    instructions=st.just(()) | st.just(("a.md",)),
)


@given(_manifests)
def test_what_is_written_reads_back_the_same(manifest: Manifest) -> None:
    again = replace(read_manifest(write_manifest(manifest)), notes=())
    assert again == manifest
    assert write_manifest(again) == write_manifest(manifest)


def test_an_order_of_one_part_has_no_steps() -> None:
    tree = order_tree(read_manifest(minimal('[[part]]\nname="a"\nx-quantity=2\n[[part]]\nname="b"')), 3, part="a")
    assert [(node.part.name, node.quantity) for node in tree.parts] == [("a", 3)]
    assert tree.steps == ()
