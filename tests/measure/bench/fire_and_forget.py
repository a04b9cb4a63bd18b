"""
The usual kind of service: FastAPI answers at once and tells the CRM in a background task. Nothing is durable.

`CRM_URL` and `CRM_KEY` say whom to tell.
"""

from __future__ import annotations

import requests
from fastapi import BackgroundTasks, FastAPI, Request

from tests.measure.bench import telling

app = FastAPI()


@app.post("/{event_type}")
async def take(event_type: str, request: Request, tasks: BackgroundTasks) -> dict[str, str]:
    body = await request.json()
    if event_type in telling.TOLD:
        tasks.add_task(tell, event_type, body)
    return {"status": "ok"}


def tell(event_type: str, body: dict[str, object]) -> None:
    request = telling.request_for(event_type, body)
    requests.post(telling.crm_url() + request.path, data=request.fields, headers=telling.headers(), timeout=3)
