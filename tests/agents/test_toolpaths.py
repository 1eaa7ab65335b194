"""Toolpaths by hash over real HTTP: resumed, verified, capped, kept within the space there is."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.server
import io
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from agents.config import CacheSettings
from agents.contract import messages as m
from agents.contract.vocabulary import Process
from agents.spool import Spool
from agents.toolpaths import GivenUp, ToolpathStore, ToolpathUnavailable, ToolpathWrong, problems_for
from tests.agents.scene import LASER_PROGRAM, PROGRAM, FakeClock, machine_settings, offer_of

BIG = b"G1 X1 Y1\n" * 100_000
#: 100 MB of zeros in 97 kB, for a reader that believes a `Content-Encoding`.
BOMB = gzip.compress(bytes(100_000_000))


class Files(http.server.BaseHTTPRequestHandler):
    """Serves BIG with ranges and, as asked by the path, misbehaves."""

    protocol_version = "HTTP/1.0"
    asked: list[tuple[str, str]]
    ended: threading.Event

    def do_GET(self) -> None:
        kind, wanted = self.path.strip("/"), self.headers.get("Range", "")
        self.asked.append((kind, wanted))
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if kind == "missing":
            self.send_error(404)
            return
        if kind == "elsewhere":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.end_headers()
            return
        if kind == "drips":  # a byte now and then: no timeout of the socket ever ends it
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while not self.ended.wait(0.05):
                    self.wfile.write(b"G")
                    self.wfile.flush()
            return
        if kind == "bomb":
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(BOMB)
            return
        if kind == "endless":
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(BIG)
        body = {"short": BIG[:-5], "longer": BIG + b"G0 X9\n", "other": b"X" * len(BIG)}.get(kind, BIG)
        if kind == "deaf-to-ranges":
            start = 0
        self.send_response(206 if start else 200)
        self.end_headers()
        stop = start + 300_000 if kind == "breaks" and len(self.asked) < 3 else len(body)
        self.wfile.write(body[start:stop])

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def base() -> Iterator[str]:
    Files.asked, Files.ended = [], threading.Event()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    Files.ended.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def store(memory_path: Path) -> Iterator[ToolpathStore]:
    spool = Spool(memory_path / "agent.sqlite", sender="agent/a/b")
    yield ToolpathStore(memory_path / "paths", spool, CacheSettings(timeout_s=5.0), FakeClock())
    spool.close()


def ref(*urls: str, data: bytes = BIG) -> m.ToolpathRef:
    toolpath = offer_of(program=data).toolpath
    return structs.replace(toolpath, urls=urls)


def always() -> bool:
    return True


def test_fetched_verified_and_kept(store: ToolpathStore, base: str) -> None:
    path = store.fetch(ref(f"{base}/good"), always)
    assert path.read_bytes() == BIG
    assert store.verified(hashlib.sha256(BIG).hexdigest())
    store.fetch(ref(f"{base}/good"), always)
    assert len(Files.asked) == 1, "the second time it comes from the disk"


def test_a_transfer_that_breaks_off_is_resumed_where_it_ended(store: ToolpathStore, base: str) -> None:
    assert store.fetch(ref(f"{base}/breaks"), always).read_bytes() == BIG
    ranges = [wanted for _, wanted in Files.asked]
    assert ranges[0] == ""
    assert ranges[1] == "bytes=300000-"


def test_a_server_without_ranges_sends_it_all_again(store: ToolpathStore, base: str) -> None:
    path = store.path(ref().sha256).with_suffix(".part")
    path.write_bytes(BIG[:1000])
    assert store.fetch(ref(f"{base}/deaf-to-ranges"), always).read_bytes() == BIG


def test_a_part_left_by_a_crash_is_used_only_if_the_whole_has_the_hash(store: ToolpathStore, base: str) -> None:
    part = store.path(ref().sha256).with_suffix(".part")
    part.write_bytes(b"?" * 1000)
    assert store.fetch(ref(f"{base}/good"), always).read_bytes() == BIG, (
        "the bad start is thrown away, then fetched anew"
    )


@pytest.mark.parametrize("kind", ["other", "longer"])
def test_something_else_than_was_promised_is_refused(store: ToolpathStore, base: str, kind: str) -> None:
    with pytest.raises(ToolpathWrong):
        store.fetch(ref(f"{base}/{kind}"), always)
    assert not store.has(ref().sha256)


def test_the_next_source_is_tried(store: ToolpathStore, base: str) -> None:
    found = store.fetch(ref(f"{base}/missing", f"{base}/other", f"{base}/good"), always)
    assert found.read_bytes() == BIG


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher:x", "http://[::1", "nonsense"])
def test_only_http_addresses_are_followed(store: ToolpathStore, url: str) -> None:
    with pytest.raises(ToolpathWrong):
        store.fetch(ref(url), always)


def test_no_redirect_leaves_http(store: ToolpathStore, base: str) -> None:
    turns = iter([True, False])
    with pytest.raises((ToolpathWrong, GivenUp)):
        store.fetch(ref(f"{base}/elsewhere"), lambda: next(turns, False))
    assert not store.has(ref().sha256)


def test_too_large_is_refused_before_the_first_byte(store: ToolpathStore, base: str) -> None:
    with pytest.raises(ToolpathWrong, match="at most"):
        store.fetch(structs.replace(ref(f"{base}/good"), size_bytes=10**12), always)
    assert Files.asked == []


@pytest.mark.parametrize("kind", ["endless", "bomb"])
def test_no_server_fills_the_disk_or_the_memory(store: ToolpathStore, base: str, kind: str) -> None:
    with pytest.raises(ToolpathWrong):
        store.fetch(ref(f"{base}/{kind}", data=b"G" * len(BOMB)), always)
    assert list(store.path("0" * 64).parent.glob("*.gcode")) == []
    assert all(path.stat().st_size <= len(BOMB) for path in store.path("0" * 64).parent.iterdir())


def test_a_server_that_drips_is_left_when_nobody_waits_any_more(store: ToolpathStore, base: str) -> None:
    asked = iter([True] * 8)
    with pytest.raises(GivenUp):
        store.fetch(ref(f"{base}/drips"), lambda: next(asked, False))


def test_waiting_for_a_dead_server_keeps_nobody_else_from_fetching(memory_path: Path, base: str) -> None:
    """One transfer at a time, and the first one's server is dead: the second machine's toolpath comes all the same."""
    spool = Spool(memory_path / "agent.sqlite", sender="agent/a/b")
    store = ToolpathStore(memory_path / "paths", spool, CacheSettings(timeout_s=5.0, parallel=1), FakeClock())
    tried, other = threading.Event(), b"G1 X2 Y2\n" * 100

    def wanted() -> bool:
        if tried.is_set():
            return not store.has(hashlib.sha256(BIG).hexdigest())
        tried.set()
        return True

    def patient() -> None:
        with contextlib.suppress(GivenUp):
            store.fetch(ref("http://127.0.0.1:9/dead", data=other), wanted)

    waits = threading.Thread(target=patient, daemon=True)
    waits.start()
    assert tried.wait(5)
    fetches = threading.Thread(target=lambda: store.fetch(ref(f"{base}/whole"), always), daemon=True)
    fetches.start()
    fetches.join(10)
    assert store.has(hashlib.sha256(BIG).hexdigest())
    waits.join(10)
    spool.close()


def test_nobody_waits_for_what_is_no_longer_wanted(store: ToolpathStore, base: str) -> None:
    turns = iter([True, False])
    with pytest.raises(GivenUp):
        store.fetch(ref(f"{base}/missing"), lambda: next(turns))


def test_the_least_used_goes_when_room_is_needed(memory_path: Path, base: str) -> None:
    spool, clock = Spool(memory_path / "agent.sqlite", sender="agent/a/b"), FakeClock()
    space = CacheSettings(space_bytes=1_000_000)
    store = ToolpathStore(memory_path / "paths", spool, space, clock)
    old = store.put(b"G0 X1\n" * 20_000)
    clock.go(1)
    young = store.put(b"G0 X2\n" * 1_000)
    clock.go(1)
    store.fetch(ref(f"{base}/good"), always)
    assert not store.has(old)
    assert store.has(young)
    tiny = ToolpathStore(memory_path / "paths", spool, replace(space, space_bytes=1000), clock)
    with pytest.raises(ToolpathUnavailable, match="do not fit"):
        tiny.make_room(2000, keep=frozenset())
    spool.close()


@pytest.mark.parametrize(
    ("program", "process", "word"),
    [
        (PROGRAM, Process.FDM, ""),
        (LASER_PROGRAM, Process.LASER, ""),
        (b"G21\nG90\nG28\nG1 X500 Y0 F1000\nM104 S0\n", Process.FDM, "x from"),
        (b"G21\nG90\nG28\nG1 X10 Y-20 F1000\nM104 S0\n", Process.FDM, "y from"),
        (b"G21\nG90\nM4 S0\nG1 X10 Y10 S100 F1000\n", Process.LASER, ""),
        (b"M500\nG28\nG1 X10 F1000\n", Process.FDM, "line 1"),
        (b"G21\nM3 S500\nG1 X10 Y10 F500\n", Process.LASER, "line"),
        (b"; nothing\n", Process.FDM, "moves nothing"),
        (b"G1 X10\xff Y10\nG28\n", Process.FDM, "cannot be read"),
    ],
)
def test_the_agents_own_survey(tmp_path: Path, program: bytes, process: Process, word: str) -> None:
    path = tmp_path / "p.gcode"
    path.write_bytes(program)
    found = problems_for(path, offer_of(program=program, process=process).toolpath, machine_settings(process=process))
    if word:
        assert any(word in problem for problem in found), found
    elif program.rstrip().endswith(b"M5") or process is Process.FDM:
        assert found == ()


def test_another_dialect_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.gcode"
    path.write_bytes(PROGRAM)
    toolpath = structs.replace(offer_of().toolpath, dialect="grbl")
    assert "speaks grbl" in problems_for(path, toolpath, machine_settings())[0]


def _on(dialect: str, program: bytes, process: Process, folder: Path) -> tuple[str, ...]:
    (folder / "p.gcode").write_bytes(program)
    settings = machine_settings(process=process)
    settings = replace(settings, description=structs.replace(settings.description, dialect=dialect))
    toolpath = structs.replace(offer_of(program=program, process=process).toolpath, dialect=dialect)
    return problems_for(folder / "p.gcode", toolpath, settings)


@pytest.mark.parametrize("dialect", ["grbl", "grblhal", "fluidnc"])
def test_the_whole_grbl_family_is_read_as_such(tmp_path: Path, dialect: str) -> None:
    # G53 moves in machine coordinates on these; a printer's reading would not know the word.
    assert _on(dialect, LASER_PROGRAM, Process.LASER, tmp_path) == ()
    assert _on(dialect, LASER_PROGRAM, Process.LASER, tmp_path) == _on("grbl", LASER_PROGRAM, Process.LASER, tmp_path)
    odd = b"G21\nG90\nM4 S0\nG61\nG1 X5 Y5 S10 F500\nM5\n"
    assert _on(dialect, odd, Process.LASER, tmp_path) == _on("grbl", odd, Process.LASER, tmp_path)


def test_a_work_card_is_words_for_people(tmp_path: Path) -> None:
    assert _on("manual", b"Drill 8 mm through the mark\n", Process.MANUAL, tmp_path) == ()
    assert _on("manual", b"; nothing to do\n\n", Process.MANUAL, tmp_path) == ("the work card has no step",)


class _Counted(io.BytesIO):
    """Remembers the largest piece that was asked for."""

    most = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.most = max(self.most, len(self.getvalue()) if size is None or size < 0 else size)
        return super().read(size)


def test_a_program_that_is_handed_in_is_never_in_memory_as_a_whole(store: ToolpathStore) -> None:
    line = b"G1 X1.234 Y5.678 E0.01\n"
    program = b";TIME:77\n" + line * 200_000 + b"M104 S0"
    source = _Counted(program)
    kept = store.take_in(source, len(program))
    assert source.most <= 1 << 18
    assert (kept.sha256, kept.size_bytes, kept.lines) == (hashlib.sha256(program).hexdigest(), len(program), 200_002)
    assert store.path(kept.sha256).read_bytes() == program
    assert kept.ends.startswith(b";TIME:77\n")
    assert kept.ends.endswith(b"M104 S0")
    assert len(kept.ends) < 1 << 18


def test_a_program_that_ends_early_leaves_nothing_and_neither_does_one_whose_agent_died(memory_path: Path) -> None:
    folder = memory_path / "paths"
    spool = Spool(memory_path / "agent.sqlite", sender="agent/a/b")
    store = ToolpathStore(folder, spool, CacheSettings(), FakeClock())
    with pytest.raises(ToolpathUnavailable, match="ended 3 bytes early"):
        store.take_in(io.BytesIO(b"G28\n"), 7)
    assert list(folder.iterdir()) == []
    (folder / "handed-in-0.part").write_bytes(b"G28\n")
    ToolpathStore(folder, spool, CacheSettings(), FakeClock())
    assert list(folder.iterdir()) == []
    spool.close()
