-- no transaction
-- Calls of which a CRM hears nothing, for a reason that somebody may want to mend: found without reading the others.
-- Calls between internal numbers are none of them. lib/store/silence.py has the same condition.
CREATE INDEX CONCURRENTLY calls_without_effect_idx ON calls (enterprise_number, updated_at)
    WHERE next_wake_at IS NULL AND kind <> 'internal' AND decisions @? '$[*] ? ((!exists(@.crm) || @.crm == "retailcrm") && (@.code == "no_phone" || @.code == "only_channels" || @.code == "no_date" || @.code == "integration_disabled"))';
