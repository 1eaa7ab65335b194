"""One module a process: pieces and a class of machines in, a toolpath out.

Lives here: slicing (fdm), laser and router CAM. Touches slicers as subprocesses, nothing else. In: pieces, a machine
profile, stock; out: a checked toolpath with its time, bounds and work card, or CannotMake.
"""
