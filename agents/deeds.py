"""How much a spool has lived through, counted in it and in a mark beside it: so an old copy of it is met as such.

A deed is what an old copy must not be ignorant of: a machine that is about to be called, a step of an owner's own job,
the word of a person on bed, material or arming, the word to a home that it may grant anew what was granted here. Order:
the spool commits, the mark is written, the machine is called.
Hence a mark above the spool's own count, or a spool with deeds and no mark, is a spool that was put back. Needs no
network. Whoever puts the mark back together with the spool is not noticed by it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from agents.mark import KeptMark

if TYPE_CHECKING:
    from agents.spool import Spool

_log: Final = logging.getLogger(__name__)
_KEY: Final = "deeds"


class Deeds:
    """Called under the spool's lock."""

    def __init__(self, spool: Spool, mark: KeptMark) -> None:
        """Raises OSError where the mark cannot be read, or made."""
        self._spool, self._mark = spool, mark
        self._marked = self._mark.read()
        count = self._count()
        if self._marked is None and count == 0:  # before the first deed, so that a mark is never late
            self._mark.write(0)
            self._marked = 0
        self._pending = False
        self.old_copy = self._marked is None or self._marked > count
        """Whether the spool was put back to an old copy, as far as the mark tells; until `begin_anew`."""

    def _count(self) -> int:
        row = self._spool.row("SELECT value FROM meta WHERE key = ?", _KEY)
        return 0 if row is None else int(row[0])

    def note(self) -> None:
        """One deed more, as part of a transaction."""
        self._put(self._count() + 1)

    def begin_anew(self) -> None:
        """What was forgotten is dealt with: count on from above everything that ever was."""
        self._put(max(self._count(), self._marked or 0) + 1)
        self.old_copy = False

    def _put(self, count: int) -> None:
        self._spool.write("INSERT OR REPLACE INTO meta VALUES (?, ?)", _KEY, str(count))
        self._pending = True

    def committed(self) -> None:
        """After a commit: the mark follows. Where it cannot, no machine is called until it can (`must_be_marked`)."""
        if not self._pending:
            return
        try:
            self.must_be_marked()
        except OSError as error:
            _log.warning("%s", error)

    def must_be_marked(self) -> None:
        """Raises OSError unless the mark has every deed that is committed."""
        count = self._count()
        if not self.old_copy and (self._marked is None or count > self._marked):
            try:
                self._mark.write(count)
            except OSError as error:
                raise OSError(
                    f"the mark beside the spool cannot be written ({error}); free space on the disk of data_dir, or"
                    " make it writable; no machine is called until then"
                ) from error
            self._marked = count
        self._pending = False
