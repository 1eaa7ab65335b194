"""`workshed-agent`: serve, run, twin, detect, discover, check-config, install."""

from __future__ import annotations

import argparse
import dataclasses
import http.client
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from agents import log_writer
from agents.as_root import why_not_as_root
from agents.config import AgentConfig, load
from agents.policy import read_policy
from agents.section import ConfigError
from agents.spool import SpoolBroken, SpoolFull
from firmware_bridges.bridge import BridgeError

#: Exit codes: 0 done, 1 it failed, 2 the command or the configuration is wrong.
_WRONG = 2


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # These two have options of their own.
    if arguments[:1] == ["twin"]:
        from firmware_bridges.twins import run

        return run.main(arguments[1:])
    if arguments[:1] == ["detect"]:
        from firmware_bridges.detect import main as detect

        return detect(arguments[1:])
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        with log_writer.set_aside(options.log_format, options.log_level):
            return command(options)
    except (ConfigError, SpoolBroken, BridgeError) as error:
        print(f"workshed-agent: {error}", file=sys.stderr)
        return _WRONG
    except (SpoolFull, OSError) as error:
        print(f"workshed-agent: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="workshed-agent", description="The agent beside the machines of a shop.", epilog="Also: twin, detect."
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--config", type=Path, default=Path("shop.toml"), help="the shop's file (default shop.toml)")
    shared.add_argument("--log-format", choices=["json", "text"], default="text")
    shared.add_argument("--log-level", choices=["debug", "info", "warning", "error"], default="info")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", parents=[shared], help="run the agent until it is told to end")
    serve.add_argument("--upgrade-file", type=Path, help="end at the first idle moment after this file appears")
    serve.set_defaults(command=_serve)

    run = commands.add_parser("run", parents=[shared], help="run one file on one machine, without broker or scheduler")
    run.add_argument("file", type=Path)
    run.add_argument("--machine", required=True)
    run.set_defaults(command=_run)

    discover = commands.add_parser("discover", parents=[shared], help="find schedulers on the local network")
    discover.add_argument("--json", action="store_true")
    discover.set_defaults(command=_discover)

    check = commands.add_parser(
        "check-config", parents=[shared], help="read the shop's file and policy, say what is wrong"
    )
    check.add_argument("--json", action="store_true", help="print what was understood as JSON")
    check.set_defaults(command=_check)

    install = commands.add_parser("install", parents=[shared], help="print (or write) the systemd unit and udev rule")
    install.add_argument("--write", action="store_true", help="write them below --root; needs root for /")
    install.add_argument("--root", type=Path, default=Path("/"))
    install.add_argument("--user", default="workshed")
    install.add_argument("--state", type=Path, default=Path("/var/lib/workshed-agent"))
    install.set_defaults(command=_install)

    commands.add_parser("twin", help="a simulated machine on a pseudo-terminal (twin --help)", add_help=False)
    commands.add_parser("detect", help="find machines on the serial ports (detect --help)", add_help=False)
    return parser


def _serve(options: argparse.Namespace) -> int:
    from agents.serve import serve

    config = load(options.config)
    _refuse_as_root(config, "serve")
    return serve(config, upgrade_file=options.upgrade_file)


def _refuse_as_root(config: AgentConfig, command: str) -> None:
    why = why_not_as_root(config.data_dir, command)
    if why:
        raise ConfigError(why)


def _run(options: argparse.Namespace) -> int:
    from agents.serve import run_alone

    config = load(options.config)
    config.machine(options.machine)
    with options.file.open("rb") as program:
        if _handed_to_running_agent(config, options.machine, program, options.file.name):
            return 0
    _refuse_as_root(config, "run")
    return run_alone(config, options.machine, options.file, lambda text: print(text, file=sys.stderr))


def _handed_to_running_agent(config: AgentConfig, machine: str, program: BinaryIO, title: str) -> bool:
    """Give the file to an agent that serves this shop already; False where none does."""
    try:
        token = config.http.token_file.read_text(encoding="ascii").strip()
    except OSError:
        return False
    query = urllib.parse.urlencode({"title": title})
    url = f"http://{config.http.host}:{config.http.port}/api/machines/{machine}/own-jobs?{query}"
    size = os.fstat(program.fileno()).st_size
    headers = {"Authorization": f"Bearer {token}", "Content-Length": str(size), "Content-Type": "text/x-gcode"}
    request = urllib.request.Request(url, data=program, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10.0) as answer:
            said = json.load(answer)["said"]
    except urllib.error.HTTPError as error:
        detail = json.load(error).get("detail", error.reason)
        raise ConfigError(f"the running agent refused it: {detail}") from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError):
        return False
    print(f"queued with the running agent as {said}", file=sys.stderr)
    return True


def _discover(options: argparse.Namespace) -> int:
    from agents.discovery import NotInstalled, find

    try:
        found = find()
    except NotInstalled as error:
        raise ConfigError(str(error)) from error
    if options.json:
        print(json.dumps([dataclasses.asdict(one) for one in found]))
    else:
        print("\n".join(str(one) for one in found) or "no scheduler announced itself on this network")
    return 0 if found else 1


def _loaded(path: Path) -> AgentConfig:
    """The shop's file, and the owner's rules read, too. Raises ConfigError."""
    config = load(path)
    if config.policy is not None:
        read_policy(config.policy, config.machine_names)
    return config


def _check(options: argparse.Namespace) -> int:
    config = _loaded(options.config)
    machines = [
        {"machine": m.name, "process": m.description.process, "dialect": m.description.dialect, "port": m.bridge.port}
        for m in config.machines
    ]
    if options.json:
        print(json.dumps({"shop": config.shop, "agent": config.agent, "ring": config.ring, "machines": machines}))
    else:
        print(f"{options.config}: shop {config.shop}, agent {config.agent}, {len(machines)} machine(s), all well")
    return 0


def _install(options: argparse.Namespace) -> int:
    from agents import install

    config = _loaded(options.config)
    wrong = install.cannot_serve(config, options.config, user=options.user, state=options.state)
    if wrong:
        raise ConfigError("the service would not come up:\n  " + "\n  ".join(wrong))
    places = install.files(
        options.config, user=options.user, state=options.state, interlock_adapter=config.interlock_adapter
    )
    if not options.write:
        for place in places:
            print(f"# --- {place.path}\n{place.text}")
        return 0
    for path in install.write(places, options.root):
        print(f"wrote {path}")
    folder = " && systemd-tmpfiles --create workshed-agent.conf" if install.makes_folder(places) else ""
    print(f"now: systemd-sysusers{folder}")
    print("then: udevadm control --reload && udevadm trigger --subsystem-match=tty --subsystem-match=gpio")
    print("then: systemctl daemon-reload && systemctl enable --now workshed-agent")
    return 0


if __name__ == "__main__":
    sys.exit(main())
