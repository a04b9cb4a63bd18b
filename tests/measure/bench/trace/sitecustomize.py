"""
Python reads this when it starts and finds this folder in PYTHONPATH: the timers of a traced stack.

`TRACE_DIR` says where the times go. Only functions and the broker are timed; their code knows nothing of it.
"""

from __future__ import annotations

import os
import sys

_TRACED = ("--target=dispatch_call_event", "--target=retailcrm_deliver", "infra.stand_ins.emulator")

if os.environ.get("TRACE_DIR") and any(argument in _TRACED for argument in sys.orig_argv):
    from tests.measure.bench.trace.marks import install

    install(os.environ["TRACE_DIR"], next(argument for argument in sys.orig_argv if argument in _TRACED))
