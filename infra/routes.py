"""The routes from paths to functions, and the headers of every answer: for the local gateway and for nginx."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

KB: Final = 1024


@dataclass(frozen=True, kw_only=True)
class Route:
    """
    `path` is exact, or a prefix when it ends with a slash. `repeatable`: the function may get the same request twice,
    so it is sent again when the connection broke before the answer.
    """

    path: str
    function: str
    repeatable: bool = False
    body_limit: int = 256 * KB


def _event(path: str, *, body_limit: int = 256 * KB) -> Route:
    return Route(path=path, function="dispatch-call-event", repeatable=True, body_limit=body_limit)


ROUTES: Final = (
    *(_event(f"/{kind}") for kind in ("start", "dial", "bridge", "bridge_create", "bridge_leave", "bridge_destroy")),
    *(_event(f"/{kind}") for kind in ("new_callerid", "hangup")),
    _event("/dispatch/", body_limit=8 * KB * KB),
    Route(path="/integrations/", function="dispatch-call-event"),
    Route(path="/cache/", function="dispatch-call-event"),
    Route(path="/retailcrm/make-call", function="make-call"),
    Route(path="/retailcrm/status", function="make-call"),
    Route(path="/retailcrm/activity", function="make-call"),
    Route(path="/api/callevent/getcustomerdata", function="smart-redirect"),
    Route(path="/retailcrm/api/smart-redirect", function="smart-redirect"),
    Route(path="/retailcrm-admin/api/", function="admin-api"),
)
UI_PREFIX: Final = "/retailcrm-admin/"
OPENING: Final = Route(path=UI_PREFIX, function="admin-api", body_limit=16 * KB)

# The hosts give up after 3 s: a function that is back within this time has missed nothing.
PATIENCE_SECONDS: Final = 2.5
UPSTREAM_SECONDS: Final = 30.0
OPERATIONS_SECONDS: Final = 3.0

SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
# RetailCRM opens the page in a tab of its own; no page may frame it.
PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
PAGE_HEADERS: Final = {
    "Content-Security-Policy": PAGE_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # Revalidated each time, mostly with 304: no browser mixes files of two versions of the page.
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}
