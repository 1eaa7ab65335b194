"""What is asked: designs checked, orders validated and quoted, pieces laid on plates and sheets, products joined.

May touch: the store's tables through a connection it is given. In: requests from people, what machines measured; out:
orders that exist whole or not at all, jobs that know whose pieces they carry, refusals that say what, why, what to do.
"""
