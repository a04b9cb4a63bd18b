-- A notice names the integration whose section changed, and there is one for each. What changes of the enterprise, its
-- people, numbers or lines concerns all of its integrations.

CREATE OR REPLACE FUNCTION notify_integration_config_changed() RETURNS trigger
    LANGUAGE plpgsql AS $$
DECLARE
    old_row jsonb := coalesce(to_jsonb(OLD), '{}');
    new_row jsonb := coalesce(to_jsonb(NEW), '{}');
    changed jsonb := CASE WHEN TG_OP = 'DELETE' THEN old_row ELSE new_row END;
    enterprise text := coalesce(changed ->> 'enterprise_number', changed ->> 'number');
    sections jsonb := coalesce(old_row -> 'integrations_config', '{}') || coalesce(new_row -> 'integrations_config', '{}');
    names text[];
BEGIN
    IF TG_TABLE_NAME <> 'enterprises' THEN
        sections := coalesce((SELECT integrations_config FROM enterprises WHERE number = enterprise), '{}');
    ELSIF TG_OP = 'UPDATE'
          AND old_row - '{integrations_config,updated_at}'::text[] = new_row - '{integrations_config,updated_at}'::text[]
    THEN
        names := ARRAY(
            SELECT section FROM jsonb_object_keys(sections) AS section
            WHERE old_row -> 'integrations_config' -> section IS DISTINCT FROM
                  new_row -> 'integrations_config' -> section);
    END IF;
    IF coalesce(cardinality(names), 0) = 0 THEN
        names := ARRAY(SELECT section FROM jsonb_object_keys(sections) AS section);
    END IF;
    IF cardinality(names) = 0 THEN
        names := '{retailcrm}';  -- it has none yet, and whoever listens must hear of it all the same
    END IF;
    PERFORM pg_notify('integration_config_changed', json_build_object(
        'enterprise_number', enterprise, 'integration_type', name)::text) FROM unnest(names) AS name;
    RETURN NULL;
END $$;
