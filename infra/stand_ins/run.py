"""`make run`: the whole system on this machine, one call played, and then it stays up until Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from infra.stand_ins import demo, rundir
from infra.stand_ins.processes import ROOT, end_marked
from infra.stand_ins.rundir import StartError
from infra.stand_ins.stack import Crashed, Stack


class _Stopped(BaseException):
    """A signal asked the run to end."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make run", description="The whole system on this machine")
    parser.add_argument("--no-demo", action="store_true", help="no demo enterprise, no demo call")
    parser.add_argument("--restart", action="store_true", help="start a part that ends again (also RESTART=1)")
    parser.add_argument("--clean", action="store_true", help="remove the state directory and end")
    options = parser.parse_args()
    env = os.environ
    run_dir = Path(env.get("RUN_DIR") or ".local").resolve()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, _stop)
    try:
        if options.clean:
            _clean(run_dir)
        else:
            restart = options.restart or env.get("RESTART") == "1"
            _run(run_dir, env, restart=restart, with_demo=not options.no_demo)
    except (StartError, Crashed) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except _Stopped:
        pass
    return 0


def _stop(*_: object) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        print("\nStopping", flush=True)
    raise _Stopped


def _run(run_dir: Path, env: Mapping[str, str], *, restart: bool, with_demo: bool) -> None:
    print(f"Starting; state and logs are in {run_dir}", flush=True)
    began = time.monotonic()
    stack = Stack(
        run_dir,
        int(_number(env, "PORT", 8080)),
        restart=restart,
        tell=lambda line: print(f"  {line}", flush=True),
        external_emulator=_emulator(env),
        sweep_interval_seconds=_number(env, "SWEEP_INTERVAL_SECONDS", 1),
    )
    with stack:
        if with_demo:
            demo.provide(stack)
        print(f"Up in {time.monotonic() - began:.1f} s\n", flush=True)
        if with_demo:
            demo.play(stack)
        print(_addresses(stack, with_demo=with_demo), flush=True)
        while True:
            stack.pause(3600)


def _emulator(env: Mapping[str, str]) -> str:
    """An emulator that is there already, if there is one."""
    host = env.get("PUBSUB_EMULATOR_HOST", "")
    if not host:
        return ""
    name, _, port = host.rpartition(":")
    try:
        socket.create_connection((name or "127.0.0.1", int(port)), timeout=2).close()
    except (OSError, ValueError):
        print(f"PUBSUB_EMULATOR_HOST={host} does not answer: the embedded emulator is used", flush=True)
        return ""
    print(f"Pub/Sub is the emulator at {host}", flush=True)
    return host


def _number(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name) or str(default)
    try:
        return float(text)
    except ValueError:
        raise StartError(f"{name}={text} is not a number") from None


def _addresses(stack: Stack, *, with_demo: bool) -> str:
    lines = [
        ("Gateway", f"{stack.url('gateway')}/"),
        ("RetailCRM simulator", f"{stack.url('retailcrm-simulator')}/  (pop-ups and history, live)"),
        ("Operator token", f"{stack.layout.run_dir / 'secrets.json'}"),
    ]
    if with_demo:
        who = f"enterprise 0367, login {demo.ADMIN_LOGIN}, password {stack.secrets.admin_password}"
        lines.insert(1, ("Demo sign-in", who))
    if (ROOT / "ui").is_dir():
        lines.insert(1, ("Settings page", f"{stack.url('gateway')}/retailcrm-admin/"))
    listing = "\n".join(f"  {name:22} {value}" for name, value in lines)
    return f"\n{listing}\n\nIt stays up. Another call: make call SCENARIO=2-1-doc. Ctrl-C ends everything."


def _clean(run_dir: Path) -> None:
    if run_dir.exists():
        with rundir.owned(run_dir):
            end_marked(str(run_dir))
            shutil.rmtree(run_dir)


if __name__ == "__main__":
    sys.exit(main())
