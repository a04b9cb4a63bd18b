"""
What the hosts of an enterprise do that the rules have to guess at or lose by, found in the events that are stored.

It stands beside the rules, because it reads events by the same directory, numbers and clocks; it decides nothing for a
call, and no rule imports it.
"""
