"""Simulated machines: firmwares on a pseudo-terminal, with physics, clocks that can run fast, and faults on command.

Lives here: the frame (`host`), the bodies (`physics`), one module a firmware. May touch: pseudo-terminals and a control
socket. In: bytes a host sends; out: the bytes the firmware would answer, and a truthful record of what was executed.
"""
