"""Programs for machines, read and judged: words, motions, lint, time, use, pictures. Bytes or a file in, values out.

Any size in constant memory; any bytes give a result or a clear error. Touches nothing but the file it is given.
"""

from __future__ import annotations

from designs.toolpath.lint import MachineLimits, lint
from designs.toolpath.picture import picture
from designs.toolpath.preview import preview
from designs.toolpath.progress import ProgressTable, compact
from designs.toolpath.timetable import Kinematics, TimeTable, estimate
from designs.toolpath.usage import Consumers, Usage, usage

__all__ = [
    "Consumers",
    "Kinematics",
    "MachineLimits",
    "ProgressTable",
    "TimeTable",
    "Usage",
    "compact",
    "estimate",
    "lint",
    "picture",
    "preview",
    "usage",
]
