"""One module for each screen of the page: its operations, and the schemas of what they answer."""
