"""The agent's own HTTP: a page for the phone and an API, from the standard library alone.

Works with broker and scheduler dead. Every request but the page's shell and the metrics needs the token; nothing
changes by GET. One thread a connection, and not too many of them, so that neither a slow phone nor a hundred can stand
in the way of an emergency stop.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import os
import secrets
import sys
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from socket import SHUT_RDWR, socket
from typing import Any, Final, TypeVar, cast
from urllib.parse import parse_qs, urlsplit

import msgspec

from agents.config import HttpSettings
from agents.contract.messages import LoadedMaterial, RejectedPieces
from agents.hands import Hands, NotPossible, Unknown
from agents.policy import Accept, Decline
from agents.toolpath_serving import PLACE as TOOLPATHS
from agents.toolpath_serving import Find, serve_toolpath

_log = logging.getLogger(__name__)

_LARGEST_BODY: Final = 64 * 1024
#: Connections at a time, a thread each: phones that sleep and strangers who only knock may not use up the process's
#: threads (the unit's TasksMax), or nobody could stop a machine any more.
MOST_CONNECTIONS: Final = 24
_T = TypeVar("_T")


class BadRequest(Exception):
    """The request cannot be understood; the text says what was expected."""


def read_or_make_token(path: Path) -> str:
    """The API's token; made on the first start, readable by the owner only. Raises OSError.

    An empty file, as a power cut at the first start leaves it, is none: anybody would know that token.
    """
    with contextlib.suppress(FileNotFoundError):
        token = path.read_text(encoding="ascii").strip()
        if token:
            return token
    path.parent.mkdir(parents=True, exist_ok=True)
    token, fresh = secrets.token_urlsafe(24), path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
        file.write(token + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    return token


class LocalServer(ThreadingHTTPServer):
    """The server; `hands` does the work, `metrics` renders the exposition."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128
    """With the library's 5, a stop behind a few others waits a second for its connection to be tried again."""

    def __init__(
        self,
        settings: HttpSettings,
        token: str,
        hands: Hands,
        metrics: Callable[[], tuple[bytes, str]],
        largest: int,
        find: Find = lambda sha256: None,
    ) -> None:
        """Bind; raises OSError when the address is taken. `find`: toolpaths that other shops may have."""
        self.token, self.hands, self.metrics, self.largest_program = token, hands, metrics, largest
        self.find = find
        self._gate = threading.Lock()
        self._open: dict[socket, None] = {}
        """Those that said nothing with the token for longest come first."""
        self._at_work: set[socket] = set()
        super().__init__((settings.host, settings.port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """One connection more; where there are too many, the one that was of no use for longest goes."""
        with self._gate:
            idle = next((one for one in self._open if one not in self._at_work), None)
            if len(self._open) >= MOST_CONNECTIONS and idle is not None:
                del self._open[idle]
                with contextlib.suppress(OSError):
                    idle.shutdown(SHUT_RDWR)  # its thread reads the end, and closes it
            self._open[request] = None
        super().process_request(request, client_address)

    @contextlib.contextmanager
    def at_work(self, request: socket) -> Iterator[None]:
        """Somebody who knows the token asked something on this connection: it is kept until that is answered."""
        with self._gate:
            if self._open.pop(request, self) is None:
                self._open[request] = None
            self._at_work.add(request)
        try:
            yield
        finally:
            with self._gate:
                self._at_work.discard(request)

    def shutdown_request(self, request: Any) -> None:
        """The connection is over."""
        with self._gate:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that went away is no error of ours; all else is."""
        broken = isinstance(sys.exception(), OSError)
        _log.log(logging.DEBUG if broken else logging.ERROR, "a request from %s broke", client_address, exc_info=True)

    @property
    def address(self) -> str:
        """Where it listens."""
        host, port = self.server_address[:2]
        return f"http://{host if isinstance(host, str) else host.decode()}:{port}"


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server_version = "workshed-agent"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = 30.0

    @property
    def _server(self) -> LocalServer:
        return cast(LocalServer, self.server)

    def do_GET(self) -> None:
        """The page, the metrics, the state."""
        path = urlsplit(self.path).path
        if path == "/":
            self._send(HTTPStatus.OK, _page(), "text/html; charset=utf-8")
        elif path == "/metrics":
            body, kind = self._server.metrics()
            self._send(HTTPStatus.OK, body, kind)
        elif path.startswith(TOOLPATHS):
            if not serve_toolpath(self, self._server.find, path):
                self._problem(HTTPStatus.NOT_FOUND, "no job in this shop's care names such a toolpath")
        elif not self._allowed():
            self._problem(HTTPStatus.UNAUTHORIZED, "the token is missing or wrong: send `Authorization: Bearer TOKEN`")
        else:
            parts = tuple(part for part in path.split("/") if part)
            query = parse_qs(urlsplit(self.path).query)
            with self._server.at_work(self.connection):
                self._answer(lambda: look(self._server.hands, parts, query))

    def do_POST(self) -> None:
        """One operation of a person."""
        if not self._allowed():
            self.close_connection = True
            self._problem(HTTPStatus.UNAUTHORIZED, "the token is missing or wrong: send `Authorization: Bearer TOKEN`")
            return
        url = urlsplit(self.path)
        parts = tuple(part for part in url.path.split("/") if part)
        with self._server.at_work(self.connection):
            self._answer(lambda: {"said": self._operated(parts, parse_qs(url.query))})

    def _operated(self, parts: tuple[str, ...], query: dict[str, list[str]]) -> str:
        match parts:
            case ("api", "machines", machine, "own-jobs"):
                size, title = self._length(self._server.largest_program), query.get("title", ["own job"])[0]
                self.close_connection = True  # what was refused may still be on its way
                return self._server.hands.queue_from(machine, self.rfile, size, title)
            case _:
                return operate(self._server.hands, parts, self.rfile.read(self._length(_LARGEST_BODY)))

    def _answer(self, deed: Callable[[], object]) -> None:
        """What came of it as JSON, or the problem as RFC 9457 has it."""
        try:
            self._json(HTTPStatus.OK, deed())
        except BadRequest as error:
            self._problem(HTTPStatus.BAD_REQUEST, str(error))
        except Unknown as error:
            self._problem(HTTPStatus.NOT_FOUND, str(error))
        except NotPossible as error:
            self._problem(HTTPStatus.CONFLICT, str(error))
        except OSError as error:  # a full disk, for the spool or for a program that was handed in
            self._problem(HTTPStatus.INSUFFICIENT_STORAGE, str(error))

    def _allowed(self) -> bool:
        given = self.headers.get("Authorization", "")
        return hmac.compare_digest(given.encode(), f"Bearer {self._server.token}".encode())

    def _length(self, largest: int) -> int:
        """Of the body. Raises BadRequest."""
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > largest:
            self.close_connection = True
            raise BadRequest(f"the body may have {largest} bytes at most, and its length must be given")
        return int(length)

    def _json(self, status: HTTPStatus, value: object) -> None:
        self._send(status, json.dumps(value, default=str).encode(), "application/json")

    def _problem(self, status: HTTPStatus, detail: str) -> None:
        problem = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
        self._send(status, json.dumps(problem).encode(), "application/problem+json")

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", "default-src 'self' 'unsafe-inline'; frame-ancestors 'none'")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library's name
        """To the agent's log, quietly."""
        _log.debug(format, *args)


def _page() -> bytes:
    return resources.files("agents").joinpath("local_page.html").read_bytes()


# --- routes -----------------------------------------------------------------------------------------------------------


class _Presence(msgspec.Struct):
    for_s: float = 30.0
    machines: tuple[str, ...] = ()
    person: str = ""
    """Read and forgotten: people are not watched."""


class _Materials(msgspec.Struct):
    materials: tuple[LoadedMaterial, ...]


class _Reason(msgspec.Struct):
    why: str = ""


class _Step(msgspec.Struct):
    line: int


class _Restart(msgspec.Struct):
    line: int | None = None
    height_kept: bool = False


class _Inspection(msgspec.Struct):
    good: int
    rejected: int = 0
    note: str = ""
    rejected_of: tuple[RejectedPieces, ...] = ()


def look(hands: Hands, parts: tuple[str, ...], query: dict[str, list[str]]) -> object:
    """Answer `GET /{parts…}`; changes nothing. Raises BadRequest, NotPossible, Unknown."""
    match parts:
        case ("api", "state"):
            return hands.state()
        case ("api", "jobs", job, "restart"):
            line = query.get("line", [""])[0]
            if line and not line.isdigit():
                raise BadRequest(f"`line` counts the toolpath's lines from 1, not {line[:20]!r}")
            return hands.restart_preview(job, int(line) if line else None)
        case _:
            raise Unknown(f"there is nothing at /{'/'.join(parts)}")


def operate(hands: Hands, parts: tuple[str, ...], body: bytes) -> str:
    """Carry out `POST /{parts…}`, programs apart; what was done, as a sentence.

    Raises BadRequest, NotPossible, Unknown.
    """
    match parts:
        case ("api", "stop"):
            return hands.stop_all()
        case ("api", "machines", machine, "stop"):
            return hands.stop(machine)
        case ("api", "machines", machine, verb):
            return _machine(hands, machine, verb, body)
        case ("api", "presence"):
            said = _read(body, _Presence)
            return hands.be_present(said.for_s, said.machines)
        case ("api", "offers", offer, "accept"):
            return hands.answer_offer(offer, Accept())
        case ("api", "offers", offer, "decline"):
            why = _read(body, _Reason).why or "the owner declined it by hand"
            return hands.answer_offer(offer, Decline((why,)))
        case ("api", "jobs", job, "work-card-confirmed"):
            return hands.confirm_card(job)
        case ("api", "jobs", job, "still-wanted"):
            return hands.still_wanted(job)
        case ("api", "jobs", job, "cancel"):
            return hands.cancel_job(job)
        case ("api", "jobs", job, "restart"):
            asked = _read(body, _Restart)
            return hands.restart(job, asked.line, height_kept=asked.height_kept)
        case ("api", "jobs", job, "inspect"):
            seen = _read(body, _Inspection)
            if seen.good < 0 or seen.rejected < 0:
                raise BadRequest("`good` and `rejected` count pieces: 0 or more")
            return hands.inspect(job, seen.good, seen.rejected, seen.note[:2000], seen.rejected_of)
        case _:
            raise Unknown(f"there is no operation at /{'/'.join(parts)}")


def _machine(hands: Hands, machine: str, verb: str, body: bytes) -> str:
    simple: dict[str, Callable[[str], str]] = {
        "bed-clear": hands.bed_clear,
        "home": hands.home,
        "rearm": hands.rearm,
        "hold": hands.hold,
        "resume": hands.resume,
        "cancel": hands.cancel,
        "stands": hands.confirm_standing,
    }
    if verb in simple:
        return simple[verb](machine)
    if verb == "material":
        return hands.load(machine, _read(body, _Materials).materials)
    if verb == "disable":
        return hands.enable(machine, _read(body, _Reason).why or "by hand")
    if verb == "enable":
        return hands.enable(machine, "")
    if verb == "step-done":
        return hands.confirm_step(machine, _read(body, _Step).line)
    raise Unknown(
        f"a machine has no operation {verb!r}; it has {', '.join(simple)}, material, disable, enable, step-done,"
        " own-jobs"
    )


def _read(body: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except msgspec.MsgspecError as error:
        raise BadRequest(f"the body is not what was expected: {error}") from error
