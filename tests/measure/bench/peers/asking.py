"""Telling the CRM from an asynchronous worker; whatever goes wrong is for the queue to try again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import aiohttp

from tests.measure.bench import telling

TIMEOUT_SECONDS: Final = 5.0


async def post(session: aiohttp.ClientSession, event_type: str, body: Mapping[str, Any]) -> None:
    request = telling.request_for(event_type, body)
    async with session.post(
        telling.crm_url() + request.path,
        data=request.fields,
        headers=telling.headers(),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
    ) as answer:
        answer.raise_for_status()
        await answer.read()
