"""`python -m designs.catalogue build` makes every file again; `check` says what differs; `list` names the designs."""

from __future__ import annotations

import argparse
import sys

from designs.catalogue import entries
from designs.catalogue.building import build, differences


def main(argv: list[str]) -> int:
    """Exit code 0 when the shelf is what the sources say."""
    parser = argparse.ArgumentParser(prog="python -m designs.catalogue", description=__doc__)
    parser.add_argument("command", choices=("build", "check", "list"))
    parser.add_argument("--home", default="", help="URL under which you publish the shelf (default: content addresses)")
    given = parser.parse_args(argv)
    command = given.command
    if command == "list":
        for entry in entries():
            print(f"{entry.name:16} {entry.manifest.function}")
        return 0
    touched = build(home=given.home) if command == "build" else differences(home=given.home)
    for name in touched:
        print(name)
    print(f"{len(touched)} files {'written or removed' if command == 'build' else 'differ'}")
    return 0 if command == "build" or not touched else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
