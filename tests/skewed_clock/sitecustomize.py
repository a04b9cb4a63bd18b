"""
A wrong wall clock for one process: with this folder on PYTHONPATH, CLOCK_SKEW says whose and by how many seconds.

`CLOCK_SKEW=dispatch_call_event=600,sweep_calls=jumps`: the process whose arguments name that target; `jumps` is ten
minutes ahead and ten minutes behind in turn, every other second. The monotonic clock stays right, as on a real host.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
import time
from typing import Any

_SKEW = 600.0


def install(shift_of: str) -> None:
    real_time, real_time_ns, monotonic, real = time.time, time.time_ns, time.monotonic, dt.datetime

    def shift() -> float:
        if shift_of == "jumps":
            return _SKEW if int(monotonic()) % 2 else -_SKEW
        return float(shift_of)

    class _Kind(type):
        """What C code makes is of the real class, and passes for this one."""

        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, real)

        def __subclasscheck__(cls, subclass: type) -> bool:
            return issubclass(subclass, real)

    class Skewed(real, metaclass=_Kind):  # type: ignore[misc, valid-type]
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return real.now(tz) + dt.timedelta(seconds=shift())

        @classmethod
        def utcnow(cls) -> Any:
            return real.now(dt.UTC).replace(tzinfo=None) + dt.timedelta(seconds=shift())

    time.time = lambda: real_time() + shift()
    time.time_ns = lambda: real_time_ns() + int(shift() * 1e9)
    dt.datetime = Skewed  # type: ignore[misc]


for _item in os.environ.get("CLOCK_SKEW", "").split(","):
    _target, _, _shift = _item.partition("=")
    if _target and f"--target={_target}" in sys.orig_argv:
        install(_shift)
