"""
An emulator of Google Pub/Sub for development: `python -m infra.stand_ins.emulator --port 8085 [--data-dir DIR]`.

Speaks the real gRPC API without any security; the official client finds it by PUBSUB_EMULATOR_HOST=127.0.0.1:8085. A
control port beside it shows the state, takes faults, and serves the keys of signed pushes. Snapshots, filters, schemas,
exactly-once delivery and retention by topic are not supported.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
from aiohttp import web

from infra.stand_ins.emulator.broker import Broker
from infra.stand_ins.emulator.control import Control
from infra.stand_ins.emulator.errors import CannotStart
from infra.stand_ins.emulator.faults import FaultPlan
from infra.stand_ins.emulator.grpc_api import Publisher, Subscriber
from infra.stand_ins.emulator.journal import Journal
from infra.stand_ins.emulator.oidc import Signer
from infra.stand_ins.emulator.push import PushLimits, PushService
from infra.stand_ins.emulator.rules import MAX_REQUEST_BYTES, REAL_MIN_ACK_DEADLINE_SECONDS

_GRACE_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class Options:
    host: str
    port: int
    control_port: int
    data_dir: Path | None
    push: PushLimits
    min_ack_deadline_seconds: int


def main(arguments: Sequence[str] | None = None) -> int:
    logging.basicConfig(level=logging.WARNING, format="emulator: %(message)s")
    options = _parse(arguments)
    try:
        asyncio.run(_serve(options))
    except CannotStart as problem:
        print(f"The Pub/Sub emulator cannot start: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


async def _serve(options: Options) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        faults, signer = FaultPlan(), Signer(options.data_dir)
        journal = _open_journal(options.data_dir)
        stack.callback(journal.close)
        broker = Broker(journal, min_ack_deadline_seconds=options.min_ack_deadline_seconds)
        stack.callback(broker.close)
        pushes = PushService(limits=options.push, faults=faults, signer=signer)
        stack.push_async_callback(pushes.close)
        broker.on_subscription = pushes.attach
        control_port = await _start_control(stack, Control(broker, faults, signer), options)
        server = _grpc_server(broker)
        port = _bind_grpc(server, options)
        try:
            broker.restore()
        except OSError as exc:
            raise CannotStart(f"its state in {options.data_dir} cannot be used: {exc}.") from exc
        await server.start()
        stack.push_async_callback(server.stop, _GRACE_SECONDS)
        state = f"state kept in {options.data_dir}" if options.data_dir else "state in memory"
        print(
            f"Pub/Sub emulator, for development only (no security): gRPC {options.host}:{port}, "
            f"control http://{options.host}:{control_port}, {state}",
            flush=True,
        )
        await stop.wait()


def _open_journal(directory: Path | None) -> Journal:
    try:
        return Journal(directory)
    except OSError as exc:
        raise CannotStart(f"its state in {directory} cannot be used: {exc}.") from exc


async def _start_control(stack: contextlib.AsyncExitStack, control: Control, options: Options) -> int:
    runner = web.AppRunner(control.application(), access_log=None, shutdown_timeout=_GRACE_SECONDS)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, options.host, options.control_port)
    try:
        await site.start()
    except OSError as exc:
        raise _port_problem(options.host, options.control_port, exc) from exc
    address: tuple[str, int] = runner.addresses[0]
    return address[1]


def _grpc_server(broker: Broker) -> grpc.aio.Server:
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 0),  # a second emulator must not share the port unnoticed
            ("grpc.max_receive_message_length", MAX_REQUEST_BYTES + 64 * 1024),
            ("grpc.max_send_message_length", -1),
            ("grpc.http2.max_ping_strikes", 0),  # the official subscriber pings idle streams every half minute
        ]
    )
    server.add_generic_rpc_handlers((Publisher(broker).handlers(), Subscriber(broker).handlers()))
    return server


def _bind_grpc(server: grpc.aio.Server, options: Options) -> int:
    # gRPC reports a failed bind by a page of its own log: ask the system first.
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((options.host, options.port))
        except OSError as exc:
            raise _port_problem(options.host, options.port, exc) from exc
    try:
        return int(server.add_insecure_port(f"{options.host}:{options.port}"))
    except RuntimeError as exc:
        raise CannotStart(f"{options.host}:{options.port} cannot be used: {exc}.") from exc


def _port_problem(host: str, port: int, error: OSError) -> CannotStart:
    return CannotStart(f"{host}:{port} cannot be used: {os.strerror(error.errno or 0)}.")


def _parse(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m infra.stand_ins.emulator", description="Pub/Sub for development.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8085, help="gRPC; 0 takes a free one (default: %(default)s)")
    parser.add_argument("--control-port", type=int, help="HTTP (default: the gRPC port + 1, or a free one for 0)")
    parser.add_argument("--data-dir", type=Path, help="keep the state here over restarts (default: in memory)")
    parser.add_argument(
        "--push-concurrency",
        type=int,
        default=PushLimits.concurrency,
        help="pushes in flight per subscription (default: %(default)s)",
    )
    parser.add_argument(
        "--push-longest-pause-seconds",
        type=float,
        default=PushLimits.longest_pause_seconds,
        help="of a subscription whose endpoint only fails (default: %(default)s; the real service: 60)",
    )
    parser.add_argument(
        "--min-ack-deadline-seconds",
        type=int,
        default=REAL_MIN_ACK_DEADLINE_SECONDS,
        help="smallest that is accepted; tests lower it (default and real service: %(default)s)",
    )
    given = parser.parse_args(arguments)
    control_port = given.control_port
    if control_port is None:
        control_port = given.port + 1 if given.port else 0
    return Options(
        host=given.host,
        port=given.port,
        control_port=control_port,
        data_dir=given.data_dir,
        push=PushLimits(concurrency=given.push_concurrency, longest_pause_seconds=given.push_longest_pause_seconds),
        min_ack_deadline_seconds=given.min_ack_deadline_seconds,
    )


if __name__ == "__main__":
    sys.exit(main())
