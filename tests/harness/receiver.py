"""A CRM at many addresses of this machine, each an account of its own: it takes everything and notes when."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from aiohttp import web

from infra.stand_ins.postgres import free_port


@dataclass(kw_only=True)
class Receiver:
    """
    `arrivals`: seconds of the monotonic clock, per host; `rows`, `pop_ups`: when each row, and the first pop-up of each
    call, came. Hosts of `silent` do not answer.
    """

    port: int
    arrivals: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    rows: dict[str, float] = field(default_factory=dict)
    pop_ups: dict[str, float] = field(default_factory=dict)
    order: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    sizes: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    doubled: int = 0
    silent: set[str] = field(default_factory=set)

    def most_per_second(self, host: str) -> int:
        arrivals, most, first = sorted(self.arrivals[host]), 0, 0
        for last, moment in enumerate(arrivals):
            while arrivals[first] <= moment - 1:
                first += 1
            most = max(most, last - first + 1)
        return most

    async def take(self, request: web.Request) -> web.Response:
        now = asyncio.get_running_loop().time()
        host = request.host.partition(":")[0]
        self.arrivals[host].append(now)
        if host in self.silent:
            await asyncio.sleep(60)
        fields = parse_qs((await request.read()).decode())
        if "event" in fields:
            event = json.loads(fields["event"][0])
            if event["type"] != "hangup":
                self.pop_ups.setdefault(f"{host} {event['callExternalId']}", now)
            return web.json_response({"success": True, "notifiedUsers": []})
        ids = [row["externalId"] for row in json.loads(fields["calls"][0])] if "calls" in fields else []
        self.sizes[host].append(len(ids))
        for one in ids:
            name = f"{host} {one}"
            self.doubled += name in self.rows
            self.rows.setdefault(name, now)
            self.order[host].append(one)
        return web.json_response({"success": True, "processedCallsCount": len(ids)})


@contextmanager
def receiving(hosts: Sequence[str]) -> Iterator[Receiver]:
    receiver = Receiver(port=free_port())
    loop = asyncio.new_event_loop()

    async def start() -> web.AppRunner:
        application = web.Application()
        application.router.add_route("*", "/{rest:.*}", receiver.take)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        for host in hosts:
            await web.TCPSite(runner, host, receiver.port).start()
        return runner

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    try:
        yield receiver
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
