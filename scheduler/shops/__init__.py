"""What there is: agents and machines as they last said, who is silent, what is quarantined. Plain domain code.

May touch: the store's tables through a connection it is given. In: presence and machine reports; out: rows, and the
planner's machines.
"""
