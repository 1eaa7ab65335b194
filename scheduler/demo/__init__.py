"""The main job on one computer: broker, scheduler, three shops and five simulated machines, from designs to parts.

Lives here: the town, its processes, its stand-in operator, what is ordered, the table and the summary. May touch: child
processes and the public HTTP faces of what they run, nothing inside them. In: options; out: parts made, or why not.
"""
