"""What the tests of functions have: real PostgreSQL, broker and CRM."""

from __future__ import annotations

from tests.functions.conftest import (  # noqa: F401  (fixtures)
    broker,
    crm_process,
    crm_server,
    function,
    provisioned,
    sql,
)
