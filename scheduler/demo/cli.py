"""`workshed demo`: the whole main job on this computer, in one command."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from rich.console import Console

from agents.contract.vocabulary import JobState
from scheduler.broker.process import BrokerMissing
from scheduler.demo.network import Refusal
from scheduler.demo.orders import ORDERS
from scheduler.demo.processes import ChildFailed
from scheduler.demo.run import Demo, NotReady, Options, folder
from scheduler.demo.shops import TOWN
from scheduler.demo.summary import Summary, tell
from scheduler.demo.table import teller

#: Exit codes: everything made; something not made; interrupted (128 + SIGINT, as shells say it).
_MADE: Final = 0
_NOT_MADE: Final = 1
_INTERRUPTED: Final = 130
_USAGE: Final = 2


class _Ended(BaseException):
    """SIGINT, SIGTERM or SIGHUP: leave through every `with`, so that everything is stopped."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; the exit code."""
    given = _parser().parse_args(argv)
    try:
        kill = _kill(given.kill_agent)
    except ValueError as error:
        print(error, file=sys.stderr)
        return _USAGE
    # Explicitly for SIGINT too: a shell starts background programs with it ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    console = Console()
    try:
        with folder(given.data, keep=given.keep) as data:
            options = Options(
                data=data,
                speed=given.speed,
                seed=given.seed,
                timeout_s=given.timeout,
                log_format=given.log_format,
                kill_agent=kill,
                http_port=given.http_port,
            )
            return _run(options, console, keep=given.keep)
    except _Ended:
        print("Ended before it was done; everything that was started has been stopped.", file=sys.stderr)
        return _INTERRUPTED
    except (BrokerMissing, ChildFailed, NotReady, Refusal) as error:
        print(f"The demo could not go on: {error}", file=sys.stderr)
        return _NOT_MADE


def _run(options: Options, console: Console, *, keep: bool) -> int:
    with teller(options.log_format, console) as telling, Demo(options, telling) as demo:
        demo.start()
        demo.order(ORDERS)
        demo.work()
        summary = demo.summary()
        if not keep:
            telling.__exit__(None, None, None)
            tell(summary, console)
            return _code(summary)
        tell(summary, console)
        telling.say(f"It goes on: pages and API at {demo.url}, addresses and tokens in {options.data}/addresses.json.")
        telling.say("Ctrl-C ends everything that was started here.")
        try:
            demo.keep()
        except _Ended:
            return _code(summary)
    return _code(summary)


def _code(summary: Summary) -> int:
    return _MADE if summary.complete else _NOT_MADE


def _end(number: int, frame: FrameType | None) -> None:
    raise _Ended


def _kill(text: str) -> tuple[str, str] | None:
    if not text:
        return None
    shop, _, state = text.partition("@")
    shops, states = [one.shop for one in TOWN], [one.value for one in JobState]
    if shop not in shops or state not in states:
        raise ValueError(
            f"--kill-agent wants SHOP@STATE, as in garage@running: shops are {', '.join(shops)}; "
            f"states are {', '.join(states)}."
        )
    return shop, state


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="workshed demo",
        description="Run the main job: broker, scheduler, three shops, five simulated machines; orders become parts.",
    )
    parser.add_argument("--keep", action="store_true", help="leave it running afterwards and print the addresses")
    parser.add_argument("--seed", type=int, default=1, help="for the machines' dice")
    parser.add_argument("--timeout", type=float, default=240.0, metavar="SECONDS", help="give up after this long")
    parser.add_argument("--speed", type=float, default=120.0, help="how many times faster the machines' clocks run")
    parser.add_argument("--log-format", choices=["text", "json"], default="text")
    parser.add_argument("--kill-agent", default="", metavar="SHOP@STATE", help="kill that shop's agent once, then")
    parser.add_argument("--data", type=Path, help="keep the run's files here (default: a folder that is removed)")
    parser.add_argument("--http-port", type=int, help="serve the pages on this port (default: a free one)")
    return parser
