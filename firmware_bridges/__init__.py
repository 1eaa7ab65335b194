"""One machine on one port, whatever firmware it speaks.

Lives here: bridges, the serial link, simulated machines (twins). May touch: one serial port each; knows nothing of
MQTT, jobs or shops. In: lines of a toolpath; out: typed events that the machine confirmed.
"""
