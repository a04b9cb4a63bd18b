"""
One JSON object per line on standard output, in the form that Cloud Logging reads.

Messages are constant, what varies goes into `extra`. Values under secret-looking names never get out, nor do the
process's own secrets under any name, and phone numbers are masked, whoever logs them.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Final

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SECRET: Final = re.compile(r"token|secret|password|api[_-]?key|authorization|cookie", re.IGNORECASE)
_PASSWORD: Final = re.compile(r"(?<=:)[^:/@]+(?=@)|(?<=password=)[^\s&]+")
_PHONE: Final = re.compile(r"(?<![\w.-])(\+?\d{4})\d{3,8}(\d{4})(?![\w-]|\.\d)")


# Shorter ones stand in any line by chance.
_SECRET_CHARACTERS: Final = 8


class JsonFormatter(logging.Formatter):
    def __init__(self, hidden: Collection[str] = ()) -> None:
        super().__init__()
        self._hidden = [json.dumps(secret, ensure_ascii=False)[1:-1] for secret in hidden]

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
        return hide(json.dumps(line, ensure_ascii=False, default=str), self._hidden)


def configure() -> None:
    """Sends every logger of the process to standard output as JSON; level from LOG_LEVEL (INFO)."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(own_secrets(os.environ)))  # noqa: TID251  (same)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(os.environ.get("LOG_LEVEL", "INFO").upper())  # noqa: TID251  (needed before config can fail)
    for noisy in ("google", "grpc", "werkzeug"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # It warns of malformed answers with the whole address that was asked, and what stands in it.
    logging.getLogger("urllib3").setLevel(logging.ERROR)


def own_secrets(environ: Mapping[str, str]) -> list[str]:
    """What this process was given to keep, longest first: a driver that cannot read an address quotes parts of it."""
    url = environ.get("DATABASE_URL", "")
    found = {url, *_PASSWORD.findall(url), *environ.get("VAULT_KEYS", "").split(",")}
    found |= {value for name, value in environ.items() if _SECRET.search(name)}
    return sorted((secret for secret in found if len(secret) >= _SECRET_CHARACTERS), key=len, reverse=True)


def hide(text: str, secrets: Collection[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "•••")
    return text


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
