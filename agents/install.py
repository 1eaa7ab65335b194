"""Print or write what a Pi needs to run the agent at boot: its own user, a sandboxed systemd unit, and a udev rule.

The files themselves live in docker/systemd/ for packagers; here they come from the same text, filled in.
Source: systemd.service(5), systemd.exec(5), systemd.resource-control(5), sysusers.d(5), tmpfiles.d(5), udev(7); Linux,
"Linux allocated devices" (admin-guide/devices.txt) for the majors; ModemManager, "Common udev tags".
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
# Nobody may be there to start it again: whatever was missing (an address, room on the disk) may come back.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={program} serve --config {config} --log-format json --upgrade-file {state}/upgrade
{made}WorkingDirectory={state}
User={user}
SupplementaryGroups=dialout
Restart=always
RestartSec=3
# A wrong file (2) stays wrong until a person mends it.
RestartPreventExitStatus=2
WatchdogSec=60
# Time to say where it hung.
TimeoutAbortSec=5
TimeoutStopSec=20
KillSignal=SIGTERM

# The serial ports and nothing else of the hardware; GPIO only where interlocks are wired to it.
# 166 is ttyACM, 188 ttyUSB. By number: a name counts only if its driver is loaded when the service starts, and with no
# machine switched on yet it is not.
DevicePolicy=closed
DeviceAllow=char-166 rw
DeviceAllow=char-188 rw
DeviceAllow=char-ttyAMA rw
DeviceAllow=char-ttyS rw
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
ProtectProc=invisible
RemoveIPC=yes
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
# Seven threads a machine, those of the page, a dozen others.
TasksMax=256
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
GPIO_RULE: Final = """\
# Interlocks are wired to GPIO lines. Raspberry Pi OS has such a rule already, other systems have none.
SUBSYSTEM=="gpio", KERNEL=="gpiochip*", GROUP="gpio", MODE="0660"
"""

SYSTEM_USER: Final = """\
# The agent's own user: it may open serial ports, and write its own folder.
u {user} - "Workshed agent" {state}
m {user} dialout
"""
_GPIO_MEMBER: Final = "m {user} gpio\n"
_STATE_FOLDER: Final = """\
# The agent's folder, which the service may write; below /var/lib the service manager makes it.
d {state} 0750 {user} {user}
"""
_MADE_BY_SYSTEMD: Final = Path("/var/lib")
_HOMES: Final = (Path("/home"), Path("/root"))
#: The service has folders of its own under these names (PrivateTmp).
_OWN_TO_SERVICE: Final = (Path("/tmp"), Path("/var/tmp"))


@dataclass(frozen=True, slots=True)
class Place:
    """A file and its text."""

    path: Path
    text: str


def files(
    config: Path, *, user: str, state: Path, program: Path | None = None, interlock_adapter: str = "none"
) -> tuple[Place, ...]:
    """What to install for a shop's file: unit, rule, user, and the folder where systemd does not make it by itself.

    With `interlock_adapter` gpio the user may read GPIO lines too.
    """
    found = program or _this_program()
    made_by_systemd = state.parent == _MADE_BY_SYSTEMD
    made = f"StateDirectory={state.name}\nStateDirectoryMode=0750\n" if made_by_systemd else ""
    unit = UNIT.format(program=found, config=config.resolve(), user=user, state=state, made=made)
    rule, account = UDEV_RULE, SYSTEM_USER.format(user=user, state=state)
    if interlock_adapter == "gpio":
        rule, account = rule + GPIO_RULE, account + _GPIO_MEMBER.format(user=user)
    places = [
        Place(Path("/etc/systemd/system/workshed-agent.service"), unit),
        Place(Path("/etc/udev/rules.d/60-workshed.rules"), rule),
        Place(Path("/etc/sysusers.d/workshed-agent.conf"), account),
    ]
    if not made_by_systemd:
        folder = _STATE_FOLDER.format(user=user, state=state)
        places.append(Place(Path("/etc/tmpfiles.d/workshed-agent.conf"), folder))
    return tuple(places)


def makes_folder(places: tuple[Place, ...]) -> bool:
    """Whether systemd-tmpfiles must run before the service starts."""
    return any(place.path.parent.name == "tmpfiles.d" for place in places)


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
    for key, looked_at in _looked_at(config):
        hidden = next((one for one in _OWN_TO_SERVICE if looked_at.is_relative_to(one)), None)
        if hidden is not None and not looked_at.is_relative_to(state):
            found.append(f"{key} is {looked_at}, but the service has a {hidden} of its own: use another folder")
    read = [("the shop's file", path), ("the program", program or _this_program())]
    if config.policy is not None:
        read.append(("the owner's policy", config.policy))
    for what, place in read:
        home = next((one for one in _HOMES if place.absolute().is_relative_to(one)), None)
        if home is not None and place.absolute().parts[2:3] != (user,) and user != "root":
            instead = "/opt/workshed" if what == "the program" else "/etc/workshed"
            found.append(f"{what} is {place.absolute()}, where {user} may not look: put it below {instead}")
    return tuple(found)


def _looked_at(config: AgentConfig) -> tuple[tuple[str, Path], ...]:
    """What the service opens that others made, by its key in the shop's file."""
    ports = ((f"port of {one.name}", Path(one.bridge.port)) for one in config.machines)
    power = ((f"power_file of {one.name}", one.power_file) for one in config.machines if one.power_file is not None)
    inputs = () if config.interlock_path is None else (("path below [interlocks]", config.interlock_path),)
    policy = () if config.policy is None else (("policy", config.policy),)
    return (*ports, *power, *inputs, *policy)


def write(places: tuple[Place, ...], root: Path = Path("/")) -> tuple[Path, ...]:
    """Write the files below `root`; their paths. Raises OSError (root is needed for /etc)."""
    written = []
    for place in places:
        target = root / place.path.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(place.text, encoding="utf-8")
        written.append(target)
    return tuple(written)
