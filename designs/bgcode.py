"""Prusa's binary G-code container (.bgcode), unpacked: metadata, thumbnails, and the program as text.

libbgcode `doc/specifications.md`: file header `GCDE`, version, checksum type; blocks of type, compression, sizes,
parameters, data, CRC-32. Compression: none, deflate, heatshrink (window 11 or 12, lookahead 4). G-code encoding: none
or MeatPack (github.com/scottmudge/OctoPrint-MeatPack), with or without comments.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from designs.safe_files import ARCHIVE_LIMIT_BYTES, BadGeometry

MAGIC: Final = b"GCDE"
_FILE_METADATA, _GCODE, _SLICER, _PRINTER, _PRINT, _THUMBNAIL = range(6)
_FORMATS: Final = {0: "png", 1: "jpg", 2: "qoi"}
_HEATSHRINK: Final = {2: 11, 3: 12}
_LOOKAHEAD_BITS: Final = 4
_NIBBLES: Final = "0123456789. \nGX"
_NEWLINE: Final = _NIBBLES.index("\n")


@dataclass(frozen=True)
class PackedThumbnail:
    """A picture in the file."""

    width: int
    height: int
    format: str
    data: bytes


@dataclass(frozen=True)
class BinaryGcode:
    """An unpacked file: all metadata blocks joined (print and printer before slicer), pictures, program."""

    metadata: dict[str, str]
    thumbnails: tuple[PackedThumbnail, ...]
    gcode: bytes


@dataclass(frozen=True, slots=True)
class _Block:
    kind: int
    parameters: bytes
    data: bytes


def is_bgcode(data: bytes) -> bool:
    """Whether the bytes begin like a .bgcode file."""
    return data.startswith(MAGIC)


def read_bgcode(data: bytes, name: str) -> BinaryGcode:
    """Unpack a file. Raises BadGeometry when it is cut short, damaged (CRC), or of a version or kind not known."""
    metadata: dict[str, str] = {}
    thumbnails: list[PackedThumbnail] = []
    program: list[bytes] = []
    total = 0
    try:
        for block in _blocks(data, name):
            total += len(block.data)
            if total > ARCHIVE_LIMIT_BYTES:
                raise BadGeometry(f"{name} was refused", "unpacked it would be too large")
            if block.kind == _THUMBNAIL:
                code, width, height = struct.unpack("<HHH", block.parameters)
                thumbnails.append(PackedThumbnail(width, height, _FORMATS.get(code, "unknown"), block.data))
            elif block.kind == _GCODE:
                program.append(_decoded(block, name))
            elif block.kind in {_FILE_METADATA, _SLICER, _PRINTER, _PRINT}:
                for line in block.data.decode("utf-8", "replace").splitlines():
                    key, equals, value = line.partition("=")
                    if equals:
                        metadata.setdefault(key.strip(), value.strip())
    except (struct.error, zlib.error, IndexError) as error:
        raise BadGeometry(
            f"{name} cannot be read", f"it is damaged or cut short ({error})", "Export it again."
        ) from error
    if not program:
        raise BadGeometry(f"{name} holds no program", "it has no G-code block", "Slice it again.")
    return BinaryGcode(metadata, tuple(thumbnails), b"".join(program))


def _blocks(data: bytes, name: str) -> Iterator[_Block]:
    magic, version, checksum = struct.unpack_from("<4sIH", data)
    if magic != MAGIC or version != 1 or checksum not in {0, 1}:
        raise BadGeometry(f"{name} cannot be read", f"it is binary G-code of version {version}, and 1 is known")
    at = 10
    while at < len(data):
        start = at
        kind, compression, size = struct.unpack_from("<HHI", data, at)
        at += 8
        stored = size
        if compression:
            (stored,) = struct.unpack_from("<I", data, at)
            at += 4
        if size > ARCHIVE_LIMIT_BYTES:
            raise BadGeometry(f"{name} was refused", f"a block claims to unpack to {size} bytes", "Slice it again.")
        width = 6 if kind == _THUMBNAIL else 2
        parameters = data[at : at + width]
        at += width
        body = data[at : at + stored]
        at += stored
        if len(body) < stored:
            raise BadGeometry(f"{name} is cut short", "a block ends before its data", "Upload it again.")
        if checksum == 1:
            (wanted,) = struct.unpack_from("<I", data, at)
            if zlib.crc32(data[start:at]) != wanted:
                raise BadGeometry(f"{name} is damaged", "a checksum does not match", "Upload it again.")
            at += 4
        yield _Block(kind, parameters, _unpacked(body, compression, size, name))


def _unpacked(body: bytes, compression: int, size: int, name: str) -> bytes:
    if compression == 0:
        return body
    if compression == 1:
        inflater = zlib.decompressobj()
        found = inflater.decompress(body, size + 1)
    elif compression in _HEATSHRINK:
        found = heatshrink(body, _HEATSHRINK[compression], size)
    else:
        raise BadGeometry(f"{name} cannot be read", f"it uses compression {compression}, which is not known")
    if len(found) != size:
        raise BadGeometry(f"{name} is damaged", "a block does not unpack to the size it states")
    return found


def heatshrink(data: bytes, window_bits: int, size: int) -> bytes:
    """Decompress heatshrink (github.com/atomicobject/heatshrink): bits, most significant first; 1 + a byte, or
    0 + distance − 1 (window bits) + length − 1 (4 bits). Stops at `size` bytes."""
    out = bytearray()
    bits = count = at = 0
    while len(out) < size:
        while count < 1 + window_bits + _LOOKAHEAD_BITS and at < len(data):
            bits, count, at = (bits << 8) | data[at], count + 8, at + 1
        if count < 9:
            break
        count -= 1
        if (bits >> count) & 1:
            count -= 8
            out.append((bits >> count) & 0xFF)
        else:
            if count < window_bits + _LOOKAHEAD_BITS:
                break
            count -= window_bits
            distance = ((bits >> count) & ((1 << window_bits) - 1)) + 1
            count -= _LOOKAHEAD_BITS
            length = ((bits >> count) & ((1 << _LOOKAHEAD_BITS) - 1)) + 1
            for _ in range(min(length, size - len(out))):
                out.append(out[-distance] if distance <= len(out) else 0)
        bits &= (1 << count) - 1
    return bytes(out)


def _decoded(block: _Block, name: str) -> bytes:
    (encoding,) = struct.unpack("<H", block.parameters)
    if encoding == 0:
        return block.data
    if encoding in {1, 2}:
        return meatpack(block.data)
    raise BadGeometry(f"{name} cannot be read", f"its G-code is in encoding {encoding}, which is not known")


def meatpack(data: bytes) -> bytes:
    """Unpack MeatPack: two characters a byte, low half first; half 15 means a whole character follows.

    A line's end in the low half ends the byte: what the packer fills the other half with is no character.
    0xFF 0xFF and a command byte switch: 251 packing on, 250 off, 249 all off, 247 no spaces (11 means E), 246 spaces.
    """
    out: list[str] = []
    packing = no_spaces = False
    whole_next = 0
    second = ""
    at = 0
    while at < len(data):
        byte = data[at]
        if byte == 0xFF and data[at + 1 : at + 2] == b"\xff":
            command = data[at + 2] if at + 2 < len(data) else 0
            packing = command == 251 or (packing and command not in {250, 249})
            no_spaces = command == 247 or (no_spaces and command not in {246, 249})
            at += 3
            continue
        at += 1
        if whole_next:
            out.append(chr(byte))
            whole_next -= 1
            if whole_next == 0:
                out.append(second)
                second = ""
        elif not packing:
            out.append(chr(byte))
        else:
            low, high = byte & 0x0F, byte >> 4
            if low == 15:
                whole_next, second = (2, "") if high == 15 else (1, _nibble(high, no_spaces))
                continue
            out.append(_nibble(low, no_spaces))
            if low != _NEWLINE and high == 15:
                whole_next = 1
            elif low != _NEWLINE:
                out.append(_nibble(high, no_spaces))
    return "".join(out).encode("latin-1")


def _nibble(value: int, no_spaces: bool) -> str:
    return "E" if no_spaces and value == 11 else _NIBBLES[value]
