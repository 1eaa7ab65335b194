"""Flow control for the Marlin family: which bytes to send next, and which lines the machine has confirmed. Pure.

Knows no port and no thread: time comes in as a number, bytes go out as values.

- At most `receive_bytes - 1` bytes are unacknowledged, so the firmware's receive ring cannot overflow whatever its
  queue does (Marlin src/HAL/AVR/MarlinSerial.cpp drops what does not fit without a word).
- More than one line is in flight only where every ok names its line (ADVANCED_OK), and after an error only when
  CLEAN_LINES lines went well: Marlin throws away its receive ring when it asks for a resend (queue.cpp
  flush_and_request_resend), which can cut a line in flight so that its tail looks like a command without a number.
- After a Resend the flow goes back to that number, once nothing more comes that was on the wire before.
- After a silence it sends an empty line (it ends a line whose end was lost), then the next numbered line: the
  firmware takes it, or asks for what it lacks. A repeated number is dropped by the firmware (queue.cpp), so no line
  runs twice.
- Nothing is sent without a number while a toolpath runs: a damaged `M105` is another command, and would be executed.

XOR sees every single damaged byte of a line, but two in one line may cancel: that is the protocol's limit.
"""

from __future__ import annotations

from firmware_bridges.printer_flow_state import (
    AFTER_BLANK_S,
    CLEAN_LINES,
    HISTORY,
    QUIET_S,
    RENUMBER_AGAIN_S,
    Doubt,
    Phase,
    Sent,
)
from firmware_bridges.printer_lines import clean, numbered
from firmware_bridges.printer_recovery import FlowRecovery


class PrinterFlow(FlowRecovery):
    """Streams `lines` ((line number, text) pairs). See the module for the rules."""

    # --- what the bridge asks for -------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Everything pulled so far is confirmed and nothing waits."""
        return (
            not self.flight
            and not self._inserts
            and self._carry is None
            and self._cursor == self._next
            and (not self.dialect.numbered or self.confirmed_number == self._next - 1)
        )

    @property
    def finished(self) -> bool:
        """The toolpath is at its end and every line confirmed."""
        return self._exhausted and self.idle and self.phase is Phase.STREAM

    @property
    def exhausted(self) -> bool:
        """The toolpath is at its end; its last lines may be in flight."""
        return self._exhausted

    def insert(self, text: str, mark: str = "") -> None:
        """Send a control line before the next line of the toolpath; `mark` shows up in `done_marks` when confirmed."""
        self._inserts.append((text, mark))

    def force(self, text: str) -> bytes:
        """A control line now, whatever the window: for lines that act as they arrive (Marlin's emergency parser)."""
        if self.phase is not Phase.STREAM or self._carry is not None or self._cursor != self._next:
            self._beside += 1
            return text.encode("ascii") + b"\n"
        entry = self._make(self.pulled, text, "control")
        self.flight.append(entry)
        self._flight_bytes += len(entry.data)
        return entry.data

    def end_toolpath(self) -> None:
        """No further line of the toolpath is pulled: the run is being cancelled."""
        self._exhausted = True
        if self._carry is not None and not self._carry.mark:
            self._unnumber(self._carry)

    def drop_inserts(self) -> None:
        """Forget control lines that were not sent yet."""
        self._inserts.clear()

    def begin(self, now: float) -> bytes:
        """The first bytes: an empty line, so that whatever was on the wire is over."""
        self.last_word = self._doubt.heard_at = now
        return self.fill() if self.phase is Phase.STREAM else b"\n"

    def fill(self) -> bytes:
        """The bytes that may be sent now, b"" when none."""
        if self.phase is not Phase.STREAM or self.failure is not None:
            return b""
        flight = self.flight
        window = self.window
        room = self.dialect.receive_bytes - 1 - self._flight_bytes
        out: list[bytes] = []
        while len(flight) < window:
            entry = self._carry or self._pull()
            if entry is None:
                break
            size = len(entry.data)
            if size > room and flight:
                self._carry = entry
                break
            self._carry = None
            room -= size
            self._flight_bytes += size
            flight.append(entry)
            out.append(entry.data)
        if out:
            self.counters.sent += len(out)
            return b"".join(out)
        return b""

    @property
    def window(self) -> int:
        """Lines that may be in flight now."""
        if self.advanced and self.echoes_number and self._clean >= 0:
            return 32
        return self.dialect.lines_in_flight

    # --- what the machine said ----------------------------------------------------------------------------------------

    def acknowledged(self, number: int, now: float) -> None:
        """`ok N…`: the line of this number was taken, and so was every one before it."""
        self._word(now)
        self._unknown_pending = self._error_pending = False
        self._fresh_ok = None
        flight = self.flight
        if self.dialect.number_modulo:
            number = self._whole_number(number)
        if self.phase is Phase.RENUMBER:
            if number == 0:
                self._renumber_done()
        elif self.phase is Phase.STREAM and flight and flight[0].number == number:
            self._clean += 1
            self._candidate = 0
            self._pop()
        elif self.confirmed_number < number < self._next:
            # An ok was lost or this number is damaged: a second witness decides.
            if self._candidate and number >= self._candidate:
                self.counters.lost_oks += 1
                self._confirm_through(number)
                self._candidate = 0
            else:
                self._candidate = number

    def ok(self, now: float, *, slots: bool = False) -> None:
        """A bare `ok`; `slots`: it told free slots, so it answers a command and not a refused line."""
        self._word(now)
        self.advanced = self.advanced or slots
        if self._unknown_pending:
            self._unknown_pending = False
        elif self._error_pending:
            pass  # it belongs to the refused line; its Resend is due
        elif self._swallow_ok and not slots:
            self._swallow_ok = False
        elif self.phase is Phase.RENUMBER:
            self.echoes_number = self.echoes_number or self.advanced
            self._renumber_done()
        elif self.echoes_number and self.dialect.numbered:
            if slots and self._beside > 0:
                self._beside -= 1
            elif slots and self.counters.sent:
                self._damaged()
        elif self.phase is Phase.QUIET:
            if self._allowed_oks > 0:
                self._allowed_oks -= 1
            elif self._presumed:
                self._presumed.popleft()
            elif self.counters.sent:
                self._damaged()
        elif self.flight:
            self._clean += 1
            self._fresh_ok = self.flight[0]
            self._pop()

    def warm_ok(self, now: float) -> None:
        """`ok T:…`: the answer to M105, which is sent with a number like any line."""
        self._word(now)
        for entry in self.flight:
            if entry.text == "M105":
                while self.flight[0] is not entry:
                    self._pop()
                self._pop()
                return

    def line_error(self, last: int | None, now: float) -> None:
        """`Error:…, Last Line: n`: a Resend follows; where it is lost or damaged, this tells its number."""
        self._word(now)
        self._error_pending = True
        self._fresh_ok = None
        self._error_last = last
        self._error_at = now

    def resend(self, number: int, now: float) -> None:
        """The firmware asks for `number` again."""
        self._word(now)
        self.counters.resends += 1
        self._clean = -CLEAN_LINES
        told = None if self._error_last is None else self._error_last + 1
        self._error_pending, self._error_last = False, None
        self._swallow_ok = True
        if self.dialect.number_modulo:
            number = self._whole_number(number)
        sure = told == number
        if told is not None and not sure:
            number = 0  # one of the two is damaged: the next line will tell
        undone = self._fresh_ok
        ok_first = undone is not None and undone.number == number
        if undone is not None and ok_first:
            self._unconfirm(undone)  # `ok` and then `Resend`: that ok was the refusal's
            self._swallow_ok = False
        self._fresh_ok = None
        if self.phase is Phase.RENUMBER:
            self.phase = Phase.QUIET
            return
        alone = self.phase is Phase.STREAM and len(self.flight) == 1 and self.echoes_number
        if self.phase is Phase.STREAM:
            self._doubt = Doubt(heard_at=now)
            self._allowed_oks = sum(1 for entry in self.flight if ok_first or (entry.number or 0) < number)
            self._put_back_carry()
            self.phase = Phase.QUIET
        if number > 0 and (sure or not self._doubt.sure):
            self._doubt.resend, self._doubt.sure = number, sure
        if alone and sure:
            self._leave_quiet(now)

    def unknown(self, command: str, now: float) -> None:
        """`Unknown command`: the next ok is not a line's, unless this is a line of ours."""
        self._word(now)
        ours = any(entry.text == command for entry in self.flight)
        self._unknown_pending = not ours

    def refused(self, now: float) -> None:
        """`!!` about the line that is first in flight."""
        self._word(now)
        self.rejected = self.flight[0] if self.flight else None

    def skipped(self, now: float) -> None:
        """Repetier: a repeated line was not executed again; an ok follows."""
        self._word(now)
        self._unknown_pending = True

    def queue_empty(self, now: float) -> bytes:
        """`wait`: nothing is queued. A line still counted as in flight has lost its ok."""
        if self.phase is Phase.STREAM and self.flight and now - self.last_word > 1.0:
            return self._nudge(now)
        return b""

    def alive(self, now: float) -> None:
        """`busy`, or a report from inside a wait: the line in work takes its time."""
        self.last_word = now
        self._nudges = 0

    def tick(self, now: float, patience_s: float) -> bytes:
        """Look at the clock: a refusal whose Resend never came, a silence, M110 to repeat."""
        if self.failure is not None:
            return b""
        if self._error_pending and now - self._error_at > 1.0:
            self._error_pending = False
            if self._error_last is not None:
                self.resend(self._error_last + 1, now)
        if self.phase is Phase.QUIET:
            if now - self._doubt.heard_at >= QUIET_S:
                self._leave_quiet(now)
        elif self.phase is Phase.RENUMBER:
            if self._renumber_at and now - self._renumber_at > RENUMBER_AGAIN_S and now - self.last_word > 1.0:
                self._renumber_at = 0.0
        elif self.flight and now - self.last_word > patience_s:
            if not self._blank_sent:
                self._blank_sent = True
                return b"\n"
            if now - self.last_word > patience_s + AFTER_BLANK_S:
                return self._nudge(now)
        return b""

    def next_bytes(self, now: float) -> bytes:
        """What may be sent now: M110 when it is due, else lines."""
        if self.phase is Phase.RENUMBER and self._renumber_at == 0.0:
            return self._renumber(now)
        return self.fill()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _pull(self) -> Sent | None:
        if self._cursor < self._next:
            entry = self._history.get(self._cursor)
            if entry is None:
                self._fail(f"The firmware asks for line N{self._cursor}, which is too long ago.")
                return None
            self._cursor += 1
            return entry
        if self._inserts:
            text, mark = self._inserts.popleft()
            if not text:  # nothing to ask this machine: all that is known is that every line was acknowledged
                if self.flight:
                    self._inserts.appendleft((text, mark))
                    return None
                self.done_marks.append(mark)
                return self._pull()
            return self._make(self.pulled, text, mark or "control")
        if self._exhausted or self.paused:
            return None
        for number, raw in self._lines:
            self.pulled = number
            text = clean(raw)
            if text:
                if text[0] == "M" or "F" in text or text[:2] == "G9":
                    self.memory.note(text)
                return self._make(number, text, "")
        self._exhausted = True
        return None

    def _make(self, line: int, text: str, mark: str) -> Sent:
        if not self.dialect.numbered:
            return Sent(None, line, text.encode("ascii", "replace") + b"\n", text, mark)
        number = self._next
        entry = Sent(number, line, numbered(number, text), text, mark)
        self._history[number] = entry
        self._history.pop(number - HISTORY, None)
        self._next = self._cursor = number + 1
        return entry

    def _unnumber(self, entry: Sent) -> None:
        """A line that was numbered but never sent: take the number back."""
        self._carry = None
        if entry.number is not None and entry.number == self._next - 1:
            self._next = self._cursor = entry.number
            self._history.pop(entry.number, None)
