"""
The routes from paths to functions, the bounds of whoever asks, and the headers of every answer: for the local gateway
and for nginx.
"""

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


def refused(status: int) -> str:
    """
    The page, told why a link let nobody in: a person sees the answer at the opening address, and that address may hold
    a token, which must not stay in the address bar.
    """
    reason = "link_invalid" if status < 500 and status != 429 else "upstream_unavailable"
    return f"{UI_PREFIX}#/?refused={'upstream_timeout' if status == 504 else reason}"


# The hosts give up after 3 s: a function that is back within this time has missed nothing.
PATIENCE_SECONDS: Final = 2.5
UPSTREAM_SECONDS: Final = 30.0
OPERATIONS_SECONDS: Final = 3.0

# What one address may take. A call has five to ten events over half a minute or more, so a host with a hundred calls at
# a time posts about thirty events a second and has one or two of them on the way; the functions of a machine with two
# cores store 700 a second (docs/performance.md). So this is several times the busiest host, and less than a third of
# what there is. A host that comes back from an outage posts the burst at once.
REQUESTS_PER_SECOND: Final = 200
REQUESTS_BURST: Final = 1000
REQUESTS_AT_ONCE: Final = 128
# A larger body is memory until it is whole. An event fits; whoever recovers events posts up to eight batches at a time.
LARGE_BODY: Final = 16 * KB
LARGE_BODIES_AT_ONCE: Final = 8
LARGE_BODIES_IN_ALL: Final = 32
# Any other function than intake may be asked for so much at once: one that hangs leaves intake its connections.
REQUESTS_OF_A_FUNCTION: Final = 1024
# For the whole head of a request; between two parts of its body; between two parts of an answer that a client takes.
HEAD_SECONDS: Final = 10.0
BODY_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 10.0
# Hosts keep a connection over a quiet hour, and do not repeat an event that met a closed one; nobody else needs that.
HOST_IDLE_SECONDS: Final = 3630
IDLE_SECONDS: Final = 75

SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
# Of an answer to a request that came by https. Whose the other names of the domain are is not known here.
STRICT_TRANSPORT: Final = "max-age=31536000"
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
