"""The bridge of the Marlin family: streams with numbers and checksums, and believes only what the machine confirmed.

Rules and their sources are in `printer_flow` (flow control), `marlin_answers` (what firmwares say) and
`printer_dialect` (what differs). This module joins them to a link and a session.
"""

from __future__ import annotations

import re
from typing import Any, Final, Unpack

from firmware_bridges.bridge import (
    BridgeState,
    Capability,
    Failure,
    MachineConfig,
    Notice,
    NotNow,
    NotSupported,
    Toolpath,
)
from firmware_bridges.marlin_answers import (
    Answer,
    Busy,
    Death,
    Heat,
    LineError,
    Ok,
    Refused,
    Resend,
    Skipped,
    Unknown,
    Waiting,
    read,
)
from firmware_bridges.marlin_hearing import MarlinHearing
from firmware_bridges.marlin_scripts import LONGEST_SILENCE_S
from firmware_bridges.marlin_stops import cancel_lines, hold_lines, resume_lines
from firmware_bridges.modal import Dialect
from firmware_bridges.printer_dialect import DIALECTS, MARLIN, PrinterDialect
from firmware_bridges.printer_flow import PrinterFlow
from firmware_bridges.printer_flow_state import PATIENCE_S
from firmware_bridges.session import Happening
from firmware_bridges.start_at_line import preamble
from firmware_bridges.wire_bridge import Parts

HUNG_S: Final = 10.0
"""Silence from a firmware that reports by itself, with lines in work, before it counts as hung."""


CARD_WITHIN_S: Final = 15.0
POLL_S: Final = 4.0
BREAK_AGAIN_S: Final = 2.0
QUICK_STOP_AFTER_S: Final = 15.0
_FAST_OK: Final = re.compile(r"ok N(\d+) P\d+ B\d+\Z")
"""The answer that comes thousands of times."""


class MarlinBridge(MarlinHearing):
    """One machine that speaks Marlin's protocol or a relative of it."""

    spoken: PrinterDialect | None = None
    """What machines of this class speak; None where the configuration says it."""

    def __init__(self, config: MachineConfig, **parts: Unpack[Parts]) -> None:
        super().__init__(config, **parts)
        self.protocol = self.spoken or DIALECTS.get(config.dialect, MARLIN)
        self.dialect = self.protocol.name
        self.capabilities = self.protocol.capabilities
        self._flow: PrinterFlow | None = None
        self._emergency_parser = False
        self._auto_temperature = self._auto_position = self._auto_card = False
        self._has_card = self._prints_from_card = False
        self._keeps_alive = False
        self._temperatures: tuple[tuple[str, float, float], ...] = ()
        self._planner_free: int | None = None
        self._homed: bool | None = None
        self._resends = 0
        self._heard_at = 0.0
        self._polled_at = 0.0
        self._stop_asked = False
        self._stop_sent: bool | None = True
        """None while the stop is being written."""
        self._cancel_began = 0.0
        self._break_at = 0.0
        self._quick_stopped = False
        self._warned = False
        self._finish_asked = False
        self._preamble: list[str] = []

    # --- requests -----------------------------------------------------------------------------------------------------

    def run(self, toolpath: Toolpath, from_line: int = 1) -> None:
        """Stream `toolpath`; from a later line behind what rebuilds its modal state. Raises NotNow, NotSupported."""
        if from_line > 1:
            self._require(Capability.START_AT_LINE, "start in the middle of a toolpath")
            self._preamble = preamble(toolpath, from_line, self.config.process, Dialect.PRINTER)
        if self._has_card and self.session.allows(Happening.RUN_ASKED):
            self.ask(self._card_script(), CARD_WITHIN_S)  # its last report, if it reports, may be seconds old
        super().run(toolpath, from_line)

    def hold(self) -> None:
        """Stop feeding lines; the machine stands when its buffer is empty, which is confirmed. Beam and spindle off."""
        with self.session.lock:
            self._require(Capability.HOLD, "hold")
            self.session.require(Happening.HOLD_ASKED, "Holding")
            self.session.happen(Happening.HOLD_ASKED)
            flow = self._flow
            if flow is not None:
                flow.paused = True
                for text in hold_lines(self.config.process, flow.memory, self.protocol):
                    flow.insert(text)
                flow.insert(self.protocol.finish[0] if self.protocol.finish else "", "stands")
                self._pump()

    def resume(self) -> None:
        """Go on after a hold: spindle up to speed, then back down, then the next line."""
        with self.session.lock:
            self._require(Capability.RESUME, "resume")
            self.session.require(Happening.RESUME_ASKED, "Resuming")
            if self.session.state is BridgeState.HOLDING:
                raise NotNow("The machine is still coming to a stop: wait until it stands, then resume.")
            self.session.happen(Happening.RESUME_ASKED)
            flow = self._flow
            if flow is not None:
                for text in resume_lines(self.config.process, flow.memory, self.protocol):
                    flow.insert(text)
                flow.paused = False
                self._pump()

    def cancel(self) -> None:
        """End the run: waits broken (M108), heaters, fan, beam and spindle off, and the machine's word for it."""
        with self.session.lock:
            self.session.require(Happening.CANCEL_ASKED, "Cancelling")
            if self.session.state is BridgeState.CANCELLING:
                return
            self.session.happen(Happening.CANCEL_ASKED)
            flow = self._flow
            if flow is None:
                return
            flow.end_toolpath()
            flow.drop_inserts()
            flow.paused = False
            for text in cancel_lines(self.config.process, self.protocol):
                flow.insert(text)
            flow.insert(self.protocol.finish[-1] if self.protocol.finish else "", "off")
            self._cancel_began = self.clock.monotonic()
            self._break_at, self._quick_stopped = 0.0, False
            self._pump()

    def emergency_stop(self) -> None:
        """M112, ahead of every queue. The state follows in the link's thread."""
        stop = self.protocol.emergency
        if not stop:
            self._stop_sent = False
            self._stop_asked = True
            raise NotSupported("This machine has no stop that a cable can carry: use the button on the machine.")
        self._stop_sent = None
        self._stop_sent = self.link.emergency(stop, hush=True)
        self._stop_asked = True  # only now: the link's thread ends the hush when it sees it
        self.link.wake()

    def _stop_bytes(self) -> bytes:
        return self.protocol.emergency

    def _require(self, capability: Capability, what: str) -> None:
        if capability not in self._capabilities():
            raise NotSupported(f"This machine cannot {what}.")

    # --- the run ------------------------------------------------------------------------------------------------------

    def _check_run(self, toolpath: Toolpath, from_line: int) -> None:
        self._check_card("A toolpath cannot start")
        identity = self.session.identity
        caps = dict(identity.settings) if identity is not None else {}
        if (
            self.config.process == "fdm"
            and caps.get("THERMAL_PROTECTION") == "0"
            and self.config.option("without_thermal_protection") != "1"
        ):
            raise NotSupported(
                "This firmware was built without thermal runaway protection: it must not be heated by a host."
                " Flash one with THERMAL_PROTECTION, then try again."
            )

    def _check_home(self) -> None:
        super()._check_home()
        self._check_card("Homing is not possible")

    def _check_card(self, what: str) -> None:
        if self._prints_from_card:
            raise NotNow(
                f"{what}: the machine prints from its own card, which somebody started at the machine."
                " Wait until that print is done, or stop it at the machine."
            )

    def _begin_run(self, toolpath: Toolpath, from_line: int) -> None:
        lines = toolpath.lines(from_line)
        flow = PrinterFlow(self.protocol, lines, first_line=from_line)
        if from_line > 1:
            for text in self._preamble:
                flow.insert(text)
        now = self.clock.monotonic()
        data = flow.begin(now)
        self._flow = flow
        self._finish_asked = self._warned = False
        self._heard_at = now
        self.link.write(data)

    def _pump(self) -> None:
        """Send what may be sent; take over what was confirmed; end the run when it is over."""
        flow = self._flow
        if flow is None:
            return
        now = self.clock.monotonic()
        data = flow.next_bytes(now)
        if data:
            self.link.write(data)
        self._resends = flow.counters.resends
        session = self.session
        if flow.confirmed > session.confirmed_line:
            session.confirm(flow.confirmed, now)
        if flow.done_marks:
            for mark in flow.done_marks:
                self._control_done(mark)
            flow.done_marks.clear()
        if flow.failure is not None:
            failure, why = flow.failure
            session.confirmed_line = flow.confirmed  # may be less than was believed
            self._fail(failure, why, Happening.ENDED, may_be_moving=True)
        elif flow.exhausted and self._flow is flow and not self._finish_asked:
            self._ask_finish(flow)

    def _ask_finish(self, flow: PrinterFlow) -> None:
        if self.session.state is BridgeState.CANCELLING or not flow.idle:
            return
        self._finish_asked = True
        if not self.protocol.finish:
            self._control_done("end")
            return
        for text in self.protocol.finish[:-1]:
            flow.insert(text)
        flow.insert(self.protocol.finish[-1], "end")
        self._pump()

    def _control_done(self, mark: str) -> None:
        session = self.session
        flow = self._flow
        if flow is None:
            return
        if mark == "end" and session.state is not BridgeState.CANCELLING:
            self._flow = None
            run = session.run
            if run is not None:
                session.confirm(run.total_lines, self.clock.monotonic())
            session.finish()
        elif mark == "stands" and session.state is BridgeState.HOLDING:
            session.happen(Happening.STANDS, "held")
        elif mark == "off" and session.state is BridgeState.CANCELLING:
            self._flow = None
            self.start_script(self._verify_off(), self._verified_off)

    def _verified_off(self, trouble: str) -> None:
        if trouble:
            self.session.fail(Failure.MACHINE_HUNG, trouble, Happening.BROKEN)
        else:
            self.session.cancelled()

    def _fail(self, failure: Failure, why: str, into: Happening, *, may_be_moving: bool = False) -> None:
        """End the run. Heaters, beam and spindle go off where the machine still listens."""
        self._flow = None
        if into is Happening.ENDED:
            self._leave_safe()
        self.session.fail(failure, why, into, may_be_moving=may_be_moving)

    def _leave_safe(self) -> None:
        self._flow = None
        words = [b""]
        if self._emergency_parser:
            words.append(b"M108")
        words += [text.encode() for text in self.protocol.heaters_off]
        if self.config.process in ("laser", "cnc"):
            words.append(b"M5")
        self.link.write(b"\n".join(words) + b"\n")

    def _dropped(self) -> None:
        self._flow = None
        self._homed = None

    def _more_status(self) -> dict[str, Any]:
        flow = self._flow
        return {
            "homed": self._homed,
            "temperatures_c": self._temperatures,
            "planner_free_blocks": self._planner_free,
            "resends": flow.counters.resends if flow is not None else self._resends,
        }

    # --- hearing ------------------------------------------------------------------------------------------------------

    def heard(self, data: bytes, now: float) -> None:
        """The hot path: acknowledgements go straight to the flow, and one write answers all that was read."""
        self._heard_at = now
        with self.session.lock:
            pieces = (self._partial + data).split(b"\n")
            self._partial = pieces.pop()[-4096:]
            for piece in pieces:
                text = piece.decode("latin-1").rstrip("\r")
                flow = self._flow
                if flow is not None and self._dialogue is None and (fast := _FAST_OK.match(text)):
                    flow.advanced = flow.echoes_number = True
                    flow.acknowledged(int(fast[1]), now)
                    continue
                self._received(text, now)
                if self._dialogue is not None:
                    self._dialogue.line(text, now)
            if self._flow is not None:
                self._pump()

    def _received(self, text: str, now: float) -> None:
        answer = read(text)
        if (self._stop_asked or self._stop_sent is None) and isinstance(answer, Death | Refused):
            return  # the stop is known already
        flow = self._flow
        if flow is not None:
            self._to_flow(flow, answer, text, now)
        self._to_people(answer, text)

    def _to_flow(self, flow: PrinterFlow, answer: Answer, text: str, now: float) -> None:
        """What an answer means for the lines in flight."""
        match answer:
            case Ok(warm=True):
                flow.warm_ok(now)
            case Ok(number=None):
                flow.ok(now, slots=answer.planner_free is not None)
            case Ok(number=int(number)):
                flow.acknowledged(number, now)
            case Resend():
                flow.resend(answer.number, now)
                self._warn_of_resends(flow)
            case LineError():
                flow.line_error(answer.last, now)
            case Unknown():
                flow.unknown(answer.command, now)
            case Busy():
                self._keeps_alive = True
                flow.alive(now)
            case Heat(waiting=True):
                flow.alive(now)
            case Skipped():
                flow.skipped(now)
            case Waiting():
                self.link.write(flow.queue_empty(now))
            case Refused():
                self._refuse_line(flow, answer, now)
            case _:
                pass

    def _refuse_line(self, flow: PrinterFlow, answer: Refused, now: float) -> None:
        flow.refused(now)
        line = flow.rejected.line if flow.rejected is not None else flow.confirmed
        into = Happening.LOCKED if self.protocol.refuses_without_ok else Happening.ENDED
        self._fail(Failure.LINE_REJECTED, f"The firmware refused line {line}: {answer.text}", into, may_be_moving=True)

    def _warn_of_resends(self, flow: PrinterFlow) -> None:
        counters = flow.counters
        if not self._warned and counters.sent > 100 and counters.resends > counters.sent / 10:
            self._warned = True
            self.emit(
                Notice(
                    "warning",
                    f"{counters.resends} of {counters.sent} lines were damaged on the way: use a short shielded cable,"
                    " away from motors, and check the machine's grounding.",
                )
            )

    # --- time ---------------------------------------------------------------------------------------------------------

    def _passed(self, now: float) -> None:
        if self._stop_asked:
            self._stopped()
            return
        flow = self._flow
        if flow is None:
            self._poll(now)
            return
        reports = self._keeps_alive or self._auto_temperature
        limit_s = HUNG_S if reports else LONGEST_SILENCE_S
        if now - self._heard_at > limit_s:
            self._fail(
                Failure.MACHINE_HUNG,
                f"The machine has said nothing for {limit_s:.0f} s with lines in work. Look at it and reset it.",
                Happening.BROKEN,
                may_be_moving=True,
            )
            return
        patience_s = PATIENCE_S if self._keeps_alive else LONGEST_SILENCE_S if reports is False else 30.0
        data = flow.tick(now, patience_s)
        if data:
            self.link.write(data)
        if self.session.state is BridgeState.CANCELLING:
            self._press_cancel(flow, now)
        elif not self._auto_temperature and self.protocol.question and now - self._polled_at > POLL_S:
            self._polled_at = now
            flow.insert(self.protocol.question)
        self._pump()

    def _press_cancel(self, flow: PrinterFlow, now: float) -> None:
        """Break waits again and again: each line in the queue may be a wait of its own."""
        if not self._emergency_parser:
            return
        if now - self._break_at > BREAK_AGAIN_S:
            self._break_at = now
            self.link.write(flow.force("M108"))
        if not self._quick_stopped and now - self._cancel_began > QUICK_STOP_AFTER_S:
            self._quick_stopped = True
            self._homed = False
            self.link.write(flow.force("M410"))

    def _poll(self, now: float) -> None:
        polling = not self._auto_temperature and bool(self.protocol.question) and self._dialogue is None
        if polling and self.session.state is BridgeState.IDLE and now - self._polled_at > POLL_S:
            self._polled_at = now
            self.link.write(self.protocol.question.encode() + b"\n")

    def _stopped(self) -> None:
        """After `emergency_stop`: the run is over whatever the machine says."""
        self._stop_asked = False
        self._flow = None
        self._homed = None
        why = "Emergency stop. The machine needs a reset with a person beside it."
        if not self._stop_sent:
            why = "Emergency stop, but the port did not take all of the stop: use the machine's own button NOW."
        self.session.fail(Failure.EMERGENCY_STOP, why, Happening.BROKEN, may_be_moving=not self._stop_sent)
        self.link.speak_again()
