-- no transaction
-- Nobody waits while the ledger is read.
ALTER TABLE deliveries VALIDATE CONSTRAINT deliveries_state_check;
