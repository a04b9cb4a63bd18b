"""
From channel events to what a CRM must hear: pure, no clock, no I/O, no dependence on the order of its input.

event         the hosts' forms, read tolerantly           directory   what the rules know of an enterprise
numbers       telephone numbers                           settings    what an enterprise may choose
clock         the host's times against ours               channels    what a channel's name says
legs          which records are legs of other calls       linking     which events belong to one call
roles         main id, direction, customer, line          conversation bridges over time, who talked
ending        when the call is over                       outcome     answered, result, owner, times
call          all of it, put together                     plan        what is due, and what is not, and why
explain       the same for a reader                       decision    reasons

docs/calls.md retells the rules and says where each of them lives.
"""
