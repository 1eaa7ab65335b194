"""A scheduler process of its own for tests: `python -m tests.scheduler.one_of_several FOLDER DATABASE PORT NAME`.

It offers by first fit, makes tiny toolpaths, and tells on standard output in which term it dispatches.
With every line it reads on standard input it places an order, as a person's request would, and tells what came of it.
"""

from __future__ import annotations

import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

from scheduler.app import Parts, Scheduler
from scheduler.config import Settings
from scheduler.dispatch.limits import Limits
from scheduler.mqtt import Broker
from scheduler.orders.composer import ComposerHere
from scheduler.store import SteppedDown
from tests.scheduler.line import AtOnce, Line, first_fit, tiny_toolpath


def main(folder: str, database: str, port: str, instance: str) -> None:
    settings = Settings(
        data=Path(folder),
        broker=Broker("127.0.0.1", int(port)),
        database=database,
        instance=instance,
        limits=Limits(leadership=timedelta(seconds=2)),
    )
    scheduler = Scheduler(
        settings, Parts(planner=first_fit, composer=ComposerHere(), maker=tiny_toolpath, executor=AtOnce())
    )
    scheduler.start()
    ended = threading.Event()
    threading.Thread(target=_tell, args=(scheduler, ended), daemon=True).start()
    line: Any = Line.__new__(Line)
    line.scheduler, line.clock = scheduler, scheduler.clock
    for word in sys.stdin:
        try:
            print(f"ordered {word.strip()} {line.order()[0]}", flush=True)
            scheduler.bell.news()
        except SteppedDown as error:
            print(f"refused {word.strip()}: {error}", flush=True)
    ended.set()
    scheduler.stop()


def _tell(scheduler: Scheduler, ended: threading.Event) -> None:
    said = None
    while not ended.wait(0.02):
        if scheduler.term != said:
            said = scheduler.term
            print(f"term {said}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
