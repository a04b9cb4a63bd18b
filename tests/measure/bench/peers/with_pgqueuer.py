"""
FastAPI and PgQueuer: a job in PostgreSQL for what the CRM must hear, and a worker that tells it.

`uvicorn …:app` takes events in, `python -m …` tells the CRM (`pgq run` of this version fails at its own log level). A
job whose worker sends no heartbeat for half a minute is taken by another one, as PgQueuer does by itself.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

import aiohttp
import asyncpg  # type: ignore[import-not-found,import-untyped,unused-ignore]  # installed for the peers alone
from fastapi import FastAPI, Request
from pgqueuer import (  # type: ignore[import-not-found,unused-ignore]
    AsyncpgDriver,
    DatabaseRetryEntrypointExecutor,
    PgQueuer,
    Queries,
)

from tests.measure.bench import telling
from tests.measure.bench.peers.asking import post

CONNECTIONS: Final = 16
AT_ONCE: Final = 32

pool: list[Any] = []


async def work() -> None:
    connection = await asyncpg.connect(os.environ["PEER_DATABASE_URL"])
    queue = PgQueuer(AsyncpgDriver(connection))
    async with aiohttp.ClientSession() as session:

        @queue.entrypoint("tell", executor_factory=_with_retries)
        async def tell(job: Any) -> None:
            event_type, body = json.loads(job.payload)
            await post(session, event_type, body)

        await queue.run(max_concurrent_tasks=AT_ONCE)


def _with_retries(parameters: Any) -> Any:
    return DatabaseRetryEntrypointExecutor(parameters=parameters, max_attempts=10, max_delay=timedelta(seconds=10))


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["PEER_DATABASE_URL"], min_size=1, max_size=CONNECTIONS) as opened:
        pool.append(opened)
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/{event_type}")
async def take(event_type: str, request: Request) -> dict[str, str]:
    body = await request.json()
    if event_type in telling.TOLD:
        async with pool[0].acquire() as connection:
            await Queries(AsyncpgDriver(connection)).enqueue("tell", json.dumps([event_type, body]).encode())
    return {"status": "ok"}


if __name__ == "__main__":
    asyncio.run(work())
