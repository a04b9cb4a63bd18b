"""Runs a simulator's process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

from aiohttp import web

_GRACE_SECONDS: Final = 0.2


class CannotStart(Exception):
    """The message is one sentence for the person who started it."""


def run(what: str, build: Callable[[], web.Application], *, host: str, port: int, note: str = "") -> int:
    """Serves until SIGTERM or SIGINT; the exit code. `build` may raise CannotStart."""
    try:
        asyncio.run(_serve(what, build, host, port, note))
    except CannotStart as problem:
        print(f"The {what} cannot start: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


async def _serve(what: str, build: Callable[[], web.Application], host: str, port: int, note: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(build(), access_log=None, shutdown_timeout=_GRACE_SECONDS)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except (OSError, OverflowError) as exc:
            reason = os.strerror(exc.errno).lower() if isinstance(exc, OSError) and exc.errno else str(exc)
            raise CannotStart(f"{host}:{port} cannot be used: {reason}.") from exc
        address = runner.addresses[0]
        print(f"{what}, for development only (no security): http://{address[0]}:{address[1]}/{note}", flush=True)
        await stop.wait()
    finally:
        await runner.cleanup()
