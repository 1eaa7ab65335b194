"""Strangers' XML and archives: bombs, traversal, lies about size; and honest files still read."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from designs.safe_files import BadGeometry, SafeZip, check_size, parse_xml


def _zip(members: Iterable[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


BILLION_LAUGHS = (
    b'<!DOCTYPE svg [<!ENTITY a "ha">'
    + b"".join(f'<!ENTITY {chr(98 + i)} "{("&" + chr(97 + i) + ";") * 10}">'.encode() for i in range(9))
    + b"]><svg>&j;</svg>"
)


@pytest.mark.parametrize(
    "document",
    [
        BILLION_LAUGHS,
        b'<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>',
        b'<!DOCTYPE svg [<!ENTITY % x SYSTEM "http://127.0.0.1/x"> %x;]><svg/>',
        b'<!DOCTYPE svg [<!ENTITY q "' + b"q" * 5000 + b'">]><svg>' + b"&q;" * 10 + b"</svg>",
        b"<g>" * 5000 + b"</g>" * 5000,
        b"<svg><path",
        b"",
        b"\x00\xff\xfe not xml",
        b"<?xml version='1.0' encoding='no-such'?><svg/>",
    ],
    ids=["laughs", "external", "parameter", "quadratic", "deep", "truncated", "empty", "binary", "encoding"],
)
def test_hostile_xml_is_refused(document: bytes) -> None:
    with pytest.raises(BadGeometry):
        parse_xml(document, "evil.svg")


def test_honest_xml_reads_with_name_spaces_and_illustrators_entities() -> None:
    root = parse_xml(
        b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/x.dtd" '
        b'[<!ENTITY ns_svg "http://www.w3.org/2000/svg">]><svg xmlns="&ns_svg;" a="1"><g>t</g></svg>',
        "plain.svg",
    )
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.attrib == {"a": "1"}
    assert root[0].text == "t"


@given(st.binary(max_size=300))
def test_any_bytes_give_a_tree_or_a_sentence(data: bytes) -> None:
    try:
        said = parse_xml(data, "x.svg").tag
    except BadGeometry as refused:
        said = str(refused)
    assert said


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../../b", "..\\b", "C:/b"])
def test_paths_that_leave_the_archive_are_refused(name: str) -> None:
    with pytest.raises(BadGeometry, match="outside the archive"):
        SafeZip(_zip([(name, b"x")]), "x.3mf")


def test_a_zip_bomb_is_refused_before_it_is_unpacked() -> None:
    with pytest.raises(BadGeometry, match="zip bomb"):
        SafeZip(_zip([("3D/3dmodel.model", b"\0" * 60_000_000)]), "bomb.3mf")


def test_a_member_larger_than_declared_is_refused() -> None:
    data = bytearray(_zip([("a", b"\0" * 100_000)]))
    central = data.rfind(b"PK\x01\x02")
    struct.pack_into("<I", data, central + 24, 10)  # the central directory claims 10 bytes
    with pytest.raises(BadGeometry):
        SafeZip(bytes(data), "liar.3mf").read("a")


def test_two_gigabytes_declared_are_refused() -> None:
    data = bytearray(_zip([("a", b"hello")]))
    struct.pack_into("<I", data, data.rfind(b"PK\x01\x02") + 24, 2_000_000_000)
    with pytest.raises(BadGeometry, match="claims to unpack"):
        SafeZip(bytes(data), "huge.3mf")


def test_a_truncated_archive_says_so() -> None:
    with pytest.raises(BadGeometry, match="zip archive"):
        SafeZip(_zip([("a", b"hello" * 100)])[:-30], "cut.3mf")


def test_an_honest_archive_reads() -> None:
    archive = SafeZip(_zip([("d/a.txt", b"hello"), ("b", b"")]), "ok.zip")
    assert archive.names == ("d/a.txt", "b")
    assert archive.read("d/a.txt") == b"hello"
    with pytest.raises(BadGeometry, match="not in the archive"):
        archive.read("c")


@given(st.binary(max_size=200))
def test_any_bytes_are_an_archive_or_a_sentence(data: bytes) -> None:
    try:
        read = [SafeZip(b"PK\x03\x04" + data, "x.3mf").read(name) for name in ()]
    except BadGeometry as refused:
        assert_said = str(refused)
    else:
        assert_said = f"x.3mf {read}"
    assert "x.3mf" in assert_said


def test_sizes() -> None:
    with pytest.raises(BadGeometry, match="empty"):
        check_size(b"", "a.stl")
    with pytest.raises(BadGeometry, match="too large"):
        check_size(b"12345", "a.stl", limit_bytes=4)
