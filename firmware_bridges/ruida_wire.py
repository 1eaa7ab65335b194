"""The bytes of Ruida RDC644x controllers: scrambling, packets, numbers, the status word. Pure.

From public reverse engineering (meerk40t/ruida/rdjob.py, kkaempf/ruida doc/, wiki.fablab-nuernberg.de Nova_35), not
from the maker, and checked here against a twin only, never on a controller of our own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

ACK: Final = 0xCC
NAK: Final = 0xCF
MAGIC_644: Final = 0x88
#: A UDP packet holds 1472 bytes, two of them the sum.
PAYLOAD_BYTES: Final = 1470
CARD_ID: Final = bytes([0xDA, 0x00, 0x05, 0x7E])
MACHINE_STATUS: Final = bytes([0xDA, 0x00, 0x04, 0x00])
START: Final = bytes([0xD8, 0x00])
STOP: Final = bytes([0xD8, 0x01])
PAUSE: Final = bytes([0xD8, 0x02])
RESUME: Final = bytes([0xD8, 0x03])
RUNNING: Final = 0x00000001
PART_END: Final = 0x00000002
MOVING: Final = 0x01000000
#: DA 01, the address in two bytes, the value in five; what follows repeats it.
MEMORY_ANSWER_BYTES: Final = 9


def _swap_ends(byte: int) -> int:
    """Bits 7 and 0 change places."""
    return (byte & 0x7E) | (byte >> 7) | ((byte & 1) << 7)


def _table(magic: int) -> bytes:
    return bytes(((_swap_ends(byte) ^ magic) + 1) & 0xFF for byte in range(256))


_TABLES: Final = {MAGIC_644: _table(MAGIC_644)}
_REVERSE: Final = {
    magic: bytes(sorted(range(256), key=lambda byte, t=table: t[byte]))  # type: ignore[misc]
    for magic, table in _TABLES.items()
}


def swizzle(data: bytes, magic: int = MAGIC_644) -> bytes:
    """As the bytes travel."""
    return data.translate(_TABLES.get(magic) or _table(magic))


def unswizzle(data: bytes, magic: int = MAGIC_644) -> bytes:
    """As the bytes mean."""
    table = _REVERSE.get(magic)
    if table is None:
        forward = _table(magic)
        table = bytes(sorted(range(256), key=lambda byte: forward[byte]))
    return data.translate(table)


def packet(payload: bytes, magic: int = MAGIC_644) -> bytes:
    """One UDP datagram: 16-bit sum of the scrambled bytes, high byte first, then they."""
    body = swizzle(payload, magic)
    return (sum(body) & 0xFFFF).to_bytes(2, "big") + body


def payload_of(datagram: bytes, magic: int = MAGIC_644) -> bytes | None:
    """The meaning of a datagram; None where its sum is wrong."""
    if len(datagram) < 3 or int.from_bytes(datagram[:2], "big") != sum(datagram[2:]) & 0xFFFF:
        return None
    return unswizzle(datagram[2:], magic)


def encode_number(value: int) -> bytes:
    """35 bits in five bytes of seven, high first."""
    return bytes((value >> shift) & 0x7F for shift in (28, 21, 14, 7, 0))


def decode_number(data: bytes) -> int:
    """The value of five bytes of seven bits."""
    value = 0
    for byte in data[:5]:
        value = value << 7 | (byte & 0x7F)
    return value


def memory_answer(data: bytes, address: bytes) -> int | None:
    """The value in an answer to a memory read of `address` (its two bytes); None for any other answer."""
    if len(data) < 9 or data[:4] != bytes([0xDA, 0x01]) + address:
        return None
    return decode_number(data[4:9])


def command(text: str) -> bytes | None:
    """A toolpath's line: one command as hexadecimal bytes (`88 00 …`), `;` begins a remark. None: not a command.

    The first byte has bit 7 set, the others have not: anything else would be read as another command.
    """
    code = text.split(";", 1)[0].strip()
    if not code:
        return b""
    try:
        data = bytes.fromhex(code)
    except ValueError:
        return None
    return data if data[0] & 0x80 and not any(byte & 0x80 for byte in data[1:]) else None


def packets(lines: Iterable[tuple[int, str]]) -> Iterable[tuple[int, bytes]]:
    """(last line in it, payload) of full packets; a command is never cut. Raises ValueError with the line's number."""
    payload, last = b"", 0
    for number, text in lines:
        data = command(text)
        if data is None:
            raise ValueError(f"line {number} is not a Ruida command: {text[:40]!r}")
        if len(payload) + len(data) > PAYLOAD_BYTES:
            yield last, payload
            payload = b""
        payload += data
        last = number
    if payload:
        yield last, payload
