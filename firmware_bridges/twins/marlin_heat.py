"""How Marlin watches its heaters (src/module/temperature.cpp; periods as in the default Configuration_adv.h)."""

from __future__ import annotations

from typing import Final

from firmware_bridges.twins.physics import Heater

WATCH_RISE_C: Final = 2.0
WATCH_S: Final = {"E0": 40.0, "bed": 60.0}
RUNAWAY_S: Final = {"E0": 40.0, "bed": 20.0}
RUNAWAY_BELOW_C: Final = {"E0": 4.0, "bed": 2.0}
COLDEST_SENSOR_C: Final = 5.0


class Guard:
    """Marlin's two thermal watches over one heater (temperature.cpp: watch and thermal runaway protection)."""

    def __init__(self) -> None:
        self._target = 0.0
        self._reached = False
        self._next_c = 0.0
        self._next_at = 0.0
        self._low_since: float | None = None

    def trip(self, heater: Heater, now: float) -> str:
        """ "" or the text of the failure."""
        at, name = heater.reading_c(), heater.name
        if at < COLDEST_SENSOR_C:
            return "MINTEMP triggered"
        if at > heater.most_c:
            return "MAXTEMP triggered"
        if heater.target_c != self._target:
            self._target, self._reached, self._low_since = heater.target_c, False, None
            self._next_c, self._next_at = at + WATCH_RISE_C, now + WATCH_S[name]
        if not self._target:
            return ""
        if at >= self._target - RUNAWAY_BELOW_C[name]:
            self._reached, self._low_since = True, None
        elif not self._reached:
            if at >= self._next_c:
                self._next_c, self._next_at = at + WATCH_RISE_C, now + WATCH_S[name]
            elif now >= self._next_at:
                return "Heating failed"
        elif self._low_since is None:
            self._low_since = now
        elif now - self._low_since >= RUNAWAY_S[name]:
            return "Thermal Runaway"
        return ""
