"""Print or write what a Pi needs to run the agent at boot: its own user, a sandboxed systemd unit, and a udev rule.

The files themselves live in docker/systemd/ for packagers; here they come from the same text, filled in.
Source: systemd.service(5), systemd.exec(5), sysusers.d(5), udev(7); ModemManager, "Common udev tags".
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agents.config import AgentConfig

UNIT: Final = """\
[Unit]
Description=Workshed agent: the machines of this shop
After=network.target time-sync.target
StartLimitIntervalSec=300
StartLimitBurst=10

[Service]
Type=notify
NotifyAccess=main
ExecStart={program} serve --config {config} --log-format json --upgrade-file {state}/upgrade
{made}WorkingDirectory={state}
User={user}
SupplementaryGroups=dialout
Restart=always
RestartSec=3
WatchdogSec=60
TimeoutStopSec=20
KillSignal=SIGTERM

# The serial ports and nothing else of the hardware; GPIO only where interlocks are wired to it.
DevicePolicy=closed
DeviceAllow=char-ttyACM rw
DeviceAllow=char-ttyUSB rw
DeviceAllow=char-ttyAMA rw
DeviceAllow=char-gpiochip rw
PrivateDevices=no

ProtectSystem=strict
ReadWritePaths={state}
ProtectHome=read-only
PrivateTmp=yes
NoNewPrivileges=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
CapabilityBoundingSet=
AmbientCapabilities=
UMask=0077
MemoryMax=160M
TasksMax=64
OOMScoreAdjust=-500

[Install]
WantedBy=multi-user.target
"""

UDEV_RULE: Final = """\
# Machines keep their name by the socket they are plugged into: identical USB chips have no number of their own.
# Use /dev/workshed/by-path/... as `port` in shop.toml. ModemManager must not probe a machine.
SUBSYSTEM=="tty", ENV{ID_PATH}=="?*", KERNEL=="ttyACM*|ttyUSB*", GROUP="dialout", MODE="0660", \\
  SYMLINK+="workshed/by-path/$env{ID_PATH}", ENV{ID_MM_DEVICE_IGNORE}="1", ENV{ID_MM_PORT_IGNORE}="1"
"""

SYSTEM_USER: Final = """\
# The agent's own user: it may open serial ports, and write its own folder.
u {user} - "Workshed agent" {state}
m {user} dialout
"""
_MADE_BY_SYSTEMD: Final = Path("/var/lib")
_HOMES: Final = (Path("/home"), Path("/root"))


@dataclass(frozen=True, slots=True)
class Place:
    """A file and its text."""

    path: Path
    text: str


def files(config: Path, *, user: str, state: Path, program: Path | None = None) -> tuple[Place, ...]:
    """What to install for a shop's file."""
    found = program or _this_program()
    made = f"StateDirectory={state.name}\nStateDirectoryMode=0750\n" if state.parent == _MADE_BY_SYSTEMD else ""
    unit = UNIT.format(program=found, config=config.resolve(), user=user, state=state, made=made)
    return (
        Place(Path("/etc/systemd/system/workshed-agent.service"), unit),
        Place(Path("/etc/udev/rules.d/60-workshed.rules"), UDEV_RULE),
        Place(Path("/etc/sysusers.d/workshed-agent.conf"), SYSTEM_USER.format(user=user, state=state)),
    )


def _this_program() -> Path:
    return Path(sys.argv[0]).absolute()


def cannot_serve(
    config: AgentConfig, path: Path, *, user: str, state: Path, program: Path | None = None
) -> tuple[str, ...]:
    """Why the service would not come up with this file, and what to do; empty where it would.

    The service may write below `state` only, and runs as `user`, who cannot look into other people's homes.
    """
    found = []
    for key, place in (("data_dir", config.data_dir), ("token_file", config.http.token_file)):
        if not place.resolve().is_relative_to(state.resolve()):
            wanted = state if key == "data_dir" else state / place.name
            where = "" if key == "data_dir" else " below [http]"
            found.append(f'{key} is {place}, where the service may not write: set {key} = "{wanted}"{where}')
    for what, place in (("the shop's file", path), ("the program", program or _this_program())):
        home = next((one for one in _HOMES if place.absolute().is_relative_to(one)), None)
        if home is not None and place.absolute().parts[2:3] != (user,) and user != "root":
            instead = "/etc/workshed" if what == "the shop's file" else "/opt/workshed"
            found.append(f"{what} is {place.absolute()}, where {user} may not look: put it below {instead}")
    return tuple(found)


def write(places: tuple[Place, ...], root: Path = Path("/")) -> tuple[Path, ...]:
    """Write the files below `root`; their paths. Raises OSError (root is needed for /etc)."""
    written = []
    for place in places:
        target = root / place.path.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(place.text, encoding="utf-8")
        written.append(target)
    return tuple(written)
