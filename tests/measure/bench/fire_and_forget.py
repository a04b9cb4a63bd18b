"""
The usual kind of service: FastAPI answers at once and tells the CRM in a background task. Nothing is durable.

`CRM_URL` and `CRM_KEY` say whom to tell.
"""

from __future__ import annotations

import json
import os

import requests
from fastapi import BackgroundTasks, FastAPI, Request

app = FastAPI()


@app.post("/{event_type}")
async def take(event_type: str, request: Request, tasks: BackgroundTasks) -> dict[str, str]:
    body = await request.json()
    if event_type in {"dial", "hangup"}:
        tasks.add_task(tell, event_type, body)
    return {"status": "ok"}


def tell(event_type: str, body: dict[str, object]) -> None:
    extensions = [extension for extension in body.get("Extensions") or [] if extension]  # type: ignore[attr-defined]
    if event_type == "dial":
        path, name = "call/event", "event"
        value: object = {"type": "in", "phone": f"+{body['Phone']}", "codes": extensions}
    else:
        path, name = "calls/upload", "calls"
        value = [
            {
                "date": body["StartTime"],
                "type": "in",
                "phone": body["Phone"],
                "result": "answered" if body["CallStatus"] == "2" else "no answer",
                **({"code": extensions[0]} if extensions else {}),
                "externalId": body["UniqueId"],
            }
        ]
    requests.post(
        f"{os.environ['CRM_URL']}/api/v5/telephony/{path}",
        data={name: json.dumps(value)},
        headers={"X-API-KEY": os.environ["CRM_KEY"]},
        timeout=3,
    )
