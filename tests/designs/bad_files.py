"""A zoo of bad files, each made here: what is wrong with it, its name, its bytes."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass

import ezdxf
import trimesh
from PIL import Image

from designs.meshes import write_stl
from tests.designs.drawing_zoo import dxf_square

BOX = trimesh.creation.box((10.0, 20.0, 30.0))
_SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="90mm" height="90mm">'
_CORE = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
_RELS = "http://schemas.openxmlformats.org/package/2006/relationships"
_MODEL_REL = "http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"


@dataclass(frozen=True, slots=True)
class BadFile:
    """One animal: the kind of harm, its file name (the ending decides how it is read), its bytes."""

    kind: str
    name: str
    data: bytes


def svg(body: str) -> bytes:
    return f'{_SVG}<path d="M0 0H60V60Z" stroke="#ff0000"/>{body}</svg>'.encode()


def stl_with(value: float, scale: float = 1.0) -> bytes:
    mesh = BOX.copy()
    mesh.apply_scale(scale)
    data = bytearray(write_stl(mesh))
    if value != 0.0:
        struct.pack_into("<f", data, 84 + 12, value)
    return bytes(data)


def model_xml(corner: str = "0") -> str:
    corners = ((corner, "0", "0"), ("10", "0", "0"), ("0", "10", "0"), ("0", "0", "10"))
    vertices = "".join(f'<vertex x="{x}" y="{y}" z="{z}"/>' for x, y, z in corners)
    faces = ((0, 2, 1), (0, 1, 3), (1, 2, 3), (0, 3, 2))
    triangles = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in faces)
    return (
        f'<?xml version="1.0"?><model unit="millimeter" xmlns="{_CORE}"><resources><object id="1" type="model"><mesh>'
        f"<vertices>{vertices}</vertices><triangles>{triangles}</triangles></mesh></object></resources>"
        '<build><item objectid="1"/></build></model>'
    )


def threemf(model: str, extra: dict[str, bytes] | None = None) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{_RELS}"><Relationship Target="/3D/3dmodel.model" Id="r" Type="{_MODEL_REL}"/>'
            "</Relationships>",
        )
        archive.writestr("3D/3dmodel.model", model)
        for name, data in (extra or {}).items():
            archive.writestr(name, data)
    return out.getvalue()


def declares(archive: bytes, size: int) -> bytes:
    """The same archive whose last member claims to unpack to `size` bytes."""
    data = bytearray(archive)
    at = data.rfind(b"PK\x01\x02")
    struct.pack_into("<I", data, at + 24, size)
    return bytes(data)


def use_bomb() -> bytes:
    groups = '<g id="a0"><path d="M0 0H9V9Z"/></g>'
    for k in range(1, 12):
        uses = f'<use xlink:href="#a{k - 1}"/>' * 10
        groups += f'<g id="a{k}">{uses}</g>'
    return svg(f'<defs>{groups}</defs><use xlink:href="#a11"/>')


def dxf_blocks(*, loop: bool) -> bytes:
    document = ezdxf.new()
    blocks = [document.blocks.new(f"B{k}") for k in range(9)]
    blocks[0].add_line((0, 0), (10, 0))
    for k in range(1, 9):
        for n in range(10):
            blocks[k].add_blockref(f"B{k - 1}", (n, k))
    if loop:
        blocks[0].add_blockref("B8", (0, 0))
    document.modelspace().add_blockref("B8", (0, 0))
    out = io.StringIO()
    document.write(out)
    return out.getvalue().encode()


def png(width: int = 8, height: int = 8) -> bytes:
    out = io.BytesIO()
    Image.new("L", (8, 8), 90).save(out, "PNG")
    data = bytearray(out.getvalue())
    struct.pack_into(">II", data, 16, width, height)
    struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    return bytes(data)


def bgcode_block(size: int) -> bytes:
    return struct.pack("<4sIH", b"GCDE", 1, 0) + struct.pack("<HHII", 1, 1, size, 4) + b"\0\0abcd"


ENTITIES = (
    b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
    b'<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><svg xmlns="http://www.w3.org/2000/svg"><text>&c;</text></svg>'
)
OUTSIDE = b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + svg("<text>&x;</text>")
_DXF = dxf_square()
_VIEW = b'<svg viewBox="0 0 90 90"'
_GOOD_3MF = threemf(model_xml())

ZOO = (
    BadFile("truncated", "cut.stl", write_stl(BOX)[:-20]),
    BadFile("truncated", "cut-text.stl", BOX.export(file_type="stl_ascii").encode()[:-60]),
    BadFile("truncated", "cut.3mf", _GOOD_3MF[:-40]),
    BadFile("truncated", "cut-model.3mf", threemf(model_xml()[:-80])),
    BadFile("truncated", "cut.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2"),
    BadFile("truncated", "cut.svg", svg("")[:-9]),
    BadFile("truncated", "cut.dxf", _DXF[: len(_DXF) * 2 // 3]),
    BadFile("truncated", "cut.png", png()[:-20]),
    BadFile("truncated", "cut.bgcode", bgcode_block(50)[:-2]),
    BadFile("truncated", "cut.gcode.3mf", threemf("")[:-40]),
    BadFile("wrong units", "metres.stl", stl_with(0.0, 0.001)),
    BadFile("wrong units", "micrometres.stl", stl_with(0.0, 1000.0)),
    BadFile("wrong units", "metres.svg", svg("").replace(b'"90mm"', b'"0.09mm"').replace(b"<svg", _VIEW)),
    BadFile("wrong units", "micrometres.dxf", dxf_square(4, 60_000.0)),
    BadFile("NaN", "nan.stl", stl_with(float("nan"))),
    BadFile("NaN", "infinite.stl", stl_with(float("inf"))),
    BadFile("NaN", "nan.obj", b"v nan 0 0\nv 9 0 0\nv 0 9 0\nv 0 0 9\nf 1 2 3\nf 1 2 4\nf 2 3 4\nf 1 3 4\n"),
    BadFile("NaN", "nan.3mf", threemf(model_xml("nan"))),
    BadFile("NaN", "nan.svg", f'{_SVG}<path d="MNaN NaN L1e400 5"/></svg>'.encode()),
    BadFile("NaN", "partly-nan.svg", svg('<path d="M0 0 L1e400 5 L9 9"/>')),
    BadFile("NaN", "nan.dxf", _DXF.replace(b"50.0", b"nan")),
    BadFile("zip bomb", "bomb.3mf", threemf(model_xml(), {"big.bin": bytes(60_000_000)})),
    BadFile("zip bomb", "bomb.gcode.3mf", threemf(model_xml(), {"Metadata/plate_1.gcode": bytes(60_000_000)})),
    BadFile("entity bomb", "entities.svg", ENTITIES),
    BadFile("entity bomb", "entities-utf16.svg", ENTITIES.decode().encode("utf-16")),
    BadFile("entity bomb", "outside.svg", OUTSIDE),
    BadFile("entity bomb", "uses.svg", use_bomb()),
    BadFile("entity bomb", "loop.svg", svg('<g id="a"><use href="#a"/></g>')),
    BadFile("entity bomb", "deep.svg", svg("<g>" * 5000 + "</g>" * 5000)),
    BadFile("entity bomb", "entities.3mf", threemf(ENTITIES.decode())),
    BadFile("recursion", "loop.dxf", dxf_blocks(loop=True)),
    BadFile("recursion", "blocks.dxf", dxf_blocks(loop=False)),
    BadFile("path traversal", "up.3mf", threemf(model_xml(), {"../../etc/cron.d/job": b"x"})),
    BadFile("path traversal", "root.3mf", threemf(model_xml(), {"/etc/passwd": b"x"})),
    BadFile("path traversal", "windows.3mf", threemf(model_xml(), {"..\\..\\boot.ini": b"x"})),
    BadFile("path traversal", "up.gcode.3mf", threemf(model_xml(), {"../plate_1.gcode": b"G28\n"})),
    BadFile("2 GB declared", "claims.stl", bytes(80) + struct.pack("<I", 42_949_672) + bytes(50)),
    BadFile("2 GB declared", "claims.3mf", declares(_GOOD_3MF, 2_000_000_000)),
    BadFile("2 GB declared", "claims.png", png(50_000, 40_000)),
    BadFile("2 GB declared", "claims.bgcode", bgcode_block(2_000_000_000)),
)
