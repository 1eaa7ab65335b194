"""A scheduler killed outright leaves no process of its own behind, also where no service manager sweeps up."""

from __future__ import annotations

import os
import select
import subprocess
import sys

PROGRAM = """
import os, sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from scheduler.orders.composer import ComposerProcess
from scheduler.orders.laying import Table
from scheduler.orders.making import begin_worker
from scheduler.planning.batch import Load
from scheduler.planning.process import PlannerProcess
from tests.scheduler.test_rounds import PEG
from tests.scheduler.planning.worlds import print_job, printer, world

if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, mp_context=get_context("forkserver"), initializer=begin_worker)
    planner, composer = PlannerProcess(budget_s=0.1), ComposerProcess()
    planner(world([printer("m")], [print_job("a")]))
    composer.begin(Table(loads=[Load("j", "kind", (("o/peg", 1),))], pieces={"o/peg": PEG})).result()
    print(pool.submit(os.getpid).result(), planner.pid, composer.pid, flush=True)
    sys.stdin.read()
"""


def test_a_process_killed_outright_takes_its_workers_with_it() -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "WORKSHED_PLAIN": "1"},
    )
    assert program.stdout is not None
    watched = {os.pidfd_open(int(pid)): pid for pid in program.stdout.readline().split()}
    assert len(watched) == 3
    program.kill()
    program.communicate()
    while watched:
        ended, _, _ = select.select(list(watched), [], [], 30)
        assert ended, f"left behind: {sorted(watched.values())}"
        for handle in ended:
            os.close(handle)
            del watched[handle]
