"""Programs for machines, read and judged: words, motions, lint, time, use, pictures. Pure: bytes or a file in, values out.

Any size in constant memory; any bytes give a result or a clear error. Touches nothing but the file it is given.
"""

from __future__ import annotations

from designs.toolpath.lint import MachineLimits, lint
from designs.toolpath.timetable import Kinematics, TimeTable, estimate

__all__ = ["Kinematics", "MachineLimits", "TimeTable", "estimate", "lint"]
