"""The network's side of Workshed: what is asked, what there is, and offers that bring the two together.

Lives here: orders, shops, planning, dispatch, the store, the HTTP API and the pages. May touch: the database, the
broker, HTTP. In: orders and the agents' journals; out: plans with reasons, offers, leases. It never moves a machine.
"""
