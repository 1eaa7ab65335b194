"""What is asked: designs checked, orders validated, parts turned into jobs, products joined. Plain domain code.

May touch: the store's tables through a connection it is given. In: requests from people; out: orders that exist whole
or not at all, and refusals that say what, why and what to do.
"""
