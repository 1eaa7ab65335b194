"""Credentials for a Mosquitto of your own: `python -m scheduler.broker --folder DIR --admit shop/agent …`.

Writes `passwords` and `access` for mosquitto.conf, and one `credentials/USER` file for every user (all mode 0600).
Passwords that exist are kept: run it again with more `--admit`, then send Mosquitto a SIGHUP.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from scheduler.broker.access import Principal, agent_principal, scheduler_principal
from scheduler.broker.process import BrokerKind, BrokerProgram, BrokerSetup


def main(argv: Sequence[str] | None = None) -> int:
    """Write the files and say where they are."""
    parser = argparse.ArgumentParser(
        prog="python -m scheduler.broker", description="Write a broker's passwords and rights from the contract."
    )
    parser.add_argument("--folder", type=Path, required=True, help="where the files go")
    parser.add_argument("--scheduler", default="main", help="the scheduler's id (default: main)")
    parser.add_argument(
        "--admit", action="append", default=[], metavar="SHOP/AGENT", help="an agent; more by comma or by repeating"
    )
    parser.add_argument("--port", type=int, default=1883, help="port in the broker.conf that is written too")
    chosen = parser.parse_args(argv)
    try:
        principals = [scheduler_principal(chosen.scheduler)]
        principals += [_agent(name) for given in chosen.admit for name in given.split(",") if name]
    except ValueError as error:
        parser.error(str(error))
    setup = BrokerSetup(BrokerProgram(BrokerKind.MOSQUITTO, Path("mosquitto")), chosen.folder, chosen.port, principals)
    setup.write()
    for principal in principals:
        sys.stdout.write(f"{principal.username}  {setup.credential_file(principal.username)}\n")
    return 0


def _agent(name: str) -> Principal:
    shop, slash, agent = name.partition("/")
    if not slash:
        raise ValueError(f"{name!r} is not SHOP/AGENT")
    return agent_principal(shop, agent)


if __name__ == "__main__":
    sys.exit(main())
