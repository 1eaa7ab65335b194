"""The shop's own file (TOML): who we are, where the broker is, which machines stand here.

Every value is checked where it is read; paths are relative to the file.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from agents.contract.messages import LoadedMaterial, MachineDescription, Tool
from agents.contract.vocabulary import Process, Ring
from agents.section import ConfigError, Section, read_toml
from firmware_bridges.bridge import MachineConfig

#: A trained person must stand beside these from start to end, whatever the owner's file says.
ATTENDED_PROCESSES: Final = frozenset({Process.LASER, Process.CNC})
#: As `[mqtt] host`: found by multicast DNS.
ON_LOCAL_NETWORK: Final = "mdns"


class OnOpen(StrEnum):
    """What an interlock that opens during a run causes."""

    HOLD = "hold"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class InterlockInput:
    """One declared input: a door, an extraction fan, a chiller, a flame sensor. `pin` is for GPIO only."""

    name: str
    pin: int | None = None
    active_low: bool = False
    on_open: OnOpen = OnOpen.HOLD


@dataclass(frozen=True, slots=True)
class MachineSettings:
    """One machine: what the network may know (`description`), what the bridge needs, and its own gates."""

    description: MachineDescription
    bridge: MachineConfig
    envelope_min_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    requires_homing: bool = False
    interlocks: tuple[InterlockInput, ...] = ()
    power_file: Path | None = None
    """Power permission from outside: the machine may start while this file reads `on`."""

    @property
    def name(self) -> str:
        """The machine's identifier."""
        return self.description.machine


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """The broker; an empty host means: no broker, this shop works alone; `mdns`: look for one on the local network."""

    host: str = ""
    port: int = 1883
    username: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    ca_file: Path | None = None
    keepalive_s: int = 15
    reconnect_s: float = 30.0
    """Longest pause between attempts to reach the broker again."""


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """The local page and API."""

    host: str = "127.0.0.1"
    port: int = 8701
    token_file: Path = Path("agent.token")
    public_url: str = ""


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Toolpaths kept on disk."""

    space_bytes: int = 2_000_000_000
    largest_bytes: int = 500_000_000
    parallel: int = 2
    timeout_s: float = 20.0


@dataclass(frozen=True, slots=True)
class BoardSettings:
    """Work without a scheduler: what this shop does while it is away."""

    pull: bool = True
    """Ask for open jobs on the board."""
    volunteers: bool = False
    """Be the home of jobs that came in elsewhere too."""
    patience_s: float = 30.0
    """How long a scheduler may be away before anything is done without it."""


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """A further network that this shop's machines also serve: its broker, and whose messages are heard there."""

    name: str
    mqtt: MqttSettings
    schedulers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """The whole file."""

    shop: str
    agent: str
    ring: Ring
    data_dir: Path
    policy: Path | None
    mqtt: MqttSettings
    http: HttpSettings
    cache: CacheSettings
    machines: tuple[MachineSettings, ...]
    schedulers: tuple[str, ...] = ()
    """Whose messages are heard; empty hears every scheduler that the broker's access list lets through."""
    interlock_adapter: str = "none"
    interlock_path: Path | None = None
    gpio_chip: str = "/dev/gpiochip0"
    telemetry_every_s: float = 0.0
    """0 keeps telemetry in the shop."""
    board: BoardSettings = BoardSettings()
    networks: tuple[NetworkSettings, ...] = ()
    left_alone: tuple[str, ...] = ()
    """Machines of the shop that this process does not drive: `run` drives one."""

    @property
    def machine_names(self) -> tuple[str, ...]:
        """All machines that stand in this shop."""
        return (*(machine.name for machine in self.machines), *self.left_alone)

    @property
    def sender(self) -> str:
        """The sender of every envelope from here."""
        return f"agent/{self.shop}/{self.agent}"

    def machine(self, name: str) -> MachineSettings:
        """A machine by its identifier. Raises ConfigError for an unknown one."""
        for machine in self.machines:
            if machine.name == name:
                return machine
        known = ", ".join(machine.name for machine in self.machines) or "none"
        raise ConfigError(f"there is no machine {name!r} in this shop; known are {known}")


def load(path: Path) -> AgentConfig:
    """Read and check the file. Raises ConfigError with the first thing that is wrong."""
    root = read_toml(path)
    here = path.resolve().parent
    interlocks = root.table("interlocks")
    telemetry = root.table("telemetry")
    adapter = interlocks.text("adapter", "none")
    if adapter not in {"none", "file", "gpio"}:
        raise interlocks.wrong("adapter", "one of none, file, gpio")
    config = AgentConfig(
        shop=root.identifier("shop"),
        agent=root.identifier("agent"),
        ring=root.choice("ring", Ring, Ring.NEIGHBOURHOOD),
        data_dir=here / root.text("data_dir", "data"),
        policy=here / root.text("policy") if root.has("policy") else None,
        schedulers=root.texts("schedulers", ()),
        mqtt=_mqtt(root.table("mqtt"), here),
        http=_http(root.table("http"), here),
        cache=_cache(root.table("toolpaths")),
        machines=tuple(_machine(section, here) for section in root.tables("machine")),
        interlock_adapter=adapter,
        interlock_path=here / interlocks.text("path") if interlocks.has("path") else None,
        gpio_chip=interlocks.text("chip", "/dev/gpiochip0"),
        telemetry_every_s=telemetry.number("every_s", 0.0, minval=0.0),
        board=_board(root.table("board")),
        networks=tuple(_network(section, here) for section in root.tables("network")),
    )
    for section in (interlocks, telemetry, root):
        section.done()
    _check_whole(config, path)
    return config


def _check_whole(config: AgentConfig, path: Path) -> None:
    names = [machine.name for machine in config.machines]
    if not names:
        raise ConfigError(f"{path}: no [[machine]] is declared; an agent needs at least one")
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{path}: two machines are called {name!r}; each needs its own id")
    at_port: dict[str, str] = {}
    for machine in config.machines:
        port = machine.bridge.port and os.path.realpath(machine.bridge.port)
        if port and at_port.setdefault(port, machine.name) != machine.name:
            raise ConfigError(f"{path}: {at_port[port]} and {machine.name} are both at {port}; a port has one machine")
    brokers = [(mqtt.host, mqtt.port) for mqtt in (config.mqtt, *(one.mqtt for one in config.networks)) if mqtt.host]
    labels = [one.name for one in config.networks]
    if len(set(brokers)) < len(brokers) or len(set(labels)) < len(labels) or len(brokers) < len(labels):
        raise ConfigError(f"{path}: every [[network]] needs a name and a broker (host, port) of its own")
    declared = any(machine.interlocks for machine in config.machines)
    if declared and config.interlock_adapter == "none":
        raise ConfigError(f"{path}: machines declare interlocks, but [interlocks] adapter is none; set file or gpio")
    if config.interlock_adapter == "file" and config.interlock_path is None:
        raise ConfigError(f"{path}: [interlocks] adapter = file needs a `path`")


def _mqtt(section: Section, here: Path) -> MqttSettings:
    password = section.text("password", "")
    if section.has("password_file"):
        password = _secret(here / section.text("password_file"))
    settings = MqttSettings(
        host=section.text("host", ""),
        port=section.whole("port", 1883, minval=1, maxval=65535),
        username=section.text("username", ""),
        password=password,
        tls=section.flag("tls", False),
        ca_file=here / section.text("ca_file") if section.has("ca_file") else None,
        keepalive_s=section.whole("keepalive_s", 15, minval=5, maxval=1200),
        reconnect_s=section.number("reconnect_s", 30.0, minval=0.2, maxval=600.0),
    )
    if settings.host == ON_LOCAL_NETWORK and settings.password and not settings.tls:
        # Anybody can announce a broker; only a certificate shows that it is the one the password is meant for.
        raise section.wrong("host", "the broker's address, or `mdns` with tls = true: a password goes to no stranger")
    section.done()
    return settings


def _secret(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        if mode & stat.S_IROTH:
            raise ConfigError(f"{path} can be read by everybody; run `chmod 600 {path}` first")
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"the secret file {path} cannot be read: {error.strerror}") from error


def _http(section: Section, here: Path) -> HttpSettings:
    listen = section.text("listen", "127.0.0.1:8701")
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise section.wrong("listen", "host:port, as in 127.0.0.1:8701")
    settings = HttpSettings(
        host=host.strip("[]"),
        port=int(port),
        token_file=here / section.text("token_file", "agent.token"),
        public_url=section.text("public_url", ""),
    )
    section.done()
    return settings


def _network(section: Section, here: Path) -> NetworkSettings:
    name, schedulers = section.identifier("name"), section.texts("schedulers", ())
    return NetworkSettings(name, _mqtt(section, here), schedulers)


def _board(section: Section) -> BoardSettings:
    settings = BoardSettings(
        pull=section.flag("pull", True),
        volunteers=section.flag("volunteers", False),
        patience_s=section.number("patience_s", 30.0, minval=1.0, maxval=3600.0),
    )
    section.done()
    return settings


def _cache(section: Section) -> CacheSettings:
    settings = CacheSettings(
        space_bytes=section.whole("space_mb", 2000, minval=1) * 1_000_000,
        largest_bytes=section.whole("largest_mb", 500, minval=1) * 1_000_000,
        parallel=section.whole("parallel", 2, minval=1, maxval=16),
        timeout_s=section.number("timeout_s", 20.0, above=0.0),
    )
    section.done()
    return settings


def _machine(section: Section, here: Path) -> MachineSettings:
    process = section.choice("process", Process)
    envelope_mm = section.triple("envelope_mm")
    if min(envelope_mm) < 0 or min(envelope_mm[:2]) == 0:
        raise section.wrong("envelope_mm", "travel above 0 in x and y, and not below 0 in z")
    attended_default = process in ATTENDED_PROCESSES
    if process in ATTENDED_PROCESSES and not section.flag("attended", True):
        raise section.wrong("attended", f"true (or absent): a {process} runs only beside a trained person")
    name = section.identifier("id")
    description = MachineDescription(
        machine=name,
        name=section.text("name", name),
        process=process,
        dialect=section.text("dialect"),
        model=section.text("model"),
        envelope_mm=envelope_mm,
        materials=tuple(loaded_material(item) for item in section.tables("materials")),
        tools=tuple(_tool(item) for item in section.tables("tools")),
        attended=section.flag("attended", attended_default),
        max_feed_mm_min=section.optional_number("max_feed_mm_min"),
        accel_mm_s2=section.optional_number("accel_mm_s2"),
        spindle_max_rpm=section.optional_number("spindle_max_rpm"),
        laser_power_w=section.optional_number("laser_power_w"),
        power_w=section.optional_number("power_w"),
        circuit=section.text("circuit", ""),
        circuit_limit_w=section.optional_number("circuit_limit_w"),
        loadable=tuple(loaded_material(item) for item in section.tables("loadable")),
        load_min=_minutes(section, "load_min"),
        unload_min=_minutes(section, "unload_min"),
    )
    bridge = MachineConfig(
        port=section.text("port", "") if description.dialect == "manual" else section.text("port"),
        dialect=description.dialect,
        baud=section.whole("baud", 115200, minval=300),
        fingerprint=section.text("fingerprint", ""),
        process=process.value,
        envelope_mm=envelope_mm,
        options=section.scalars("options"),
    )
    # A router cuts below the face of its stock, which is the work origin in z; a printer and a laser never go below 0.
    lowest_mm = (0.0, 0.0, -envelope_mm[2] if process is Process.CNC else 0.0)
    settings = MachineSettings(
        description=description,
        bridge=bridge,
        envelope_min_mm=section.triple("envelope_min_mm", lowest_mm),
        requires_homing=section.flag("requires_homing", process in ATTENDED_PROCESSES),
        interlocks=tuple(_interlock(item) for item in section.tables("interlocks")),
        power_file=here / section.text("power_file") if section.has("power_file") else None,
    )
    section.done()
    return settings


def _minutes(section: Section, key: str) -> float | None:
    """Minutes of somebody's time; None where nobody said."""
    return section.number(key, 0.0, minval=0.0, maxval=1440.0) if section.has(key) else None


def loaded_material(section: Section) -> LoadedMaterial:
    """One loaded spool, sheet or stock; also used for what the operator says over the local API."""
    material = LoadedMaterial(
        material=section.text("material"),
        colour=section.text("colour", ""),
        thickness_mm=section.optional_number("thickness_mm"),
        remaining_g=section.optional_number("remaining_g"),
        width_mm=section.optional_number("width_mm"),
        height_mm=section.optional_number("height_mm"),
    )
    section.done()
    return material


def _tool(section: Section) -> Tool:
    tool = Tool(
        number=section.whole("number"),
        kind=section.text("kind"),
        diameter_mm=section.number("diameter_mm", minval=0.0),
        flutes=section.whole("flutes", 2, minval=1, maxval=12),
        angle_deg=section.optional_number("angle_deg"),
    )
    section.done()
    return tool


def _interlock(section: Section) -> InterlockInput:
    interlock = InterlockInput(
        name=section.identifier("name"),
        pin=section.whole("pin") if section.has("pin") else None,
        active_low=section.flag("active_low", False),
        on_open=section.choice("on_open", OnOpen, OnOpen.HOLD),
    )
    section.done()
    return interlock
