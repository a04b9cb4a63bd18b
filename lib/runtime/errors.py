"""
Expected errors, by the reaction that helps.

AppError
├── ConfigError          a setting is missing or wrong: of the process (exit), or of an enterprise (said, retried)
├── PermanentError       asking again cannot help    push: record, ack   http: 4xx
│   ├── InvalidPayload                                                   400
│   ├── Unauthorized                                                     401
│   ├── Forbidden                                                        403
│   ├── NotFound                                                         404
│   ├── Conflict         somebody else was faster                        409
│   └── TooLarge                                                         413
└── TransientError       asking again may help       push: give back     http: 503
    ├── Unavailable      database, broker or key set away
    └── RateLimited                                                      429
Anything else is a bug: push gives the message back, http answers 500.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class AppError(Exception):
    """
    An expected failure. `code` is the snake_case word of the JSON error; the message says what to do; `details`
    stand beside them.
    """

    status: ClassVar[int] = 500
    code: str = "internal"

    def __init__(self, message: str, *, code: str | None = None, details: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.details = details or {}
        if code is not None:
            self.code = code


class ConfigError(AppError):
    code = "misconfigured"


class PermanentError(AppError):
    status = 400
    code = "invalid_payload"


class InvalidPayload(PermanentError):
    pass


class Unauthorized(PermanentError):
    status = 401
    code = "unauthorized"


class Forbidden(PermanentError):
    status = 403
    code = "forbidden"


class NotFound(PermanentError):
    status = 404
    code = "not_found"


class Conflict(PermanentError):
    status = 409
    code = "conflict"


class TooLarge(PermanentError):
    status = 413
    code = "too_large"


class TransientError(AppError):
    """`retry_after_seconds`: what the header Retry-After says, rounded up; None: nothing is known of it."""

    status = 503
    code = "unavailable"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        details: Mapping[str, object] | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message, code=code, details=details)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(TransientError):
    pass


class RateLimited(TransientError):
    status = 429
    code = "rate_limited"
