"""What always holds in one shop, whatever breaks: checked against books that outlive its agent's process and memory."""

from __future__ import annotations

import hashlib
from pathlib import Path

from agents.contract import decode
from agents.contract import messages as m
from agents.spool import Lease, Spool
from tests.faults.rules import NotKept


class ShopBooks:
    """What one shop was told, and what its owner and the people in it really mean."""

    def __init__(self, shop: str) -> None:
        self._shop = shop
        self._heard: set[str] = set()
        self.closed = False
        """The owner takes no work of others now."""

    def forget(self) -> None:
        """The spool is an old copy: what was heard since is new to it."""
        self._heard.clear()

    def heard(self, payload: bytes, spool: Spool, last_seq: int) -> None:
        """A message is about to be confirmed to the broker; `last_seq` was the journal's end before it was heard."""
        envelope = decode(payload)
        if isinstance(envelope.body, m.JournalAck):
            return
        if spool.seen(envelope.id) is None:
            kind = type(envelope.body).__name__
            raise NotKept(f"{self._shop} confirmed a {kind} to the broker that it did not write down")
        if envelope.id in self._heard and spool.last_seq != last_seq:
            raise NotKept(f"{self._shop} wrote something new down for a message that came again")
        self._heard.add(envelope.id)

    def journalled(self, body: m.JournalBody) -> None:
        """An event is written down."""
        if isinstance(body, m.Claimed) and self.closed:
            raise NotKept(f"{self._shop} claims {body.job} while its owner takes no work of others")

    def check(self, spool: Spool) -> None:
        """Leases are held under the highest fence of their job, one a job."""
        leases = [lease for lease in spool.leases() if not lease.own]
        for lease in leases:
            if lease.fence != spool.highest_fence(lease.job):
                highest = spool.highest_fence(lease.job)
                raise NotKept(f"{self._shop} holds {lease.job} under fence {lease.fence} and has seen {highest}")
        if len({lease.job for lease in leases}) < len(leases):
            raise NotKept(f"{self._shop} holds a job twice: {[lease.job for lease in leases]}")


def is_what_was_offered(lease: Lease, toolpath: Path) -> None:
    """The bytes that are about to run have the hash that was claimed."""
    if hashlib.sha256(toolpath.read_bytes()).hexdigest() != lease.toolpath.sha256:
        raise NotKept(f"what is about to run for {lease.job} is not the toolpath that was offered")
