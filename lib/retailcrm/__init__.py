"""RetailCRM: everything that knows its words. Another CRM is another package like this one, and a function."""
