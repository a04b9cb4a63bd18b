-- Each has a successor that knows of the CRM.
ALTER TABLE deliveries DROP CONSTRAINT deliveries_call_id_effect_external_id_extensions_generation_key;
DROP INDEX deliveries_upload_external_id_key;
DROP INDEX deliveries_one_in_flight_per_call_key;
DROP INDEX deliveries_waiting_uploads_idx;
