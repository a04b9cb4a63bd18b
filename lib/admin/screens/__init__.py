"""One module for each screen of the page: its operations, and the shapes of what they answer."""
