"""
One JSON object per line on standard output, in the form that Cloud Logging reads.

Messages are constant, what varies goes into `extra`. Values under secret-looking names never get out and
phone numbers are masked, whoever logs them.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from datetime import UTC, datetime
from typing import Final

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SECRET: Final = re.compile(r"token|secret|password|api[_-]?key|authorization|cookie", re.IGNORECASE)
_PHONE: Final = re.compile(r"(?<![\w.-])(\+?\d{4})\d{3,8}(\d{4})(?![\w-]|\.\d)")


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "severity": record.levelname,
            "message": mask(record.getMessage()),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "logger": record.name,
        }
        for key, value in vars(record).items():
            if key not in _STANDARD:
                line[key] = redact(key, value)
        if record.exc_info:
            line["exception"] = mask(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)


def configure() -> None:
    """Sends every logger of the process to standard output as JSON; level from LOG_LEVEL (INFO)."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(os.environ.get("LOG_LEVEL", "INFO").upper())  # noqa: TID251  (needed before config can fail)
    for noisy in ("urllib3", "google", "grpc", "werkzeug"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def redact(key: str, value: object) -> object:
    """The value as it may be shown under this name."""
    if _SECRET.search(key):
        return "•••"
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {k: redact(str(k), v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [redact(key, item) for item in value]
    return value


def mask(text: str) -> str:
    """`+375291111111` as `+3752••••1111`: enough to recognise, not to call."""
    return _PHONE.sub(r"\1••••\2", text)
