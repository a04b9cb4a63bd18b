"""Smart redirect: the dialplan asks whose customer is calling before anything rings, and is answered in time."""
