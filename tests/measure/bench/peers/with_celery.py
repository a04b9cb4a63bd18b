"""
FastAPI, Celery and a Redis that writes every command to its file: a task for what the CRM must hear.

`uvicorn …:app` takes events in, `celery --app=….queue worker` tells the CRM. A task is acknowledged when it is done;
one that a killed worker took is given out again after the visibility timeout.
"""

from __future__ import annotations

import os
import threading
from typing import Annotated, Any, Final

import requests
from celery import Celery  # type: ignore[import-not-found,import-untyped,unused-ignore]  # for the peers alone
from fastapi import Body, FastAPI

from tests.measure.bench import telling

TIMEOUT_SECONDS: Final = 5.0
VISIBILITY_SECONDS: Final = 30

queue = Celery("peer", broker=os.environ.get("PEER_REDIS_URL", ""))
queue.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    broker_transport_options={"visibility_timeout": VISIBILITY_SECONDS},
    broker_connection_retry_on_startup=True,
)
local = threading.local()


@queue.task(
    name="tell",
    autoretry_for=(requests.RequestException,),
    retry_kwargs={"max_retries": 10},
    retry_backoff=True,
    retry_backoff_max=10,
)
def tell(event_type: str, body: dict[str, Any]) -> None:
    if not hasattr(local, "session"):
        local.session = requests.Session()
    request = telling.request_for(event_type, body)
    local.session.post(
        telling.crm_url() + request.path,
        data=request.fields,
        headers=telling.headers(),
        timeout=TIMEOUT_SECONDS,
    ).raise_for_status()


app = FastAPI()


@app.post("/{event_type}")
def take(event_type: str, body: Annotated[dict[str, Any], Body()]) -> dict[str, str]:
    if event_type in telling.TOLD:
        tell.delay(event_type, body)
    return {"status": "ok"}
