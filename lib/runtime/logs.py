"""
One JSON object per line on standard output, in the form that Cloud Logging reads.

Messages are constant, variables go into `extra`; what is true of the whole request comes from `log_context`. Values
under names that look secret are redacted, the process's own secrets under any name, and phone numbers are masked,
whichever library logs them.
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
from urllib.parse import unquote

from lib.runtime import log_context

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SECRET: Final = re.compile(r"token|secret|password|api[_-]?key|authorization|cookie", re.IGNORECASE)
_DATABASES: Final = ("DATABASE_URL", "DATABASE_LISTEN_URL", "DATABASE_ADMIN_URL", "OLD_DATABASE_URL")
# Up to the last @: with an @ in the password, the driver takes the part after the first one for a host.
_PASSWORD: Final = re.compile(r"[^:]*:(?P<of_user>.+)@", re.DOTALL)
_SCHEME: Final = re.compile(r"\A\s*(?:postgres(?:ql)?:?/+|postgres(?:ql)?:|\w+://)")
_PASSWORD_FIELD: Final = re.compile(r"password\s*=\s*('(?:\\.|[^'\\])*'?|[^\s&]+)")
# Where a driver may split an address that is malformed.
_CUT: Final = re.compile(r"[@:/?#&=%',\s\[\]\\]+")
_PHONE: Final = re.compile(r"(?<![\w.-])(\+?\d{4})\d{3,8}(\d{4})(?![\w-]|\.\d)")
# As people write it, and in addresses: behind a plus (or its escape), with an area code in brackets, or national in
# groups. Dates, times, identifiers and addresses of the network are none of these.
_BETWEEN: Final = r"(?:[ \u00a0\u2000-\u200f\u2010-\u2015\u2060-\u2069().\-/]|%20|%28|%29){0,4}"
_GAP: Final = r"[ \u00a0-]"
_SPACED_PHONES: Final = (
    re.compile(rf"(?:\+|%2B)(?:{_BETWEEN}\d){{8,15}}(?![\d])", re.IGNORECASE),
    re.compile(rf"(?<![\w.+-])(?:\d{{1,3}}{_BETWEEN})?\(\d{{2,5}}\)(?:{_BETWEEN}\d){{5,8}}(?!\d)"),
    re.compile(
        rf"(?<![\w.+-])(?:8|7|0|80|375|380){_GAP}?0?\d{{2,3}}{_GAP}\d{{2,3}}(?:{_GAP}?\d{{2}}){{2}}(?![\w-]|\.\d)"
    ),
)
_NO_DIGIT: Final = re.compile(r"\D")


# Shorter secrets would match parts of unrelated lines.
_SECRET_CHARACTERS: Final = 8
_PIECE_CHARACTERS: Final = 5


# Ours, or Google's: long numbers among them, which are no phone's.
_OWN_IDS: Final = frozenset({"event_id", "message_id"})


class JsonFormatter(logging.Formatter):
    """`function`: which one the process is; `project`: in which Cloud Trace looks for its traces."""

    def __init__(self, hidden: Collection[str] = (), *, function: str = "", project: str = "") -> None:
        super().__init__()
        self._function, self._project = function, project
        self._hidden = [json.dumps(secret, ensure_ascii=False)[1:-1] for secret in hidden]

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "severity": record.levelname,
            "message": mask(record.getMessage()),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "logger": record.name,
            **self._of_request(),
        }
        for key, value in vars(record).items():
            if key not in _STANDARD:
                line[key] = redact(key, value)
        if record.exc_info:
            line["exception"] = mask(self.formatException(record.exc_info))
        return hide(json.dumps(line, ensure_ascii=False, default=str), self._hidden)

    def _of_request(self) -> dict[str, object]:
        line: dict[str, object] = {"function": self._function} if self._function else {}
        if trace := log_context.trace_id():
            line["logging.googleapis.com/trace"] = (
                f"projects/{self._project}/traces/{trace}" if self._project else trace
            )
        for key, value in log_context.fields().items():
            line[key] = value if key in _OWN_IDS else redact(key, value)
        return line


def configure(function: str = "") -> None:
    """
    Sends every logger of the process to standard output as JSON, each line with the name of its function; level from
    LOG_LEVEL (INFO).
    """
    environ = os.environ  # noqa: TID251  (needed before config can fail)
    handler = logging.StreamHandler(sys.stdout)
    project = environ.get("GOOGLE_CLOUD_PROJECT", "")
    handler.setFormatter(JsonFormatter(own_secrets(environ), function=function, project=project))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(environ.get("LOG_LEVEL", "INFO").upper())
    for noisy in ("google", "grpc", "werkzeug"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # It warns of malformed answers with the whole URL, including secrets in the query.
    logging.getLogger("urllib3").setLevel(logging.ERROR)


def configure_command() -> None:
    """
    For a command of an operator, which reports a failure in one sentence itself: warnings of libraries, which quote
    addresses, are suppressed; errors go to standard error.
    """
    configure()
    root = logging.getLogger()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(root.handlers[0].formatter)
    handler.setLevel(logging.ERROR)  # libraries set levels of their own loggers, which override the root's
    root.handlers[:] = [handler]


def own_secrets(environ: Mapping[str, str]) -> list[str]:
    """
    The secrets of this process and their parts, longest first: a driver that cannot parse an address quotes parts of
    it.
    """
    urls = [environ.get(name, "") for name in _DATABASES]
    passwords = {password for url in urls for password in _passwords(url)}
    found = {*urls, *passwords, *environ.get("VAULT_KEYS", "").split(",")}
    found |= {value for name, value in environ.items() if _SECRET.search(name)}
    found = {secret for secret in found if len(secret) >= _SECRET_CHARACTERS}
    found |= {
        piece
        for password in passwords
        for piece in _CUT.split(password)
        if piece != password and len(piece) >= _PIECE_CHARACTERS
    }
    return sorted(found, key=len, reverse=True)


def _passwords(url: str) -> set[str]:
    """The passwords in the database's address, encoded and decoded, even where the address is malformed."""
    of_user = _PASSWORD.match(_SCHEME.sub("", url))
    found = {of_user["of_user"]} if of_user else set()
    found |= {field.strip("'") for field in _PASSWORD_FIELD.findall(url)}
    return found | {unquote(password) for password in found}


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
    """`+375291111111`, also as `+375 (29) 111-11-11`, becomes `+3752••••1111`: enough to recognise, not to call."""
    for form in _SPACED_PHONES:
        text = form.sub(_masked, text)
    return _PHONE.sub(r"\1••••\2", text)


def _masked(found: re.Match[str]) -> str:
    digits = _NO_DIGIT.sub("", re.sub("%2[B089]", "", found[0], flags=re.IGNORECASE))
    plus = "+" if found[0].startswith(("+", "%")) else ""
    return f"{plus}{digits[:4]}••••{digits[-4:]}"
