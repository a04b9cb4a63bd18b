"""The Asterisk service for development and tests: it accepts orders to call and to transfer, and calls nobody."""
