"""Whose memory a spool is. Its journal is signed with the agent's name and numbered for it: told under another name it
would be refused for ever, and everything after it would wait."""

from __future__ import annotations

from agents.contract.envelope import decode
from agents.spool import Spool, SpoolBroken


def keep_name(spool: Spool) -> None:
    """Write the agent's name down beside its journal. Raises SpoolBroken where it is another agent's."""
    row = spool.row("SELECT value FROM meta WHERE key = 'sender'")
    last = spool.event(spool.last_seq)
    whose = str(row[0]) if row is not None else spool.sender if last is None else decode(last).sender
    if whose != spool.sender:
        raise SpoolBroken(
            f"the data_dir holds the memory of {whose}, and the shop's file calls this agent {spool.sender}. Put the "
            "old name back; or, once nothing is held or running here any more, give the new name a data_dir of its own"
        )
    spool.write("INSERT OR REPLACE INTO meta VALUES ('sender', ?)", whose)
