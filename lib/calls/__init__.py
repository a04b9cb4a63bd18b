"""
From channel events to what a CRM must hear: pure, no clock, no I/O, no dependence on the order of its input.

event         the hosts' forms, read tolerantly           directory     what the rules know of an enterprise
e164          one number in any spelling                  settings      what an enterprise may choose
numbers       of the other party, by line and directory   decision      a reason
naming        lines and extensions by their own names     records       both ends of a record
channels      what a channel's name says                  clock         the host's times against ours
legs          records that are legs of other calls        keys          what leads from one event to others
restarts      ids that a host gives twice                 trees         events that surely belong together
linking       which events are one call                   telephones    whose telephone a channel is
roles         main id, direction, customer, line          conversation  bridges over time
picture       both of these, and the copies               talks         who talked with the customer
outcome       answered, result, owner, times              recording     the address of a recording
ending        when the call is over                       call          all of it, put together
plan          what is due, what is not, and why           explain       the same for a reader

docs/calls.md retells the rules and says where each of them lives.
"""
