"""Smart redirect: whose customer is calling, asked before anything rings, and answered in time or not at all."""
