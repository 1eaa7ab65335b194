"""The people of a town of real processes: they look before they say anything, and say only what is true."""

from __future__ import annotations

import contextlib
import urllib.error
from typing import TYPE_CHECKING, Any, Final

import httpx

from firmware_bridges.bridge import BLOCKED_STATES
from tests.faults import watching

if TYPE_CHECKING:
    from tests.faults.towns import Town

_PRESENT_S: Final = 3.0
_LOOKS_EVERY_S: Final = 1.0
#: What is really on the machines: whoever is asked says so again.
_ON_IT: Final = {
    "m1": {"material": "PLA", "remaining_g": 900},
    "l1": {"material": "plywood", "thickness_mm": 3.0, "width_mm": 300, "height_mm": 200},
}
#: Whoever sees one of these on the shop's page knows that the attempt is not lost.
_MADE_OR_HELD: Final = {
    "leased", "staged", "ready", "intended", "starting", "running", "held", "finished", "inspected",
}  # fmt: skip


class People:
    """Whoever stands in the shop, and whoever looks after the network. They say only what is true."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self.at_the_machines = True
        """Whether anybody re-arms and clears; nobody does while a fault lasts."""
        self.beside_the_laser = False
        self.rearmed: dict[str, list[float]] = {"m1": [], "l1": []}
        self.cleared: list[float] = []
        self.decided: set[str] = set()
        """Jobs about which somebody decided after looking: making one again is that person's word."""
        self._looked = 0.0
        self.left_at = 0.0

    def leave_laser(self) -> None:
        """Whoever was beside the laser goes; the last heartbeat ends now."""
        self.beside_the_laser = False
        self._say("/api/presence", for_s=0, machines=["l1"])
        self.left_at = watching.now()

    def act(self, job: str) -> None:
        """One turn: present, re-arm, clear, confirm, inspect."""
        with contextlib.suppress(urllib.error.URLError, OSError, StopIteration, ValueError):
            state = self._town.agent.get("/api/state")
            for machine in state["machines"]:
                self._beside(machine, job)

    def _beside(self, machine: dict[str, Any], job: str) -> None:
        name, mine = machine["machine"], [one for one in machine["jobs"] if one["job"] == job]
        attended = name == "l1"
        if attended and self.beside_the_laser:
            self._say("/api/presence", for_s=_PRESENT_S, machines=[name])
        if not self.at_the_machines or (attended and not self.beside_the_laser):
            return
        if machine["disarmed"] or machine["bridge_state"] in BLOCKED_STATES:
            self.rearmed[name].append(watching.now())
            if not self._say(f"/api/machines/{name}/rearm"):
                self.rearmed[name].pop()
            return
        if not machine["description"].get("materials"):
            self._say(f"/api/machines/{name}/material", materials=[_ON_IT[name]])
        if machine["bridge_state"] == "held":
            self._say(f"/api/machines/{name}/resume")
        for lease in mine:
            if lease["state"] == "finished":
                self._say(f"/api/jobs/{job}/inspect", good=lease["pieces"], rejected=0)
            elif lease["state"] in {"staged", "ready"}:
                if lease["work_card"] and not lease["card_confirmed"]:
                    self._say(f"/api/jobs/{job}/work-card-confirmed")
                # Whoever clears the bed looks at the page first: what it waits for must have been told.
                waits = not machine["bed_clear"] and machine.get("gates")
                if waits and self._say(f"/api/machines/{name}/bed-clear"):
                    self.cleared.append(watching.now())

    def _say(self, path: str, **body: Any) -> bool:
        try:
            self._town.agent.post(path, **body)
        except urllib.error.HTTPError as error:
            error.close()
            return False
        return True

    def look_after(self, job: str) -> None:
        """Where the scheduler needs a person: an attempt that failed, a doubt, a part that its agent forgot."""
        town, events = self._town, self._town.events(job)
        view = town.page(job).get("job", {})
        state, flag = view.get("state", ""), view.get("flag", "")
        if watching.now() - self._looked < _LOOKS_EVERY_S or not events or state in {"", "inspected"}:
            return
        self._looked = watching.now()
        leases = {one for one, _ in town.lease_states(job)}
        last = next(kind for kind, _ in reversed(events) if kind != "late_word")
        with contextlib.suppress(httpx.HTTPError):
            if state == "finished" and "finished" not in leases:
                body = {"good": 1, "rejected": 0, "note": "the agent forgot it"}
                town.client.post(f"/api/v1/jobs/{job}/inspect", json=body)
            elif flag and not leases & _MADE_OR_HELD and state in {"starting", "running", "held"}:
                self.decided.add(job)
                town.client.post(f"/api/v1/jobs/{job}/declare-lost", json={"why": "looked at it"})
            elif state in {"waiting", "failed"} and (flag or last in {"failed", "retried", "declined"}):
                if flag:
                    self.decided.add(job)
                for machine in ("m1", "l1"):
                    town.client.post(f"/api/v1/machines/alder.pi1.{machine}/release")
                town.client.post(f"/api/v1/jobs/{job}/release")
