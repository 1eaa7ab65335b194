"""The only writer of job state: offers, claims, leases with rising fences, journals applied once, deadlines, retries.

May touch: the store, and outgoing messages through the outbox. In: journals, deadlines, plans, people's requests; out:
state that only ever follows the table in `states.py`, and what agents are told about it.
"""
