"""Toolpaths to the shops nearby, by hash and with ranges (RFC 9110, section 14): for when the scheduler is away.

Only files that a mark of the board names, of a job in this home's care, go out: their hashes are public there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Final

Find = Callable[[str], Path | None]
"""The file of a hash that may be served; None for any other."""

PLACE: Final = "/toolpaths/"
_HASH: Final = re.compile(r"^[0-9a-f]{64}$")
_RANGE: Final = re.compile(r"^bytes=(\d+)-(\d*)$")
_CHUNK_BYTES: Final = 1 << 18


def wanted_range(header: str, size: int) -> tuple[int, int] | None:
    """First and last byte (inclusive) of one asked range; None for all of it. Raises ValueError when it cannot be."""
    asked = _RANGE.match(header)
    if asked is None:
        return None
    first = int(asked[1])
    last = min(int(asked[2]) if asked[2] else size - 1, size - 1)
    if first > last:
        raise ValueError(f"bytes {first} to {last} of {size}")
    return first, last


def serve_toolpath(handler: BaseHTTPRequestHandler, find: Find, path: str) -> bool:
    """Answer `GET /toolpaths/{sha256}`; False when there is no such toolpath here."""
    sha256 = path.removeprefix(PLACE)
    found = find(sha256) if _HASH.match(sha256) else None
    if found is None:
        return False
    with found.open("rb") as file:
        size = file.seek(0, 2)
        try:
            part = wanted_range(handler.headers.get("Range", ""), size)
        except ValueError:
            handler.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            handler.send_header("Content-Range", f"bytes */{size}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return True
        first, last = part or (0, size - 1)
        handler.send_response(HTTPStatus.OK if part is None else HTTPStatus.PARTIAL_CONTENT)
        if part is not None:
            handler.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        handler.send_header("Content-Type", "text/plain; charset=utf-8")
        handler.send_header("Content-Length", str(last - first + 1))
        handler.send_header("Accept-Ranges", "bytes")
        handler.send_header("X-Content-Type-Options", "nosniff")
        handler.end_headers()
        file.seek(first)
        left = last - first + 1
        while left > 0 and (chunk := file.read(min(_CHUNK_BYTES, left))):
            handler.wfile.write(chunk)
            left -= len(chunk)
    return True
