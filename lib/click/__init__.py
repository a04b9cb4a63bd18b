"""Click-to-call: which extension shall ring, which number is dialled, and the order to the Asterisk service."""
