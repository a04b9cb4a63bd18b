-- no transaction
-- Who called in vain, and what was between this customer and us since. Only calls that are over stand in them, so a
-- call enters each once.
CREATE INDEX CONCURRENTLY calls_missed_idx ON calls (enterprise_number, started_at)
    WHERE kind = 'in' AND result = 'no answer' AND over_at IS NOT NULL AND customer IS NOT NULL;
CREATE INDEX CONCURRENTLY calls_over_of_customer_idx ON calls (enterprise_number, customer, started_at)
    WHERE over_at IS NOT NULL AND customer IS NOT NULL;
