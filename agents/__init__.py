"""A shop's side of Workshed: one light process beside the machines.

Lives here: the agent, its spool, its owner's policy, the gates before every start. May touch: MQTT, the spool's SQLite
file, bridges. In: offers and the owner's word; out: claims, motion, and the journal of what machines confirmed.
"""
