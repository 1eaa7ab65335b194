"""Run a twin as a program: a pseudo-terminal under a name, a control socket, a clock that may run fast.

    workshed-agent twin marlin --port /tmp/printer --speed 60 --control /tmp/printer.sock

The control socket takes one JSON object a line and answers each with one: {"cmd":"state"},
{"cmd":"fault","name":"vanish","for_s":2}, {"cmd":"person","act":"feed_hold"}, {"cmd":"speed","speed":10}.
"""

from __future__ import annotations

import argparse
import importlib
import json
import signal
import socketserver
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from firmware_bridges.twins.host import Twin, TwinHost
from firmware_bridges.twins.witness import Record, witnessed

#: Kind → module; each has `build_twin(options: TwinOptions) -> Twin`.
KINDS: Final = {
    "marlin": "firmware_bridges.twins.marlin",
    "grbl": "firmware_bridges.twins.grbl",
    "grblhal": "firmware_bridges.twins.grbl",
    "fluidnc": "firmware_bridges.twins.grbl",
    "prusa": "firmware_bridges.twins.printer_dialects",
    "klipper": "firmware_bridges.twins.printer_dialects",
    "smoothie": "firmware_bridges.twins.printer_dialects",
    "reprapfirmware": "firmware_bridges.twins.printer_dialects",
    "repetier": "firmware_bridges.twins.printer_dialects",
    "acknowledge-only": "firmware_bridges.twins.printer_dialects",
    "ruida": "firmware_bridges.twins.ruida",
}


@dataclass(frozen=True, slots=True)
class TwinOptions:
    """What the command line says about a twin; what a kind does not know it refuses with ValueError."""

    kind: str
    profile: str = ""
    """printer, router or laser; "" is the kind's own."""
    settings: tuple[tuple[str, str], ...] = ()
    """("$32", "1"), … for GRBL; ("advanced_ok", "0"), … for Marlin builds."""
    work_offset: tuple[float, float, float] | None = None
    seed: int = 0
    state_file: Path | None = None
    """Where settings and offsets live over restarts (the controller's EEPROM)."""


def make_twin(options: TwinOptions) -> Twin:
    """The twin of a kind. Raises ValueError for unknown kinds and settings."""
    module = KINDS.get(options.kind)
    if module is None:
        raise ValueError(f"There is no twin called {options.kind!r}; there are {', '.join(KINDS)}.")
    return cast("Twin", importlib.import_module(module).build_twin(options))


def answer(host: TwinHost, request: dict[str, Any]) -> dict[str, Any]:
    """One request of the control socket."""
    options = {k: v for k, v in request.items() if k not in ("cmd", "name", "act")}
    try:
        match request.get("cmd"):
            case "state":
                return {"ok": True, **host.state()}
            case "fault":
                host.fault(str(request["name"]), **options)
            case "person":
                host.person(str(request.get("act") or request["name"]), **options)
            case "speed":
                host.set_speed(float(request["speed"]))
            case other:
                return {"ok": False, "error": f"there is no command {other!r}: state, fault, person, speed"}
    except (KeyError, TypeError, ValueError) as error:
        return {"ok": False, "error": str(error)}
    return {"ok": True}


class _Control(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, path: Path, host: TwinHost) -> None:
        self.host = host
        path.unlink(missing_ok=True)
        super().__init__(str(path), _Conversation)
        path.chmod(0o600)


class _Conversation(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server = cast("_Control", self.server)
        for raw in self.rfile:
            try:
                request = json.loads(raw)
            except ValueError:
                request = {}
            reply = answer(server.host, request if isinstance(request, dict) else {})
            self.wfile.write(json.dumps(reply).encode() + b"\n")


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="workshed-agent twin", description="A simulated machine on a port.")
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("--port", type=Path, required=True, help="the name to make for the pseudo-terminal")
    parser.add_argument("--speed", type=float, default=1.0, help="how fast its clock runs (default 1)")
    parser.add_argument("--baud", type=int, default=0, help="pace the wire as this rate would; 0 does not pace")
    parser.add_argument("--control", type=Path, help="a unix socket for state and faults")
    parser.add_argument("--state-file", type=Path, help="keep the controller's EEPROM here")
    parser.add_argument("--record", type=Path, help="append every line carried out, with its time, here")
    parser.add_argument("--setting", action="append", default=[], metavar="NAME=VALUE", help="a setting, repeatable")
    parser.add_argument("--profile", default="", choices=["", "printer", "router", "laser"])
    parser.add_argument("--work-offset", metavar="X,Y,Z", help="where the work's zero is, in machine coordinates")
    parser.add_argument("--seed", type=int, default=0, help="for faults that roll dice")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT. Returns an exit code: 2 for options that make no twin."""
    given = _arguments(sys.argv[1:] if argv is None else argv)
    try:
        offset = _offset(given.work_offset)
        settings = tuple((name, value) for name, _, value in (item.partition("=") for item in given.setting))
        twin = make_twin(TwinOptions(given.kind, given.profile, settings, offset, given.seed, given.state_file))
        if given.record is not None and not witnessed(twin, Record(given.record)):
            raise ValueError(f"a {given.kind} twin keeps no record of its lines")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with TwinHost(twin, speed=given.speed, baud=given.baud, port=given.port, seed=given.seed) as host:
        control = None
        if given.control is not None:
            control = _Control(given.control, host)
            threading.Thread(target=control.serve_forever, name="control", daemon=True).start()
        print(f"{given.kind} twin on {host.port}, clock x{given.speed:g}", flush=True)
        ended.wait()
        if control is not None:
            control.shutdown()
            control.server_close()
            given.control.unlink(missing_ok=True)
    return 0


def _offset(text: str | None) -> tuple[float, float, float] | None:
    if text is None:
        return None
    parts = [float(part) for part in text.split(",")]
    if len(parts) != 3:
        raise ValueError("--work-offset wants three numbers: X,Y,Z")
    return parts[0], parts[1], parts[2]


if __name__ == "__main__":
    raise SystemExit(main())
