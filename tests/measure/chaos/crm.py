"""
The CRM simulator under several addresses of this machine: an account of the CRM is known by its address, and each
enterprise has one of its own. `python -m tests.measure.chaos.crm --port 8081 --hosts 127.0.0.1 127.0.0.2`.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import Sequence

from aiohttp import web

from infra.stand_ins.retailcrm_simulator.app import build


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--hosts", nargs="+", required=True)
    given = parser.parse_args()
    asyncio.run(_serve(given.hosts, given.port))


async def _serve(hosts: Sequence[str], port: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    runner = web.AppRunner(build(accounts=None, state=None), access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    for host in hosts:
        await web.TCPSite(runner, host, port).start()
    await stop.wait()
    await runner.cleanup()


if __name__ == "__main__":
    main()
