"""Keeping a page fresh: what changed is drawn again, what did not change is not touched.

A press or a keystroke travels to the server with the id of the element it was meant for. If that element was drawn
again meanwhile, the press is for nothing that exists any more, and is lost without a word. So a button stands in a
part of its own, which is drawn once and goes only when what it does may not be done any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from nicegui import run, ui

_T = TypeVar("_T")
_LOOK_EVERY_S: Final = 1.0


class Section:
    """Parts of a page, by name, each with the value it shows. Stands where it is made."""

    def __init__(
        self,
        values: Callable[[Any], Mapping[str, Any]],
        draw: Callable[[Any, str], None],
        classes: str = "ws-section",
    ) -> None:
        """`values` says from what was read which parts there are; `draw` is given what was read and a part's name."""
        self._values, self._draw, self._classes = values, draw, classes
        self._holder = ui.element("div").classes("ws-contents")
        self._drawn: dict[str, tuple[ui.element, Any]] = {}

    def bring_up_to_date(self, found: Any) -> None:
        """Take away parts that are gone, draw new ones and those whose value changed."""
        wanted = self._values(found)
        for name in [name for name in self._drawn if name not in wanted]:
            self._drawn.pop(name)[0].delete()
        for name, value in wanted.items():
            element, before = self._drawn.get(name, (None, None))
            if element is None:
                with self._holder:
                    element = ui.element("div").classes(self._classes)
            elif before == value:
                continue
            self._drawn[name] = (element, value)
            element.clear()
            with element:
                self._draw(found, name)


def whole(depends: Callable[[Any], Any], draw: Callable[[Any], None], classes: str = "ws-section") -> Section:
    """A section of one part."""
    return Section(lambda found: {"": depends(found)}, lambda found, _: draw(found), classes)


async def keep_fresh(read: Callable[[], _T], sections: Sequence[Section]) -> None:
    """Draw every section, then look again every second."""

    async def look() -> None:
        answer = await run.io_bound(lambda: (read(),))
        if answer is None:
            return  # the server is ending
        for section in sections:
            section.bring_up_to_date(answer[0])

    await look()
    ui.timer(_LOOK_EVERY_S, look, immediate=False)
