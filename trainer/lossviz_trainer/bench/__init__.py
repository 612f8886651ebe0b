"""How fast scans and training steps are on this machine, beside what bounds them.

Everything in one table is measured by turns in one process (A B C A B C), after a gate: a
contender whose losses are not those of a float64 reference gets FAIL instead of a speed.
"""
