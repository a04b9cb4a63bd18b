"""Thousands of invented enterprises, each as large as a usual one, written without waiting for their notices."""

from __future__ import annotations

import psycopg

_TABLES = ("enterprises", "users", "user_internal_phones", "lines")
# Five users with an extension each and three extensions besides, two lines, a mapping of five managers.
_STATEMENTS = (
    """
    INSERT INTO enterprises (number, name, token, secret, asterisk_url, integrations_config)
    SELECT 'M' || n, 'Enterprise ' || n, 'token-of-M' || n, 'secret-of-M' || n, 'http://192.0.2.1:8088',
           jsonb_build_object('retailcrm', jsonb_build_object(
               'enabled', true, 'domain', 'https://enterprise-' || n || '.retailcrm.ru', 'version', 7,
               'api_key', 'v1.test.' || md5(n::text) || md5(n::text || 'b') || md5(n::text || 'c'),
               'last_sync', '2025-01-01T00:00:00Z', 'crm_timezone', 'Europe/Minsk', 'settle_seconds', 5,
               'smart_redirect_mode', 'routing+name', 'smart_redirect_shop_names', '{"main": "Shop"}'::jsonb,
               'user_extensions', '{"18": "150", "19": "151", "20": "152", "21": "153", "22": "154"}'::jsonb))
    FROM generate_series(1, %s) AS n
    """,
    """
    INSERT INTO users (enterprise_number, login, first_name, last_name, personal_phone)
    SELECT 'M' || n, (149 + u)::text, 'First', 'Last', '+37529' || lpad((n * 10 + u)::text, 7, '0')
    FROM generate_series(1, %s) AS n, generate_series(1, 5) AS u
    """,
    """
    INSERT INTO user_internal_phones (enterprise_number, user_id, phone_number)
    SELECT 'M' || n, (SELECT id FROM users WHERE enterprise_number = 'M' || n AND login = p::text), p::text
    FROM generate_series(1, %s) AS n, generate_series(150, 157) AS p
    """,
    """
    INSERT INTO lines (enterprise_number, line_id, name, phone_number, site_code, incoming_transform)
    SELECT 'M' || n, '000130' || l, 'Line ' || l, '+37517' || lpad((n * 2 + l)::text, 7, '0'), 'main', '+375{9}'
    FROM generate_series(1, %s) AS n, generate_series(1, 2) AS l
    """,
)


def write(database_url: str, count: int) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        for table in _TABLES:
            conn.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        for statement in _STATEMENTS:
            conn.execute(statement, [count])
        for table in _TABLES:
            conn.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
        conn.execute("ANALYZE")
