#!/usr/bin/env python3
"""
Debian's Firefox for Playwright, which drives it by WebDriver BiDi and asks at each new page for a command that Firefox
does not have: its media features stay as they are. Run by Playwright with the arguments of a browser.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys

import aiohttp
from aiohttp import web

_UNKNOWN = "emulation.setMediaFeaturesOverride"


def find() -> str | None:
    """The Firefox of this machine."""
    return os.environ.get("FIREFOX") or shutil.which("firefox-esr") or shutil.which("firefox")


async def main() -> int:
    firefox = await asyncio.create_subprocess_exec(find() or "firefox", *sys.argv[1:], stderr=asyncio.subprocess.PIPE)
    assert firefox.stderr is not None
    async with aiohttp.ClientSession() as session:
        async for line in firefox.stderr:
            said = line.decode(errors="replace")
            found = re.search(r"WebDriver BiDi listening on (ws://\S+)", said)
            if found:
                said = said.replace(found[1], await _serve(session, found[1]))
            print(said, end="", file=sys.stderr, flush=True)
        return await firefox.wait()


async def _serve(session: aiohttp.ClientSession, firefox: str) -> str:
    """The address at which Playwright finds Firefox behind us."""

    async def answer(request: web.Request) -> web.WebSocketResponse:
        client = web.WebSocketResponse(max_msg_size=0)
        await client.prepare(request)
        async with session.ws_connect(f"{firefox}{request.path}", max_msg_size=0) as browser:
            passing = asyncio.create_task(_pass_on(browser, client))
            async for message in client:
                asked = json.loads(message.data)
                if asked["method"] == _UNKNOWN:
                    await client.send_json({"type": "success", "id": asked["id"], "result": {}})
                else:
                    await browser.send_str(message.data)
            passing.cancel()
        return client

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return f"ws://127.0.0.1:{runner.addresses[0][1]}"


async def _pass_on(browser: aiohttp.ClientWebSocketResponse, client: web.WebSocketResponse) -> None:
    async for message in browser:
        await client.send_str(message.data)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
