"""What a printer's words mean for the session and for people: heat, death, resets, host actions, runout."""

from __future__ import annotations

from firmware_bridges.bridge import (
    BridgeState,
    Failure,
    Notice,
    Temperatures,
)
from firmware_bridges.marlin_answers import (
    Answer,
    Busy,
    Card,
    Death,
    Heat,
    HostAction,
    LineError,
    Ok,
    Refused,
    Runout,
    Started,
    Unclear,
    Unknown,
    Where,
    heat,
)
from firmware_bridges.marlin_scripts import MarlinScripts
from firmware_bridges.printer_flow import PrinterFlow
from firmware_bridges.session import Happening


class MarlinHearing(MarlinScripts):
    """The listening side, apart from flow control."""

    _flow: PrinterFlow | None
    _temperatures: tuple[tuple[str, float, float], ...]

    def _to_people(self, answer: Answer, text: str) -> None:
        """What an answer means for the session and for people."""
        session = self.session
        match answer:
            case Heat():
                self._take_heat(answer.readings_c)
            case Ok(warm=True):
                self._take_heat(heat(text))
            case Ok(halted=True):
                self._die(Death(Failure.FIRMWARE_KILLED, text))
            case Where():
                session.position = answer.position
            case Card():
                self._card(answer)
            case Death():
                self._die(answer)
            case Started():
                self._restarted(text)
            case HostAction():
                self._host_action(answer)
            case Runout():
                self._runout(answer)
            case LineError() | Refused():
                self.emit(Notice("warning", text))
            case Unknown():
                self.emit(Notice("info", f"The firmware does not know {answer.command!r}."))
            case Busy(reason) if reason.startswith("paused"):
                self.emit(Notice("info", f"The machine waits: {reason}."))
            case Unclear() if session.state in (BridgeState.RUNNING, BridgeState.STARTING):
                self.emit(Notice("debug", text))
            case _:
                pass

    def _take_heat(self, readings: tuple[tuple[str, float, float], ...]) -> None:
        if readings:
            self._temperatures = readings
            self.emit(Temperatures(readings))

    def _die(self, death: Death) -> None:
        thermal = self.session.state is BridgeState.FAULT
        if thermal:
            return
        self._flow = None
        self.link.forget_unsent()
        self.session.fail(death.failure, f"The firmware stopped itself: {death.text.strip()}", Happening.BROKEN)
        self._homed = None

    def _restarted(self, text: str) -> None:
        asked = self._dialogue is not None and self.session.state is not BridgeState.IDLE
        if self.session.identity is None or asked:  # re-arming and being asked who it is may end with a greeting
            return
        self._flow = None
        self._homed = None
        self._prints_from_card = False
        self.link.forget_unsent()
        self.session.fail(
            Failure.CONTROLLER_RESET,
            f"The controller started anew ({text.strip()[-60:]}): its position is lost and its heaters are off."
            " Look at the machine, then re-arm it.",
            Happening.RESET,
        )

    def _card(self, card: Card) -> None:
        """Somebody at the machine started a file from its card, or that file has ended."""
        if card.printing and not self._prints_from_card:
            meanwhile = ", while a toolpath is running: look at the machine now" if self.session.busy else ""
            self.emit(Notice("warning", f"Somebody started a print from the card at the machine{meanwhile}."))
        self._prints_from_card = card.printing

    def _host_action(self, action: HostAction) -> None:
        """Marlin's HOST_ACTION_COMMANDS (src/feature/host_actions.cpp)."""
        state = self.session.state
        if action.name in ("pause", "paused") and state in (BridgeState.STARTING, BridgeState.RUNNING):
            self.hold()
        elif action.name in ("resume", "resumed") and state is BridgeState.HELD:
            self.resume()
        elif action.name == "cancel" and self.session.busy:
            self.cancel()
        elif action.name != "prompt_end":
            self.emit(Notice("info", f"{action.name} {action.text}".strip()))

    def _runout(self, runout: Runout) -> None:
        self.emit(Notice("error", f"Out of filament: {runout.text}"))
        if self.session.state in (BridgeState.STARTING, BridgeState.RUNNING):
            self.hold()
