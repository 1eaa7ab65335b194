"""Which dialects there are, and the bridge for each: modules are imported when a machine needs them."""

from __future__ import annotations

import importlib
from typing import Final, cast

from firmware_bridges.bridge import Bridge, Clock, MachineConfig, NotSupported

#: Dialect → (module, class). Each class takes (config, *, clock=None).
DIALECTS: Final = {
    "marlin": ("firmware_bridges.marlin", "MarlinBridge"),
    "prusa": ("firmware_bridges.marlin", "MarlinBridge"),
    "klipper": ("firmware_bridges.klipper", "KlipperBridge"),
    "smoothie": ("firmware_bridges.smoothie", "SmoothieBridge"),
    "reprapfirmware": ("firmware_bridges.reprapfirmware", "RepRapFirmwareBridge"),
    "repetier": ("firmware_bridges.repetier", "RepetierBridge"),
    "acknowledge-only": ("firmware_bridges.acknowledge_only", "AcknowledgeOnlyBridge"),
    "grbl": ("firmware_bridges.grbl", "GrblBridge"),
    "grblhal": ("firmware_bridges.grbl", "GrblBridge"),
    "fluidnc": ("firmware_bridges.grbl", "GrblBridge"),
    "ruida": ("firmware_bridges.ruida", "RuidaBridge"),
    "manual": ("firmware_bridges.manual", "ManualBridge"),
}


def open_bridge(config: MachineConfig, *, clock: Clock | None = None) -> Bridge:
    """The bridge for a machine, not connected yet. Raises NotSupported for a dialect that nobody here speaks."""
    found = DIALECTS.get(config.dialect)
    if found is None:
        raise NotSupported(
            f"No bridge speaks {config.dialect!r}. Dialects: {', '.join(DIALECTS)}. Correct `dialect` for the machine"
            f" on {config.port}, or run detect."
        )
    module, name = found
    return cast("Bridge", getattr(importlib.import_module(module), name)(config, clock=clock))
