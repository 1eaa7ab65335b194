"""The demo's town: three shops, five machines behind pseudo-terminals, and the files each agent starts from."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scheduler.broker.access import agent_username

_PRINTER_NOZZLE: Final = {"number": 0, "kind": "nozzle", "diameter_mm": 0.4}
_BEAM: Final = {"number": 1, "kind": "beam", "diameter_mm": 0.2}
_PLYWOOD_3: Final = {"material": "plywood", "thickness_mm": 3.0, "width_mm": 390.0, "height_mm": 390.0}


@dataclass(frozen=True, slots=True)
class TwinMachine:
    """One simulated machine: what its owner declares, and how its firmware is set."""

    machine: str
    name: str
    process: str
    dialect: str
    model: str
    envelope_mm: tuple[float, float, float]
    materials: tuple[Mapping[str, object], ...]
    tools: tuple[Mapping[str, object], ...]
    limits: Mapping[str, float]
    profile: str
    settings: tuple[str, ...] = ()
    work_zero_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Where its owner set the work's zero, in the machine's own coordinates."""


@dataclass(frozen=True, slots=True)
class TwinShop:
    """One shop: its agent, its person, its machines, its owner's rules."""

    shop: str
    title: str
    person: str
    machines: tuple[TwinMachine, ...]
    policy: str
    agent: str = "pi"

    @property
    def username(self) -> str:
        """The broker's name for its agent."""
        return agent_username(self.shop, self.agent)


def _printer(machine: str, name: str, colour: str) -> TwinMachine:
    return TwinMachine(
        machine,
        name,
        "fdm",
        "marlin",
        "marlin-200",
        (200.0, 200.0, 200.0),
        ({"material": "PLA", "colour": colour, "remaining_g": 950.0},),
        (_PRINTER_NOZZLE,),
        {"max_feed_mm_min": 12000.0, "accel_mm_s2": 1000.0, "power_w": 250.0},
        "printer",
    )


def _laser(machine: str, name: str, watts: float) -> TwinMachine:
    return TwinMachine(
        machine,
        name,
        "laser",
        "grbl",
        "grbl-laser-390",
        (390.0, 390.0, 40.0),
        (_PLYWOOD_3,),
        (_BEAM,),
        {"max_feed_mm_min": 6000.0, "accel_mm_s2": 500.0, "laser_power_w": watts, "power_w": 120.0},
        "laser",
        # Switches at the lower left (grbl/settings.h: $22 homing, $23 direction); it homes to travel less pull-off.
        ("$32=1", "$22=1", "$23=3"),
        (-399.0, -399.0, -1.0),
    )


_ROUTER: Final = TwinMachine(
    "router1",
    "Bench router",
    "cnc",
    "grbl",
    "grbl-router-380",
    (380.0, 380.0, 38.0),
    ({"material": "plywood", "thickness_mm": 12.0, "width_mm": 380.0, "height_mm": 380.0},),
    ({"number": 1, "kind": "flat_end_mill", "diameter_mm": 3.175},),
    {"max_feed_mm_min": 5000.0, "accel_mm_s2": 400.0, "spindle_max_rpm": 24000.0, "power_w": 900.0},
    "router",
    work_zero_mm=(-398.0, -398.0, -42.0),
)

TOWN: Final = (
    TwinShop(
        "garage",
        "Mira's garage",
        "Mira",
        (_printer("printer1", "Garage printer", "white"), _laser("laser1", "Garage laser", 40.0)),
        'accept = "auto"\nlongest_job_h = 12.0\n',
    ),
    TwinShop(
        "fablab",
        "Fab lab by the mill",
        "Jonas",
        (_printer("printer2", "Lab printer", "white"), _ROUTER),
        'accept = "auto"\n',
    ),
    TwinShop(
        "attic",
        "Ayo's attic",
        "Ayo",
        (_laser("laser2", "Attic laser", 40.0),),
        'accept = "auto"\nprocesses = ["laser"]\nneed_classes = ["survival", "commons", "personal"]\n',
    ),
)


@dataclass(frozen=True, slots=True)
class ShopFiles:
    """Where a shop's things are."""

    folder: Path
    http_port: int

    @property
    def config(self) -> Path:
        """The agent's own file."""
        return self.folder / "shop.toml"

    @property
    def url(self) -> str:
        """The agent's local page."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def token(self) -> str:
        """What a person types once to use it."""
        return (self.folder / "agent.token").read_text(encoding="ascii").strip()

    def port(self, machine: str) -> Path:
        """The pseudo-terminal's link, as a USB port's path would be."""
        return self.folder / f"{machine}.tty"

    def control(self, machine: str) -> Path:
        """The twin's control socket."""
        return self.folder / f"{machine}.sock"


def twin_command(machine: TwinMachine, files: ShopFiles, *, speed: float, seed: int) -> tuple[str, ...]:
    """What starts the twin of one machine."""
    command = [
        *(agent_program(), "twin", machine.dialect, "--port", str(files.port(machine.machine))),
        *("--control", str(files.control(machine.machine)), "--speed", f"{speed:g}", "--seed", str(seed)),
        *("--profile", machine.profile),
    ]
    if any(machine.work_zero_mm):
        command.append("--work-offset=" + ",".join(f"{value:g}" for value in machine.work_zero_mm))
    for setting in machine.settings:
        command += ["--setting", setting]
    return tuple(command)


def agent_command(files: ShopFiles, log_format: str) -> tuple[str, ...]:
    """What starts a shop's agent."""
    return (agent_program(), "serve", "--config", str(files.config), "--log-format", log_format)


def agent_program() -> str:
    """The installed command beside this Python."""
    return str(Path(sys.executable).with_name("workshed-agent"))


def write_shop(shop: TwinShop, files: ShopFiles, *, broker_port: int, password_file: Path) -> None:
    """Write what an owner would: the shop's file, its rules, a token for its page."""
    files.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    token = files.folder / "agent.token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_urlsafe(24) + "\n", encoding="ascii")
    policy = files.folder / "policy.toml"
    policy.write_text(shop.policy, encoding="utf-8")
    policy.chmod(0o600)
    lines = [
        *_pairs({"shop": shop.shop, "agent": shop.agent, "ring": "neighbourhood", "data_dir": "data"}),
        *_pairs({"policy": "policy.toml"}),
        "[mqtt]",
        *_pairs({"host": "127.0.0.1", "port": broker_port, "username": shop.username}),
        *_pairs({"password_file": str(password_file)}),
        "[http]",
        *_pairs({"listen": f"127.0.0.1:{files.http_port}", "token_file": "agent.token", "public_url": files.url}),
    ]
    for machine in shop.machines:
        lines += ["[[machine]]", *_pairs(_declared(machine, files))]
    files.config.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _declared(machine: TwinMachine, files: ShopFiles) -> dict[str, object]:
    return {
        "id": machine.machine,
        "name": machine.name,
        "process": machine.process,
        "port": str(files.port(machine.machine)),
        "dialect": machine.dialect,
        "model": machine.model,
        "envelope_mm": machine.envelope_mm,
        "materials": machine.materials,
        "tools": machine.tools,
        **machine.limits,
    }


def _pairs(values: Mapping[str, object]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in values.items()]


def _toml(value: object) -> str:
    """TOML of plain values; its basic strings and numbers are written as JSON's are (TOML 1.0)."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(_pairs(value)) + " }"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value)
