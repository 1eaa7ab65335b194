"""One run of one toolpath through a GRBL controller: stream, watch, hold, resume, stop, end.

Called under the session's lock by `grbl.GrblBridge`, which owns the port and hears the lines. The rules: a hold is held
only when beam and spindle are reported off; a spindle that a hold stopped turns again before anything moves; any doubt
ends the run with a hold, a reset and a truthful failure; the end is Idle, everything acknowledged, and the right place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from firmware_bridges.bridge import BridgeState, Event, Failure, Notice
from firmware_bridges.grbl_codes import NOT_THE_CABLE, error_text
from firmware_bridges.grbl_lines import Report
from firmware_bridges.grbl_stop import Stopping
from firmware_bridges.grbl_stream import Stream
from firmware_bridges.session import Happening, Session

RESUME: Final = b"~"
HOLD: Final = b"!"
STATUS: Final = b"?"
RESET: Final = b"\x18"
SPINDLE_STOP: Final = b"\x9e"
BEAM_OFF: Final = b"M5S0\n"
STALL_S: Final = 3.0
SETTLE_S: Final = 0.05
END_MISMATCH_S: Final = 0.5
SPINDLE_OFF_WITHIN_S: Final = 1.5
BEAM_OFF_WITHIN_S: Final = 0.25


class Wire(Protocol):
    """What a run may do with the port (`link.Link` is one)."""

    def write(self, data: bytes) -> None:
        """Queue bytes."""

    def interject(self, data: bytes) -> None:
        """Real-time bytes, ahead of the queue."""

    def emergency(self, data: bytes) -> bool:
        """Ahead of everything; all that is queued is thrown away."""

    def forget_unsent(self) -> None:
        """Drop what is queued."""


@dataclass(frozen=True, slots=True)
class RunRules:
    """What the machine's owner and kind ask of a run."""

    firmware: str = "grbl"
    laser: bool = False
    spin_up_s: float = 4.0
    rehearsal: bool = False
    """Check mode: nothing moves, nothing is confirmed, every line is tried."""


class GrblRun:
    """See the module. `over` once the run has left the machine; then it must be dropped."""

    def __init__(
        self,
        wire: Wire,
        session: Session,
        stream: Stream,
        rules: RunRules,
        now: float,
        *,
        lost_position: Callable[[], None],
        rehearsed: Callable[[], None] | None = None,
    ) -> None:
        self._wire = wire
        self._session = session
        self.stream = stream
        self._rules = rules
        self._lost_position = lost_position
        self._rehearsed = rehearsed
        self.stopping: Stopping | None = None
        self.over = False
        self._now = now
        self._fresh = True
        self._progress_at = now
        self._resume_at: float | None = None
        self._hold_since: float | None = None
        self._spindle_stopped = False
        self._idle_since: float | None = None
        self._off_end_since: float | None = None

    # --- requests ---------------------------------------------------------------------------------------------------

    @property
    def resuming(self) -> bool:
        """Whether the spindle is being brought up to speed before motion goes on."""
        return self._resume_at is not None

    def hold(self) -> None:
        """Feed hold: in laser mode the beam goes off with it."""
        self._wire.interject(HOLD)
        self._hold_since = self._resume_at = None

    def stays(self) -> bool:
        """Take a resume back while the spindle comes up to speed, and stop it again; False where none does."""
        if self._resume_at is None:
            return False
        self._resume_at, self._spindle_stopped = None, True
        self._wire.interject(SPINDLE_STOP)
        return True

    def resume(self, now: float) -> None:
        """Spindle first, motion when it had time to reach its speed."""
        if self._spindle_stopped:
            self._spindle_stopped = False
            self._wire.interject(SPINDLE_STOP)
            self._resume_at = now + self._rules.spin_up_s
            return
        self._go_on(now)

    def _go_on(self, now: float) -> None:
        self._resume_at = self._hold_since = self._idle_since = None
        self._progress_at = now
        self._wire.interject(RESUME)
        self._session.happen(Happening.RESUME_ASKED)

    def stop(self, then: Callable[[], None], *, failure: Failure | None = None, why: str = "") -> None:
        """Hold at once, reset when the machine stands, then `then`; a machine that does not confirm is a fault."""
        if self.stopping is not None:
            return

        def done(stood: bool) -> None:
            self.over = True
            if stood:
                then()
                return
            self._lost_position()
            self._session.fail(
                failure or Failure.MACHINE_HUNG,
                f"{why} The machine did not confirm that it stopped: use its own button, then look at it.".strip(),
                Happening.BROKEN,
                may_be_moving=True,
            )

        self._wire.forget_unsent()
        self.stopping = Stopping(self._wire.interject, self._wire.emergency, done, self._now, failure=failure, why=why)

    def give_up(self, failure: Failure, why: str, into: Happening = Happening.RESET) -> None:
        """End the run truthfully: stop, then tell."""

        def tell() -> None:
            self._session.fail(failure, why, into, position_known=failure is Failure.LINE_REJECTED)

        self.stop(tell, failure=failure, why=why)

    # --- what the controller says -----------------------------------------------------------------------------------

    def acknowledged(self, now: float) -> None:
        """One ok."""
        if self.stopping is not None:
            return
        stream = self.stream
        self._progress_at = now
        line = stream.acknowledged()
        if stream.extra_acknowledgements:
            self.give_up(
                Failure.COMMUNICATION,
                "The controller acknowledged a line that was never sent: bytes were added or split on the cable.",
            )
        elif line and not self._rules.rehearsal:
            self._confirm(line if self._fresh else stream.watch.executed_line, now)
            self._fresh = False

    def rejected(self, number: int) -> None:
        """error:N for the oldest line in flight."""
        if self.stopping is not None:
            return
        line, why = self.stream.oldest, error_text(number, self._rules.firmware)
        if number in NOT_THE_CABLE:
            into = Happening.ENDED if self._rules.rehearsal else Happening.RESET
            self.give_up(Failure.LINE_REJECTED, f"The controller refused line {line} (error:{number}): {why}.", into)
        else:
            self.give_up(
                Failure.COMMUNICATION,
                f"The controller refused line {line} (error:{number}: {why}), but the line is correct: it was changed"
                " on the cable. Use a shorter, shielded cable.",
            )

    def reported(self, report: Report, overrides: tuple[int, int, int], now: float, asked_at: float) -> None:
        """One status report, asked for at `asked_at`."""
        position = self._machine_position(report)
        if position is not None and not self._rules.rehearsal and report.state in ("Run", "Idle", "Hold", "Door"):
            idle = report.state == "Idle" and asked_at >= self._progress_at
            self._confirm(self.stream.watch.executed(position, idle=idle), now)
        if self.stopping is not None:
            self.stopping.reported(report)
            return
        if self._rules.rehearsal:
            self._rehearse(report, now)
            return
        self._holds(report, now)
        if self.over:
            return
        if position is None:
            return
        if report.state in ("Run", "Idle", "Hold", "Door"):
            wrong = self.stream.watch.objection(position, report, overrides)
            if wrong:
                self.give_up(Failure.POSITION_MISMATCH, wrong)
                return
            if self.stream.watch.doubts:
                self._wire.interject(STATUS)
                return
        if report.state == "Idle":
            self._stands_idle(position, now, asked_at)
            return
        self._idle_since = self._off_end_since = None
        if report.state == "Run":
            self._progress_at = now

    def _confirm(self, line: int, now: float) -> None:
        """Lines count when they are done; the first one when it is accepted, because the run has begun then."""
        if line:
            self._session.confirm(line, now)

    def _machine_position(self, report: Report) -> tuple[float, float, float] | None:
        if report.machine is not None or report.work is None:
            return report.machine
        work, shift = report.work, report.wco or self.stream.reader.shift
        return (work[0] + shift[0], work[1] + shift[1], work[2] + shift[2])

    # --- holds ------------------------------------------------------------------------------------------------------

    def _holds(self, report: Report, now: float) -> None:
        """Hold and door states: asked for by us, by the program (M0) or by a person at the machine."""
        state = self._session.state
        stands = (report.state == "Hold" and report.substate == 0) or (report.state == "Door" and report.substate < 2)
        if stands and state in (BridgeState.HOLDING, BridgeState.RUNNING):
            if self._quiet(report, now):
                why = "the door is open or was opened" if report.state == "Door" else "the machine stands"
                self._session.happen(Happening.STANDS, why)
        elif report.state == "Run" and state is BridgeState.HELD and self._resume_at is None:
            self._spindle_stopped = False
            self._hold_since = None
            self._session.happen(Happening.MOVES, "a person resumed at the machine")
        elif report.state == "Idle" and state is BridgeState.HOLDING:
            # grbl answers Hold:0 even when nothing moved; firmwares that stay Idle stand as well.
            self._hold_since = self._hold_since or now
            if now - self._hold_since > END_MISMATCH_S:
                self._session.happen(Happening.STANDS, "the machine stands")

    def _quiet(self, report: Report, now: float) -> bool:
        """Whether beam and spindle are off in this hold; stops a spindle, and kills a beam that stays on."""
        self._hold_since = self._hold_since or now
        standing_s = now - self._hold_since
        if not report.spindle:
            return True
        if self._rules.laser:
            if standing_s > BEAM_OFF_WITHIN_S:
                self._beam_stays_on()
            return False
        if not self._spindle_stopped and report.state == "Hold":
            self._spindle_stopped = True
            self._wire.interject(SPINDLE_STOP)
        elif standing_s > SPINDLE_OFF_WITHIN_S:
            self._spindle_stopped = False
            self._tell(Notice("warning", "The machine stands, but its spindle still turns: keep your hands away."))
            return True
        return False

    def _beam_stays_on(self) -> None:
        self._wire.emergency(RESET)
        self.over = True
        self._lost_position()
        self._session.fail(
            Failure.FIRMWARE_KILLED,
            "The beam stayed on while the machine stood in hold: the controller was reset at once. Check $32.",
            Happening.BROKEN,
        )

    def _tell(self, event: Event) -> None:
        self._session.emit(event)

    # --- idle and the end -------------------------------------------------------------------------------------------

    def _stands_idle(self, position: tuple[float, float, float], now: float, asked_at: float) -> None:
        """Idle during a run: between two lines, a dwell, a stall, or the end."""
        if self._session.state in (BridgeState.HOLDING, BridgeState.HELD):
            return
        stream = self.stream
        if self._idle_since is None:
            self._idle_since = now
        if stream.exhausted and not stream.in_flight:
            if asked_at >= self._progress_at and now - self._idle_since >= SETTLE_S:
                self._end_of_path(position, now)
        elif stream.in_flight and now - max(self._progress_at, self._idle_since) > STALL_S + stream.standing_s:
            self.give_up(
                Failure.COMMUNICATION,
                f"The controller stands idle but never acknowledged line {stream.oldest}:"
                " bytes were lost on the cable.",
            )

    def _end_of_path(self, position: tuple[float, float, float], now: float) -> None:
        stream = self.stream
        off = max(abs(position[i] - stream.watch.expected_end[i]) for i in range(3))
        if off > stream.watch.near_mm:
            self._off_end_since = self._off_end_since or now
            if now - self._off_end_since > END_MISMATCH_S:
                self.give_up(
                    Failure.POSITION_MISMATCH,
                    f"Every line was acknowledged, but the machine stands {off:.2f} mm from where the toolpath ends.",
                )
            return
        if stream.reader.spindle_on:
            stream.reader.step("M5S0")
            stream.expect_own(len(BEAM_OFF))
            self._wire.write(BEAM_OFF)
            self._idle_since = None
            return
        self._session.confirm(max(stream.last_number, self._session.confirmed_line), now)
        self.over = True
        self._session.finish()

    def _rehearse(self, report: Report, now: float) -> None:
        """In check mode nothing moves; only acknowledgements count."""
        stream = self.stream
        if stream.exhausted and not stream.in_flight:
            self.over = True
            if self._rehearsed is not None:
                self._rehearsed()
        elif stream.in_flight and now - self._progress_at > STALL_S:
            self.give_up(Failure.COMMUNICATION, f"Line {stream.oldest} was never acknowledged in the rehearsal.")

    # --- time -------------------------------------------------------------------------------------------------------

    def passed(self, now: float) -> None:
        """Deadlines, then send what fits."""
        self._now = now
        if self.stopping is not None:
            self.stopping.passed(now)
            return
        if self._resume_at is not None and now >= self._resume_at:
            self._go_on(now)
        self._pump()

    def _pump(self) -> None:
        stream = self.stream
        if self._session.state in (BridgeState.HELD, BridgeState.CANCELLING):
            return
        idle = self._rules.rehearsal or (self._idle_since is not None and not stream.in_flight)
        data = stream.take(idle=idle)
        if data:
            self._idle_since = None
            self._wire.write(data)
        refused = stream.refused
        if refused is not None and not stream.in_flight and idle:
            self.give_up(
                Failure.LINE_REJECTED,
                f"Line {refused.line} was not sent ({refused.text[:40]}): {refused.why}.",
                Happening.ENDED,
            )
