"""Inputs around a machine (door, extraction, chiller, flame) and power permission, read through small adapters.

An adapter answers True (good), False (open) or None (not known); the gates take None for shut.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from agents.config import AgentConfig, InterlockInput, MachineSettings
from agents.section import ConfigError

_log = logging.getLogger(__name__)


class Interlocks(Protocol):
    """Whatever the inputs are wired to."""

    def good(self, machine: str, interlock: InterlockInput) -> bool | None:
        """True: closed and good. False: open. None: it cannot be told."""


class NoInterlocks:
    """Nothing is wired: whatever is declared cannot be told."""

    def good(self, machine: str, interlock: InterlockInput) -> bool | None:
        """Never known."""
        return None


class FileInterlocks:
    """One file a machine and input, `FOLDER/MACHINE.INPUT`, that reads `closed` or `open`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def good(self, machine: str, interlock: InterlockInput) -> bool | None:
        """True for `closed`, False for `open`, None for a file that is absent or says anything else."""
        return _word(self._folder / f"{machine}.{interlock.name}", yes="closed", no="open")


class GpioInterlocks:
    """Inputs on GPIO lines through libgpiod's Python binding, version 2 (`gpiod`; Debian 12 packages version 1).

    Source: https://libgpiod.readthedocs.io, `gpiod.request_lines`. Every line is pulled to the level that means open,
    as a broken wire then does: up where a closed input connects it to ground (`active_low = true`), else down.
    """

    def __init__(self, chip: str, inputs: Iterable[InterlockInput]) -> None:
        """Raises ConfigError when the binding is not installed or a line cannot be had."""
        inputs = tuple(inputs)
        self._unread: set[int] = set()
        pins = {item.pin: item.active_low for item in inputs if item.pin is not None}  # machines may share a lid
        if any(item.pin is not None and pins[item.pin] is not item.active_low for item in inputs):
            raise ConfigError("[interlocks] one pin cannot be closed both high and low: see `active_low` of its inputs")
        try:
            gpiod: Any = importlib.import_module("gpiod")
            line: Any = importlib.import_module("gpiod.line")
            wiring = {
                pin: gpiod.LineSettings(
                    direction=line.Direction.INPUT, bias=line.Bias.PULL_UP if low else line.Bias.PULL_DOWN
                )
                for pin, low in pins.items()
            }
            self._active = line.Value.ACTIVE
            self._request: Any = gpiod.request_lines(chip, consumer="workshed-agent", config=wiring)
        except (ImportError, AttributeError) as error:  # version 1 has neither gpiod.line nor LineSettings
            why = "[interlocks] adapter = gpio needs libgpiod's binding, version 2: pip install 'gpiod>=2.1'"
            raise ConfigError(why) from error
        except (OSError, ValueError) as error:
            raise ConfigError(f"[interlocks] the lines {sorted(pins)} of {chip} cannot be read: {error}") from error

    def good(self, machine: str, interlock: InterlockInput) -> bool | None:
        """The line's level, turned round where active_low; None when it cannot be read."""
        if interlock.pin is None:
            return None
        try:
            active = bool(self._request.get_value(interlock.pin) == self._active)
        except Exception as error:  # noqa: BLE001 - the binding has errors of its own; unread is open, never unwatched
            if interlock.pin not in self._unread:
                _log.error("interlock %s of %s cannot be read: %s", interlock.name, machine, error)
            self._unread.add(interlock.pin)
            return None
        self._unread.discard(interlock.pin)
        return active is not interlock.active_low


def open_interlocks(config: AgentConfig) -> Interlocks:
    """The adapter that the shop's file names. Raises ConfigError."""
    if config.interlock_adapter == "file" and config.interlock_path is not None:
        return FileInterlocks(config.interlock_path)
    if config.interlock_adapter == "gpio":
        inputs = [item for machine in config.machines for item in machine.interlocks]
        return GpioInterlocks(config.gpio_chip, inputs)
    return NoInterlocks()


def power_permitted(machine: MachineSettings) -> bool | None:
    """Whether the machine may draw power now; True where nothing outside decides, None where it cannot be told."""
    return True if machine.power_file is None else _word(machine.power_file, yes="on", no="off")


def _word(path: Path, *, yes: str, no: str) -> bool | None:
    try:
        word = path.read_text(encoding="ascii", errors="replace").strip().casefold()
    except OSError:
        return None
    return {yes: True, no: False}.get(word)
