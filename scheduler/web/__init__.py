"""The pages people look at: overview, orders, designs, shop floor, set-up; served by the API's own application.

Lives here: what is shown as plain values, how it is drawn, and the operations behind its buttons. May touch: the store
through the API's views, and the API's own operations. In: a running scheduler; out: pages that keep themselves fresh.
"""

from scheduler.web.pages import mount

__all__ = ["mount"]
