"""RetailCRM: its API, addresses and module. Another CRM would be another package like this one, and a function."""
