"""What a person does on the pages: the same operations as the HTTP API, with the same tokens and the same refusals."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import Response

from scheduler.api import designs, orders
from scheduler.api.tokens import Caller, Role, allowed, caller
from scheduler.app import Scheduler
from scheduler.orders.intake import BareFile, check_design, keep_design


@dataclass(frozen=True, slots=True)
class DesignCard:
    """One design to choose from, kept here or on the catalogue's shelf."""

    key: str
    """`catalogue:NAME` or a design's address."""
    name: str
    about: str
    licence: str
    processes: tuple[str, ...]
    parts: int
    open: bool = True


class Deeds:
    """Every method blocks for as long as the database and the geometry take: call it off the event loop.

    All of them raise Refused, with nothing changed.
    """

    def __init__(self, serving: Scheduler) -> None:
        self._serving = serving

    def who(self, token: str) -> Caller:
        """Whose token it is."""
        with self._serving.store.read() as c:
            return allowed(caller(c, f"Bearer {token}" if token else None), Role.REQUESTER)

    def shelf(self) -> tuple[DesignCard, ...]:
        """The catalogue's designs, then those that people brought."""
        from designs.catalogue import entries

        cards = [
            DesignCard(
                key=f"catalogue:{entry.name}",
                name=entry.manifest.name,
                about=entry.manifest.function,
                licence=entry.manifest.licence or "",
                processes=tuple(sorted({part.process.value for part in entry.manifest.parts if part.process})),
                parts=len(entry.manifest.parts),
            )
            for entry in entries()
        ]
        shipped = {card.name for card in cards}
        for kept in designs.list_designs(self._serving):
            if kept.name not in shipped:
                kinds = tuple(sorted({file.kind for file in kept.files}))
                about = f"Brought on {kept.created_at:%d %b %Y} as {', '.join(kinds)}"
                card = DesignCard(kept.design, kept.name, about, kept.licence, (), len(kept.files), kept.licence_open)
                cards.append(card)
        return tuple(cards)

    def bring(self, token: str, key: str) -> str:
        """The address of a chosen design; one from the catalogue is taken in first."""
        self.who(token)
        if not key.startswith("catalogue:"):
            return key
        return self._keep(designs.catalogue_files(key.removeprefix("catalogue:")), None)

    def bring_file(self, token: str, name: str, data: bytes, said: BareFile) -> str:
        """A single file as a design of its own; its address."""
        self.who(token)
        return self._keep({name: data}, said)

    def order(self, token: str, body: orders.OrderBody, form: str) -> str:
        """Place an order; its id. The same words of the same `form` place it once, however often they are sent."""
        key = f"{form}-{hashlib.sha256(body.model_dump_json().encode()).hexdigest()[:32]}"
        return orders.place(body, Response(), self._serving, self.who(token), key).id

    def accept(self, token: str, order: str) -> None:
        """Say yes: from now on it may be made."""
        orders.accept(order, self._serving, self.who(token))

    def cancel(self, token: str, order: str) -> None:
        """Cancel the order."""
        orders.cancel(order, self._serving, self.who(token), None)

    def hand_over(self, token: str, order: str) -> None:
        """The requester has the parts."""
        orders.hand_over(order, self._serving, allowed(self.who(token), Role.OPERATOR))

    def step_done(self, token: str, order: str, step: str) -> None:
        """An assembly step was done."""
        orders.step_done(order, step, self._serving, allowed(self.who(token), Role.OPERATOR))

    def _keep(self, files: Mapping[str, bytes], said: BareFile | None) -> str:
        checked = check_design(files, said)
        with self._serving.store.write() as c:
            keep_design(c, self._serving.blobs, checked, self._serving.clock.now())
        return checked.address
