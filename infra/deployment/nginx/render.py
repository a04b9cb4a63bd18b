"""
Writes nginx.conf, the gateway of the containers, from infra/routes.py: `make nginx`.

It answers as the local gateway does, with one exception: nginx cannot wait out the restart of a function. Intake
runs twice instead, and a request that is safe to repeat goes to the other instance. nginx's `/health` tells of nginx
itself, `/health/FUNCTION` of a function. `start.sh` adds what only the environment knows.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra import routes
from infra.routes import Route

TARGET: Final = Path(__file__).with_name("nginx.conf")
_FUNCTIONS: Final = Path(__file__).parents[3] / "functions"
_INTAKE: Final = "dispatch-call-event"

_OPENING_STATUSES: Final = (400, 502, 504)
_ERRORS: Final = (
    (
        400,
        (400, 411, 414, 416, 494, 495, 496, 497, 505),
        "invalid_request",
        "This is not a request that can be understood",
    ),
    (404, (403, 404), "not_found", "There is nothing at this address"),
    (405, (405,), "method_not_allowed", "This address can only be read"),
    (408, (408,), "timeout", "The request did not come in time"),
    (413, (413,), "too_large", "The body is too large"),
    (429, (429,), "rate_limited", "Too many at once, or too fast: try again in a second"),
    (500, (500, 501, 503, 507), "internal", "An error of ours; it is in the log"),
    (502, (502,), "upstream_unavailable", "$function is not running"),
    (504, (504,), "upstream_timeout", "$function did not answer in time"),
)


@dataclass(frozen=True, kw_only=True)
class Place:
    """The addresses of nginx and the functions; the default is docker-compose.yml's."""

    listen: str = "8080"
    # In a variable: otherwise nginx resolves the name only once, and a restarted container may have another address.
    function: str = "$function:8080"
    resolver: str = "127.0.0.11"
    # Holds the page as a folder `retailcrm-admin`.
    root: str = "/srv"
    # For bodies that are still coming, and for what start.sh writes.
    temp: str = "/tmp"  # noqa: S108  (the one place where the container may write)


def render(place: Place | None = None) -> str:
    """The whole nginx.conf."""
    place = place or Place()
    functions = sorted(path.parent.name for path in _FUNCTIONS.glob("*/main.py"))
    return _TEMPLATE.format(
        listen=place.listen,
        resolver=place.resolver,
        root=place.root,
        temp=place.temp,
        maps="\n".join(_header_map(name, value) for name, value in routes.SECURITY_HEADERS.items()),
        hidden="\n".join(f"    proxy_hide_header {name};" for name in routes.SECURITY_HEADERS),
        headers="\n".join(f"        add_header {name} {_variable(name)} always;" for name in routes.SECURITY_HEADERS),
        page_headers="\n".join(_page_headers()),
        upstream_seconds=f"{routes.UPSTREAM_SECONDS:g}s",
        idle_seconds=routes.IDLE_SECONDS,
        head_seconds=routes.HEAD_SECONDS,
        body_seconds=routes.BODY_SECONDS,
        answer_seconds=routes.ANSWER_SECONDS,
        large_body=routes.LARGE_BODY // 1024,
        requests_per_second=routes.REQUESTS_PER_SECOND,
        intake=_INTAKE,
        patience=f"{routes.PATIENCE_SECONDS * 1000:.0f}ms",
        bounds="\n".join(_bounds()),
        strict_transport=routes.STRICT_TRANSPORT,
        opening_errors="\n".join(_opening_errors()),
        openings="\n".join(_opening(status) for status in _OPENING_STATUSES),
        error_pages="\n".join(_error_page(status, of) for status, of, _, _ in _ERRORS),
        errors="\n".join(_error(status, code, message) for status, _, code, message in _ERRORS),
        routes="\n".join(_route(route, place) for route in routes.ROUTES),
        operations="\n".join(_operations(name, place) for name in functions),
        ui=routes.UI_PREFIX,
        ui_bare=routes.UI_PREFIX.rstrip("/"),
        link_limit=routes.OPENING.body_limit // 1024,
        first_page=_FIRST_PAGE.format(ui=routes.UI_PREFIX).replace("\n", "\\n"),
        operations_seconds=f"{routes.OPERATIONS_SECONDS:g}s",
        upstream=place.function,
    )


def _route(route: Route, place: Place) -> str:
    match = f"^~ {route.path}" if route.path.endswith("/") else f"= {route.path}"
    # Progress that is streamed line by line must not wait for a full buffer.
    flow = " proxy_buffering off;" if route.function == "admin-api" else ""
    again = " proxy_next_upstream error timeout invalid_header http_503 non_idempotent;" if route.repeatable else ""
    idle = f" keepalive_timeout {routes.HOST_IDLE_SECONDS}s;" if route.repeatable else ""
    # Otherwise nginx redirects an address without the slash.
    bare = f"        location = {route.path[:-1]} {{ return 404; }}\n" if route.path.endswith("/") else ""
    return (
        f"{bare}        location {match} {{ set $function {route.function};"
        f" client_max_body_size {route.body_limit // 1024}k;{again}{flow}{idle} proxy_pass http://{place.function}; }}"
    )


def _operations(function: str, place: Place) -> str:
    return "\n".join(
        f"        location = /{what}/{function} {{ set $function {function}; client_max_body_size 1k;"
        f" proxy_read_timeout {routes.OPERATIONS_SECONDS:g}s; proxy_pass http://{place.function}/{what}; }}"
        for what in ("health", "stats")
    )


def _header_map(name: str, value: str) -> str:
    """A header that the function sets wins."""
    upstream = f"$upstream_http_{name.lower().replace('-', '_')}"
    return f'    map {upstream} {_variable(name)} {{ "" "{value}"; default {upstream}; }}'


def _variable(name: str) -> str:
    return f"$our_{name.lower().replace('-', '_')}"


def _page_headers() -> list[str]:
    headers: Mapping[str, str] = {
        **routes.SECURITY_HEADERS,
        **{name: text for name, text in routes.PAGE_HEADERS.items() if name != "Vary"},
    }
    lines = [f'            add_header {name} "{value}" always;' for name, value in headers.items()]
    return [*lines, "            add_header Strict-Transport-Security $strict_transport always;"]


def _bounds() -> list[str]:
    return [
        f"        limit_req zone=rate burst={routes.REQUESTS_BURST} nodelay;",
        f"        limit_conn addresses {routes.REQUESTS_AT_ONCE};",
        f"        limit_conn large_bodies {routes.LARGE_BODIES_AT_ONCE};",
        f"        limit_conn large_bodies_in_all {routes.LARGE_BODIES_IN_ALL};",
        f"        limit_conn functions {routes.REQUESTS_OF_A_FUNCTION};",
    ]


def _opening_errors() -> list[str]:
    """A refusal by nginx, or by the function, in a place where a person's address bar holds a token."""
    others = [status for _, of, _, _ in _ERRORS for status in of if status not in {502, 504}]
    away = [status for status in others if status >= 500 or status == 429]
    # 404 is for whoever asks for `/.link` itself.
    refused = [status for status in others if status not in {*away, 404} and status < 490]
    return [
        f"            error_page {' '.join(map(str, sorted({*refused, 401, 415, 422})))} = @opening_400;",
        f"            error_page {' '.join(map(str, sorted([*away, 502])))} = @opening_502;",
        "            error_page 504 = @opening_504;",
        f"    {_error_page(404, (404,))}",
    ]


def _opening(status: int) -> str:
    return f"        location @opening_{status} {{ return 303 {routes.refused(status)}; }}"


def _error_page(status: int, of: Collection[int]) -> str:
    return f"        error_page {' '.join(map(str, of))} ={status} /.error/{status};"


def _error(status: int, code: str, message: str) -> str:
    body = json.dumps({"error": {"code": code, "message": message}})
    return f"        location = /.error/{status} {{ internal; return {status} '{body}'; }}"


_FIRST_PAGE: Final = """\
<!doctype html>
<html lang="en">
<title>Telephony gateway</title>
<ul>
<li><a href="{ui}">Settings</a></li>
<li><a href="/health">Health</a></li>
</ul>
</html>
"""

_TEMPLATE: Final = """\
# Written by `make nginx` from the routes of infra/routes.py: change them there.

worker_processes 2;
worker_rlimit_nofile 16384;
pid {temp}/nginx.pid;
error_log stderr warn;

events {{
    worker_connections 4096;
}}

http {{
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    charset utf-8;
    charset_types text/css text/javascript application/javascript application/json image/svg+xml;
    server_tokens off;
    sendfile on;
    tcp_nodelay on;

    # Beside whatever befalls a request the error log has its first line, and so the token of a link or a clientId, at
    # every level. The access log has what the functions do not log: what never reached one, and in no word of a client.
    error_log /dev/null emerg;
    log_format failures escape=json '{{"severity": "WARNING", "message": "request failed", "time": "$time_iso8601",'
        ' "logger": "nginx", "status": "$status", "method": "$known_method", "function": "$function",'
        ' "address": "$remote_addr", "upstream": "$upstream_addr", "upstream_status": "$upstream_status",'
        ' "seconds": "$request_time", "bytes": "$request_length",'
        ' "connections": "$limit_conn_status", "rate": "$limit_req_status"}}';
    map $request_method $known_method {{
        "~^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)$" $request_method;
        default other;
    }}
    map "$status $upstream_status" $is_failure {{ "~^5" 1; "~^4\\d\\d -?$" 1; "~," 1; default 0; }}
    access_log /dev/stdout failures if=$is_failure;

    client_body_temp_path {temp}/client_body;
    proxy_temp_path {temp}/proxy;
    fastcgi_temp_path {temp}/fastcgi;
    uwsgi_temp_path {temp}/uwsgi;
    scgi_temp_path {temp}/scgi;

    keepalive_timeout {idle_seconds}s;
    client_header_timeout {head_seconds:g}s;
    client_body_timeout {body_seconds:g}s;
    send_timeout {answer_seconds:g}s;
    # For whoever goes on sending what was refused.
    lingering_time 5s;
    lingering_timeout 2s;
    reset_timedout_connection on;
    client_header_buffer_size 1k;
    large_client_header_buffers 2 8k;
    # An event fits. What is larger waits in the tmpfs, which holds as many of the largest as are let in at a time.
    client_body_buffer_size {large_body}k;
    client_max_body_size 256k;
    underscores_in_headers on;

    # The address of a client of proxies that start.sh names; of an IPv6 one the network, for whoever has one has all
    # of it. (An address that is written shorter than four groups counts for itself.)
    real_ip_header X-Forwarded-For;
    real_ip_recursive on;
    include {temp}/trusted-proxies*.conf;
    map $remote_addr $source {{
        "~^([0-9a-f]+:[0-9a-f]+:[0-9a-f]+:[0-9a-f]+):" $1;
        default $remote_addr;
    }}
    map $content_length$http_transfer_encoding $large {{ "~^(\\d{{0,4}}|1[0-5]\\d\\d\\d)$" ""; default $source; }}
    map $large $large_in_all {{ "" ""; default all; }}
    map $function $busy_function {{ {intake} ""; default $function; }}
    limit_req_zone $source zone=rate:4m rate={requests_per_second}r/s;
    limit_conn_zone $source zone=addresses:4m;
    limit_conn_zone $large zone=large_bodies:4m;
    limit_conn_zone $large_in_all zone=large_bodies_in_all:1m;
    limit_conn_zone $busy_function zone=functions:1m;
    limit_req_status 429;
    limit_conn_status 429;

    resolver {resolver} valid=1s ipv6=off;
    resolver_timeout 1s;

    proxy_http_version 1.1;
    proxy_set_header Connection "";
    # The functions' server may take a part of the path that was asked for from it.
    proxy_set_header SCRIPT_NAME "";
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $forwarded_for;
    proxy_set_header X-Forwarded-Proto $forwarded_proto;
    # An instance that was killed does not even refuse: the other one must be asked while the caller still waits.
    proxy_connect_timeout 300ms;
    proxy_read_timeout {upstream_seconds};
    proxy_send_timeout {upstream_seconds};
    proxy_next_upstream off;
    proxy_next_upstream_timeout {patience};
    proxy_buffers 16 16k;
    # Of an answer that nobody takes nothing is kept in the tmpfs.
    proxy_max_temp_file_size 0;
{hidden}

    # Each hop appends who asked it; lib/runtime/client_address.py finds the client in that.
    map $http_x_forwarded_for $forwarded_for {{
        "" $realip_remote_addr;
        default "$http_x_forwarded_for, $realip_remote_addr";
    }}
    map $scheme $public_scheme {{ default $scheme; include {temp}/public-scheme*.conf; }}
    map $http_x_forwarded_proto $forwarded_proto {{ "" $public_scheme; default $http_x_forwarded_proto; }}
    map $forwarded_proto $strict_transport {{ https "{strict_transport}"; default ""; }}
    map "$status $upstream_status" $retry_after {{ "429 " 1; default ""; }}
{maps}
    # RetailCRM opens the page with GET or POST; a token is exchanged for a session by the function.
    map $request_method:$arg_token $page {{
        default /.not-allowed;
        ~^POST: /.link;
        ~^(GET|HEAD):$ /.page;
        ~^GET: /.link;
        ~^HEAD: /.page;
    }}

    server {{
        listen {listen} backlog=1024;
        server_name _;
        merge_slashes off;
        absolute_redirect off;

{bounds}

{headers}
        add_header Strict-Transport-Security $strict_transport always;
        add_header Retry-After $retry_after always;

{error_pages}

{routes}

        location ^~ {ui} {{
            root {root};
            disable_symlinks on from=$document_root;
            if (-d $request_filename) {{ return 404; }}
            gzip on;
            gzip_vary on;
            gzip_types text/css text/javascript application/javascript application/json image/svg+xml;
{page_headers}
        }}
        location = {ui} {{
{opening_errors}
            rewrite ^ $page last;
        }}
        location = {ui}index.html {{
{opening_errors}
            rewrite ^ $page last;
        }}
        location = {ui_bare} {{
{opening_errors}
            if ($page = /.page) {{ return 303 {ui}; }}
            rewrite ^ $page last;
        }}
        location = /.page {{
            internal;
            root {root};
            try_files {ui}index.html =404;
            gzip on;
            gzip_vary on;
{page_headers}
            types {{ }}
            default_type text/html;
        }}
        location = /.link {{
            internal;
            set $function admin-api;
            client_max_body_size {link_limit}k;
            proxy_read_timeout {operations_seconds};
            proxy_intercept_errors on;
{opening_errors}
            proxy_pass http://{upstream}{ui}$is_args$args;
        }}
{openings}
        location = /.not-allowed {{ internal; return 405; }}

        location = / {{ default_type text/html; return 200 '{first_page}'; }}
        location = /health {{ default_type application/json; return 200 '{{"status": "ok"}}'; }}
{operations}
        location / {{ return 404; }}

        default_type application/json;
{errors}
    }}
}}
"""


def main() -> int:
    TARGET.write_text(render())
    return 0


if __name__ == "__main__":
    sys.exit(main())
