"""Machines that say ok after each line and nothing else that could be relied on: send a line, wait, send the next.

Nothing tells whether such a machine stands still, so a run is finished when the last line was acknowledged. Option
`wake` (default empty) is sent first; option `identity` is the word its greeting must contain.
"""

from __future__ import annotations

from firmware_bridges.bridge import Identity, WrongMachine
from firmware_bridges.dialogue import Ask, Script
from firmware_bridges.marlin import MarlinBridge
from firmware_bridges.printer_dialect import ACKNOWLEDGE_ONLY
from firmware_bridges.session import Happening


class AcknowledgeOnlyBridge(MarlinBridge):
    """A machine of which only its ok is known."""

    spoken = ACKNOWLEDGE_ONLY

    def _identification(self, *, again: bool) -> Script[Identity]:
        wait_s = float(self.config.option("banner_wait_s", "2.5"))
        wake = self.config.option("wake")
        heard = yield Ask(wake.encode("ascii") + b"\n" if wake else b"", lambda line: False, wait_s)
        word = self.config.option("identity")
        if word and not any(word in line for line in heard.lines):
            raise WrongMachine(
                f"The machine on {self.config.port} did not say {word!r} when its port was opened:"
                " another machine may sit in this socket."
            )
        greeting = next((line for line in heard.lines if line.strip()), "")
        return Identity(
            dialect=self.protocol.name,
            firmware="unknown",
            version=greeting[:80],
            fingerprint=f"acknowledge-only-{word}" if word else "acknowledge-only",
            capabilities=self.protocol.capabilities,
        )

    def _rearm_script(self) -> Script[Happening]:
        """There is nothing to ask: the person's word has to do."""
        yield Ask(b"", lambda line: False, 0.1)
        return Happening.REARMED
