"""A shop serves the toolpaths of jobs in its care to its neighbours: by hash, with ranges, and nothing else."""

from __future__ import annotations

import hashlib
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agents.config import CacheSettings
from agents.contract.messages import ToolpathRef
from agents.spool import Spool
from agents.toolpath_serving import serve_toolpath, wanted_range
from agents.toolpaths import ToolpathStore
from tests.agents.scene import PROGRAM, FakeClock

SHA256 = hashlib.sha256(PROGRAM).hexdigest()


@pytest.fixture
def base(tmp_path: Path) -> Iterator[str]:
    kept = tmp_path / "kept.gcode"
    kept.write_bytes(PROGRAM)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not serve_toolpath(self, lambda sha256: kept if sha256 == SHA256 else None, self.path):
                self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/toolpaths"
    server.shutdown()
    server.server_close()


def get(url: str, span: str = "") -> tuple[int, bytes]:
    request = urllib.request.Request(url, headers={"Range": span} if span else {})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_whole_parts_and_nothing_beyond(base: str) -> None:
    url = f"{base}/{SHA256}"
    assert get(url) == (200, PROGRAM)
    assert get(url, "bytes=5-") == (206, PROGRAM[5:])
    assert get(url, "bytes=5-9") == (206, PROGRAM[5:10])
    assert get(url, f"bytes={len(PROGRAM)}-")[0] == 416
    for other in ("0" * 64, "../kept.gcode", SHA256.upper(), SHA256[:-1]):
        assert get(f"{base}/{other}")[0] == 404


def test_a_neighbour_fetches_and_resumes(base: str, tmp_path: Path) -> None:
    """The first address is a scheduler that is gone; half of the toolpath had come from it."""
    spool = Spool(tmp_path / "agent.sqlite", sender="agent/alder/pi1")
    store = ToolpathStore(tmp_path / "cache", spool, CacheSettings(timeout_s=2.0), FakeClock())
    (tmp_path / "cache" / f"{SHA256}.part").write_bytes(PROGRAM[:20])
    ref = ToolpathRef(
        sha256=SHA256,
        size_bytes=len(PROGRAM),
        dialect="marlin",
        urls=(f"http://127.0.0.1:9/{SHA256}", f"{base}/{SHA256}"),
        duration_s=1.0,
        lines=10,
        bounds_mm=(0, 0, 0, 1, 1, 1),
    )
    assert store.fetch(ref, lambda: True).read_bytes() == PROGRAM
    spool.close()


def test_ranges_are_read_as_the_standard_says() -> None:
    assert wanted_range("", 10) is None
    assert wanted_range("lines=1-2", 10) is None, "an unknown unit is ignored"
    assert wanted_range("bytes=0-99", 10) == (0, 9)
    with pytest.raises(ValueError, match="of 10"):
        wanted_range("bytes=10-", 10)
