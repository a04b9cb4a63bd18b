"""Times of nested spans: what each took by itself, without what was measured inside it."""

from __future__ import annotations

import functools
import inspect
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

_WRITE_SECONDS: Final = 0.5


class Spans:
    """
    One line of JSON for each outermost span, in a file of the process: `{"stage": milliseconds, …}`.

    A coroutine's span is a line of its own, since others run inside its time.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._local = threading.local()
        self._lines: list[dict[str, float]] = []
        self._writer = 0

    def wrap(
        self, stage: str, function: Callable[..., Any], label: Callable[..., str] | None = None
    ) -> Callable[..., Any]:
        """`label`: what to say besides the stage, from the arguments; of a coroutine only."""
        if inspect.iscoroutinefunction(function):
            return self._coroutine(stage, function, label)

        @functools.wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            self.enter(stage)
            try:
                return function(*arguments, **named)
            finally:
                self.leave()

        return timed

    def enter(self, stage: str) -> None:
        stack = self._local.__dict__.setdefault("stack", [])
        if not stack:
            self._local.line = {}
        stack.append([stage, time.perf_counter(), 0.0])

    def leave(self) -> None:
        stage, began, inside = self._local.stack.pop()
        took = time.perf_counter() - began
        line = self._local.line
        line[stage] = line.get(stage, 0.0) + (took - inside) * 1000
        if self._local.stack:
            self._local.stack[-1][2] += took
        else:
            self._add(line)

    def _coroutine(
        self, stage: str, function: Callable[..., Any], label: Callable[..., str] | None
    ) -> Callable[..., Any]:
        @functools.wraps(function)
        async def timed(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return await function(*arguments, **named)
            finally:
                name = f"{stage} {label(*arguments, **named)}" if label else stage
                self._add({name: (time.perf_counter() - began) * 1000})

        return timed

    def _add(self, line: dict[str, float]) -> None:
        self._lines.append(line)
        # A server forks after its modules are loaded, and threads do not survive that.
        if self._writer != os.getpid():
            self._writer = os.getpid()
            threading.Thread(target=self._write, daemon=True).start()

    def _write(self) -> None:
        with (self._folder / f"{self._name}-{os.getpid()}.jsonl").open("a") as file:
            while True:
                time.sleep(_WRITE_SECONDS)
                lines, self._lines = self._lines, []
                file.writelines(json.dumps(line) + "\n" for line in lines)
                file.flush()
