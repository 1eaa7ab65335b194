"""Who stands at a machine that people drive: reads the card, does the step, confirms it; stops when asked to."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, Final

from firmware_bridges.bridge import NotNow
from firmware_bridges.manual import ManualBridge

STEP_S: Final = 0.1


class Handwork:
    """What was really done at the machine."""

    def __init__(self) -> None:
        self.executed: list[str] = []
        self.works = False


class PersonHost:
    """In the place of a `TwinHost`: the machine has no port, a person `attends` its bridge."""

    port = ""

    def __init__(self, twin: Handwork, *, speed: float = 1.0) -> None:
        self.twin = twin
        self.speed = speed
        self._did: tuple[int, str] | None = None
        self._gone = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> PersonHost:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gone.set()
        if self._thread is not None:
            self._thread.join(5.0)

    def attend(self, bridge: ManualBridge) -> None:
        """Stand at the machine from now on."""
        self._thread = threading.Thread(target=self._stand, args=(bridge,), name="person", daemon=True)
        self._thread.start()

    def set_speed(self, speed: float) -> None:
        """How fast the hands are."""
        self.speed = speed

    def state(self) -> dict[str, Any]:
        """In the words of a twin: steps done as position, a machine at work as spindle and planner."""
        works = int(self.twin.works)
        return {"position": [len(self.twin.executed)], "spindle": works, "planner": works}

    def _stand(self, bridge: ManualBridge) -> None:
        while not self._gone.wait(STEP_S / self.speed):
            card = bridge.card()
            try:
                if card.asked:
                    self.twin.works = False
                    bridge.confirm_standing()
                elif card.line:
                    self._do(bridge, (card.line, card.step))
                else:
                    self._did = None
            except NotNow:
                continue  # asked to stop in the middle of a step: the card says what to do now

    def _do(self, bridge: ManualBridge, step: tuple[int, str]) -> None:
        """A step that was done while a hold came is confirmed later, not done twice."""
        if self._did != step:
            self.twin.works = True
            self._gone.wait(STEP_S / self.speed)
            self.twin.executed.append(step[1])
            self._did = step
            self.twin.works = False
        bridge.confirm_step(step[0])
