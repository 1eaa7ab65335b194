"""How the flow of a printer's lines finds its place again after damage, silence or a refusal. Rules: `printer_flow`."""

from __future__ import annotations

from collections import deque

from firmware_bridges.bridge import Failure
from firmware_bridges.printer_flow_state import (
    CHECK,
    CLEAN_LINES,
    MOST_NUDGES,
    MOST_RENUMBERS,
    SAME_RESEND_MOST,
    Doubt,
    FlowState,
    Phase,
    Sent,
)
from firmware_bridges.printer_lines import numbered


class FlowRecovery(FlowState):
    """Confirming, going back, nudging; `fill` is the flow's."""

    def fill(self) -> bytes:
        """The bytes that may be sent now."""
        raise NotImplementedError

    def _word(self, now: float) -> None:
        """The firmware said something about lines."""
        self.last_word = self._doubt.heard_at = now
        self._blank_sent = False

    def _nudge(self, now: float) -> bytes:
        """Nothing came back, not even after an empty line: let the next number tell."""
        if not self.dialect.numbered:
            self._fail(
                "An acknowledgement did not come from a firmware without line numbers: nobody can tell whether"
                " the line ran."
            )
            return b""
        self.counters.silences += 1
        self._nudges += 1
        self._clean = -CLEAN_LINES
        if self._nudges > MOST_NUDGES:
            self._fail(f"The machine left {MOST_NUDGES} lines in a row unanswered.")
            return b""
        self._presumed.extend(self.flight)
        self.flight.clear()
        self._flight_bytes = 0
        self._candidate = 0
        self._error_pending = self._unknown_pending = self._swallow_ok = False
        self.last_word = now
        self._blank_sent = False
        if self._carry is None and self._cursor == self._next:
            self._inserts.appendleft((CHECK, "check"))
        return b"\n" + self.fill()

    def _pop(self) -> None:
        entry = self.flight.popleft()
        self._flight_bytes -= len(entry.data)
        self._confirm(entry)

    def _confirm(self, entry: Sent) -> None:
        while self._presumed and self._presumed[0] is not entry:
            self._confirm(self._presumed.popleft())
        if self._presumed:
            self._presumed.popleft()
        self._nudges = 0
        if entry.line > self.confirmed:
            self.confirmed = entry.line
        if entry.number is not None:
            self.confirmed_number = entry.number
        if entry.mark:
            self.done_marks.append(entry.mark)

    def _confirm_through(self, number: int) -> None:
        """Everything up to `number` was taken, in flight or presumed so."""
        while self.flight and (self.flight[0].number is None or self.flight[0].number <= number):
            self._pop()
        for n in range(self.confirmed_number + 1, number + 1):
            entry = self._history.get(n)
            if entry is not None:
                self._confirm(entry)

    def _unconfirm(self, entry: Sent) -> None:
        if entry.number is None:
            return
        self.confirmed_number = entry.number - 1
        before = self._history.get(entry.number - 1)
        self.confirmed = before.line if before is not None else min(self.confirmed, entry.line - 1)

    def _whole_number(self, number: int) -> int:
        """The full number behind one that counts modulo the dialect's limit."""
        modulo = self.dialect.number_modulo
        return self._cursor - ((self._cursor - number) % modulo)

    def _put_back_carry(self) -> None:
        """A line that was made and not sent yet: it comes again from the history."""
        if self._carry is not None and self._carry.number is not None:
            self._cursor = min(self._cursor, self._carry.number)
        self._carry = None

    def _leave_quiet(self, now: float) -> None:
        """All that was on the wire is over: go on where the firmware wants to."""
        doubt, self._doubt = self._doubt, Doubt(heard_at=now)
        if not self._renumbered:
            self.phase, self._renumber_at = Phase.RENUMBER, 0.0
            return
        self._presumed.extend(self.flight)
        self.flight.clear()
        self._flight_bytes = 0
        self._candidate = 0
        self.phase = Phase.STREAM
        if doubt.resend is not None:
            self._go_back(doubt.resend, sure=doubt.sure)
        if self._presumed and self._cursor == self._next:
            self._inserts.appendleft((CHECK, "check"))

    def _go_back(self, wanted: int, *, sure: bool) -> None:
        """The firmware wants to go on from `wanted`."""
        repeats = self._same_resend[1] + 1 if self._same_resend[0] == wanted else 1
        self._same_resend = (wanted, repeats)
        if repeats >= SAME_RESEND_MOST:
            self._fail(f"The machine asked for line N{wanted} {repeats} times: the cable or its surroundings are bad.")
        elif sure and wanted > self._next and self.confirmed_number == 0:
            self._renumbered = False  # it did not take M110
            self._cursor = 1
            self._presumed.clear()
            self.phase, self._renumber_at = Phase.RENUMBER, 0.0
        elif wanted <= self.confirmed_number:
            # Once, the number may be damaged; twice, the firmware lacks a line that it acknowledged.
            if sure or repeats > 1:
                entry = self._history.get(wanted)
                if entry is not None:
                    self._unconfirm(entry)
                self._damaged()
        elif wanted <= self._next:
            if sure:
                self._confirm_through(wanted - 1)
            self._cursor = min(self._cursor, wanted)
            self._presumed = deque(entry for entry in self._presumed if (entry.number or 0) < wanted)

    def _renumber(self, now: float) -> bytes:
        self._renumber_tries += 1
        self._swallow_ok = False
        if self._renumber_tries > MOST_RENUMBERS:
            self._fail("The firmware did not take the request to count lines from 1 (M110).")
            return b""
        self._renumber_at = now
        return b"\n" + numbered(0, "M110 N0")

    def _renumber_done(self) -> None:
        self._renumbered = True
        self._doubt = Doubt()
        self.phase = Phase.STREAM

    def _damaged(self) -> None:
        self._fail(
            "The firmware acknowledged a line that nobody sent in that form: a damaged line may have been executed."
        )

    def _fail(self, why: str) -> None:
        if self.failure is None:
            self.failure = (Failure.COMMUNICATION, why)
