"""The Asterisk service for development and tests: it takes orders to call and to transfer, and calls nobody."""
