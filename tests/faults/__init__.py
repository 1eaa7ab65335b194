"""What can go wrong, made to go wrong: kills, cuts, copies, clocks and full disks at every step of a job.

Lives here: random lives of a whole line in one process (`lives.py`, also as a long soak), and real processes that are
killed (`test_processes.py`). In: a seed; out: counts, or the seed of the failure.
"""
