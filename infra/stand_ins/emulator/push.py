"""Pushing: takes ready messages, posts them to the endpoint, and treats the answer as ack or nack."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from infra.stand_ins.emulator.envelope import request_for
from infra.stand_ins.emulator.errors import Refusal
from infra.stand_ins.emulator.faults import Fate, FaultPlan
from infra.stand_ins.emulator.model import Lease
from infra.stand_ins.emulator.oidc import Signer
from infra.stand_ins.emulator.subscription import Subscription

log = logging.getLogger(__name__)

ACKS: Final = frozenset({102, 200, 201, 202, 204})
_FIRST_PAUSE_SECONDS: Final = 0.1
_HOLD_AT_MOST_SECONDS: Final = 1.0
# Below the two seconds after which gunicorn closes idle connections: a request on a closing connection is lost.
_KEEP_ALIVE_SECONDS: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class PushLimits:
    concurrency: int = 64
    longest_pause_seconds: float = 1.0


class PushService:
    def __init__(self, *, limits: PushLimits, faults: FaultPlan, signer: Signer) -> None:
        self._limits = limits
        self._faults = faults
        self._signer = signer
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "CloudPubSub-Google"},
        )
        self._pushers: list[_Pusher] = []

    def attach(self, subscription: Subscription) -> None:
        """Every subscription has a pusher; one without an endpoint leaves its messages to pullers."""
        self._pushers = [pusher for pusher in self._pushers if not pusher.finished]
        pusher = _Pusher(
            subscription, session=self._session, limits=self._limits, faults=self._faults, signer=self._signer
        )
        self._pushers.append(pusher)
        subscription.listen(pusher.pump)

    async def close(self) -> None:
        for pusher in self._pushers:
            await pusher.close()
        await self._session.close()


class _Pusher:
    """
    The pushes of one subscription.

    After failures it pauses, longer each time, and sends fewer at once, so an endpoint that is down costs little; the
    first success restores the full rate.
    """

    def __init__(
        self,
        subscription: Subscription,
        *,
        session: aiohttp.ClientSession,
        limits: PushLimits,
        faults: FaultPlan,
        signer: Signer,
    ) -> None:
        self._subscription = subscription
        self._session = session
        self._limits = limits
        self._faults = faults
        self._signer = signer
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: list[asyncio.Future[None]] = []
        self._failures = 0
        self._failed_at = 0.0
        self._pause: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def finished(self) -> bool:
        return self._subscription.deleted and not self._tasks

    def pump(self) -> None:
        config = self._subscription.config
        if not config.push_config.push_endpoint or config.detached or self._subscription.deleted:
            return
        if self._pause is not None or self._closed:
            return
        room = max(1, self._limits.concurrency >> self._failures) - len(self._tasks)
        if room > 0:
            for lease in self._subscription.take(room, deadline_seconds=None):
                self._spawn(self._deliver(lease))

    async def close(self) -> None:
        self._closed = True
        if self._pause is not None:
            self._pause.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a push of %s broke", self._subscription.name, exc_info=error)
        self.pump()

    async def _deliver(self, lease: Lease) -> None:
        fate = self._faults.fate(self._subscription.name)
        if fate is not None:
            if fate.dropped:
                deadline = self._subscription.ack_deadline_seconds
                self._subscription.extend([lease.ack_id], deadline_seconds=deadline)
                return
            await self._suffer(fate, lease)
        started_at = self._loop.time()
        problem = await self._post(lease)
        for held in self._held:
            if not held.done():
                held.set_result(None)
        self._settle(lease, started_at, problem)

    async def _suffer(self, fate: Fate, lease: Lease) -> None:
        if fate.delay_seconds:
            await asyncio.sleep(fate.delay_seconds)
        if fate.held_back:
            held: asyncio.Future[None] = self._loop.create_future()
            self._held.append(held)
            await asyncio.wait((held,), timeout=_HOLD_AT_MOST_SECONDS)
            self._held.remove(held)
        if fate.copy_after_seconds is not None:
            if self._subscription.config.enable_message_ordering:
                # A copy of its own would come after later messages of the key, which the real service never does.
                await self._post(lease)
            else:
                self._spawn(self._copy(lease, fate.copy_after_seconds))

    async def _copy(self, lease: Lease, after_seconds: float) -> None:
        await asyncio.sleep(after_seconds)
        await self._post(lease)

    async def _post(self, lease: Lease) -> str | None:
        """Returns what was wrong, or None when it was acknowledged."""
        config = self._subscription.config
        deadline = aiohttp.ClientTimeout(total=self._subscription.ack_deadline_seconds)
        try:
            request = request_for(config, lease)
            headers = {**request.headers, **await self._authorization(config.push_config)}
            try:
                status = await self._status(config.push_config.push_endpoint, request.body, headers, deadline)
            except aiohttp.ServerDisconnectedError:
                # Most often a kept connection that the server closed as we wrote; a second copy is allowed.
                status = await self._status(config.push_config.push_endpoint, request.body, headers, deadline)
        except TimeoutError:
            return f"no answer within the ack deadline of {deadline.total:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            return f"{type(exc).__name__}: {exc}"
        return None if status in ACKS else f"status {status}"

    async def _status(self, url: str, body: bytes, headers: dict[str, str], deadline: aiohttp.ClientTimeout) -> int:
        async with self._session.post(
            url, data=body, headers=headers, timeout=deadline, allow_redirects=False
        ) as response:
            await response.read()  # a connection with unread bytes could not be used again
            return response.status

    async def _authorization(self, push_config: Any) -> dict[str, str]:
        if push_config.WhichOneof("authentication_method") != "oidc_token":
            return {}
        oidc = push_config.oidc_token
        token = await self._signer.token(oidc.service_account_email, oidc.audience or push_config.push_endpoint)
        return {"Authorization": f"Bearer {token}"}

    def _settle(self, lease: Lease, started_at: float, problem: str | None) -> None:
        if problem is None:
            self._failures = 0
            try:
                self._subscription.ack([lease.ack_id])
            except Refusal as refusal:
                problem = refusal.message
            else:
                return
        self._slow_down(started_at, problem)
        self._subscription.nack([lease.ack_id])

    def _slow_down(self, started_at: float, problem: str) -> None:
        if started_at < self._failed_at:
            return  # of the same burst as a failure already counted
        self._failed_at = self._loop.time()
        self._failures += 1
        if self._failures == 1:
            log.warning("push of %s failed: %s", self._subscription.name, problem)
            return
        pause = min(_FIRST_PAUSE_SECONDS * 2.0 ** min(self._failures - 2, 30), self._limits.longest_pause_seconds)
        if self._pause is not None:
            self._pause.cancel()
        self._pause = self._loop.call_later(pause, self._resume)

    def _resume(self) -> None:
        self._pause = None
        self.pump()
