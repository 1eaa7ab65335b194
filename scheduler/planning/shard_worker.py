"""A worker of the sharded search: anneals one shard after the other until nobody asks any more (`team.py` starts it).

Problem, plan and borders lie in memory shared with whoever asks; over the line go a few numbers each way. It ends when
the line does, at the latest after the shard it is at.
"""

from __future__ import annotations

import mmap
import sys
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from scheduler.planning.core import NUMBER, restore_schedule
from scheduler.planning.propagation import Journal, new_journal
from scheduler.planning.search import anneal
from scheduler.planning.shard_messages import (
    Attach,
    Order,
    Ready,
    Search,
    Searched,
    core_in,
    schedule_in,
    tables_in,
)
from scheduler.planning.sharding import Cut, carve, whole_numbers


def search(shared: Mapping[str, NDArray[Any]], order: Search, journal: Journal) -> Searched:
    """Carve the shard out, anneal it, and write what came of it into its tables."""
    began = time.process_time()
    borders = Cut(shared["cut.shard"], shared["cut.latest"])
    part = carve(core_in(shared), schedule_in(shared, "plan"), borders, order.shard)
    n = len(part.core.ops)
    delta, accepted = anneal(
        *(part.core, part.schedule, journal, np.array([order.rng], np.int64), order.moves, order.hot, order.cold),
        *(order.frozen, order.samples, np.zeros(n + 1, NUMBER), np.zeros(n + 1, NUMBER)),
    )
    restore_schedule(schedule_in(shared, str(order.shard)), whole_numbers(part))
    return Searched(order.shard, int(delta), int(accepted), time.process_time() - began)


def main(line_number: int, memory_number: int) -> int:
    """Serve until the line ends."""
    line = Connection(line_number)
    shared: dict[str, NDArray[Any]] = {}
    journal = new_journal(0)
    try:
        line.send_bytes(msgspec.msgpack.encode(Ready()))
        while True:
            order = msgspec.msgpack.decode(line.recv_bytes(), type=Order)
            if isinstance(order, Attach):
                shared = tables_in(mmap.mmap(memory_number, order.size), order.tables)
                journal = new_journal(len(shared["core.ops"]))
            else:
                line.send_bytes(msgspec.msgpack.encode(search(shared, order, journal)))
    except (EOFError, OSError, KeyboardInterrupt):
        return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
