"""
FastAPI and Procrastinate: a job in PostgreSQL for what the CRM must hear, and a worker that tells it.

`uvicorn …:app` takes events in, `procrastinate --app=….queue worker` tells the CRM. Jobs of a killed worker are found
and tried again as Procrastinate's documentation shows, only sooner.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import procrastinate  # type: ignore[import-not-found,unused-ignore]  # installed for the peers alone
from fastapi import FastAPI, Request

from tests.measure.bench import telling
from tests.measure.bench.peers.asking import post

CONNECTIONS: Final = 16
STALLED_AFTER_SECONDS: Final = 30

queue = procrastinate.App(
    connector=procrastinate.PsycopgConnector(
        conninfo=os.environ.get("PEER_DATABASE_URL", ""), min_size=1, max_size=CONNECTIONS
    )
)
session: list[aiohttp.ClientSession] = []


@queue.task(name="tell", retry=procrastinate.RetryStrategy(max_attempts=10, linear_wait=1))
async def tell(event_type: str, body: dict[str, Any]) -> None:
    if not session:
        session.append(aiohttp.ClientSession())
    await post(session[0], event_type, body)


@queue.periodic(cron="*/10 * * * * *")
@queue.task(name="retry_stalled", queueing_lock="retry_stalled", pass_context=True)
async def retry_stalled(context: Any, timestamp: int) -> None:
    stalled = await queue.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_AFTER_SECONDS)
    for job in stalled:
        await queue.job_manager.retry_job(job)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with queue.open_async():
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/{event_type}")
async def take(event_type: str, request: Request) -> dict[str, str]:
    body = await request.json()
    if event_type in telling.TOLD:
        await tell.defer_async(event_type=event_type, body=body)
    return {"status": "ok"}
