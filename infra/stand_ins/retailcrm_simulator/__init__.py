"""RetailCRM for development and tests: a strict server of its API v5, and the page that a manager would see."""
