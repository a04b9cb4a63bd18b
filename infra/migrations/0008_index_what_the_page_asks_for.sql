-- What the page asks for with every look must not cost more the longer an enterprise has been here.

-- Exchanges in which RetailCRM named an extension or a manager that it does not know.
CREATE INDEX integration_logs_unknown_to_crm_idx ON integration_logs (enterprise_number, created_at)
    WHERE response_data -> 'body' ?| ARRAY['notExistCodes', 'notExistUsers'];
-- History rows that RetailCRM does not have and nobody is sending.
CREATE INDEX deliveries_failed_rows_idx ON deliveries (enterprise_number, call_id)
    WHERE effect = 'upload' AND state IN ('failed', 'expired', 'in_doubt');
