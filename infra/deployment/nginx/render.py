"""
Writes nginx.conf, the gateway of the containers, from infra/routes.py: `make nginx`.

It answers as the local gateway does, with one exception: nginx cannot wait out the restart of a function. Intake
runs twice instead, and a request that is safe to repeat goes to the other instance. nginx's `/health` tells of nginx
itself, `/health/FUNCTION` of a function.
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


def render(place: Place | None = None) -> str:
    """The whole nginx.conf."""
    place = place or Place()
    functions = sorted(path.parent.name for path in _FUNCTIONS.glob("*/main.py"))
    return _TEMPLATE.format(
        listen=place.listen,
        resolver=place.resolver,
        root=place.root,
        maps="\n".join(_header_map(name, value) for name, value in routes.SECURITY_HEADERS.items()),
        hidden="\n".join(f"    proxy_hide_header {name};" for name in routes.SECURITY_HEADERS),
        headers="\n".join(f"        add_header {name} {_variable(name)} always;" for name in routes.SECURITY_HEADERS),
        page_headers="\n".join(_page_headers()),
        upstream_seconds=f"{routes.UPSTREAM_SECONDS:g}s",
        patience=f"{routes.PATIENCE_SECONDS * 1000:.0f}ms",
        error_pages="\n".join(_error_page(status, of) for status, of, _, _ in _ERRORS),
        errors="\n".join(_error(status, code, message) for status, _, code, message in _ERRORS),
        routes="\n".join(_route(route, place) for route in routes.ROUTES),
        operations="\n".join(_operations(name, place) for name in functions),
        ui=routes.UI_PREFIX,
        ui_bare=routes.UI_PREFIX.rstrip("/"),
        first_page=_FIRST_PAGE.format(ui=routes.UI_PREFIX).replace("\n", "\\n"),
        operations_seconds=f"{routes.OPERATIONS_SECONDS:g}s",
        upstream=place.function,
    )


def _route(route: Route, place: Place) -> str:
    match = f"^~ {route.path}" if route.path.endswith("/") else f"= {route.path}"
    # Progress that is streamed line by line must not wait for a full buffer.
    flow = " proxy_buffering off;" if route.function == "admin-api" else ""
    again = " proxy_next_upstream error timeout invalid_header http_503 non_idempotent;" if route.repeatable else ""
    # Otherwise nginx redirects an address without the slash.
    bare = f"        location = {route.path[:-1]} {{ return 404; }}\n" if route.path.endswith("/") else ""
    return (
        f"{bare}        location {match} {{ set $function {route.function};"
        f" client_max_body_size {route.body_limit // 1024}k;{again}{flow} proxy_pass http://{place.function}; }}"
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
    return [f'            add_header {name} "{value}" always;' for name, value in headers.items()]


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
pid /tmp/nginx.pid;
error_log stderr warn;

events {{
    worker_connections 2048;
}}

http {{
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    charset utf-8;
    charset_types text/css text/javascript application/javascript application/json image/svg+xml;
    server_tokens off;
    access_log off;
    sendfile on;
    tcp_nodelay on;

    client_body_temp_path /tmp/client_body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;

    # Hosts keep a connection over a quiet hour, and do not repeat an event that met a closed one.
    keepalive_timeout 3630s;
    client_header_timeout 10s;
    client_body_timeout 10s;
    # An event fits. What is larger waits in the tmpfs: when that is full, such a body is answered 500, events are not.
    client_body_buffer_size 16k;
    client_max_body_size 256k;
    underscores_in_headers on;

    resolver {resolver} valid=1s ipv6=off;
    resolver_timeout 1s;

    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $forwarded_proto;
    # An instance that was killed does not even refuse: the other one must be asked while the caller still waits.
    proxy_connect_timeout 300ms;
    proxy_read_timeout {upstream_seconds};
    proxy_send_timeout {upstream_seconds};
    proxy_next_upstream off;
    proxy_next_upstream_timeout {patience};
    proxy_buffers 16 16k;
{hidden}

    map $http_x_forwarded_proto $forwarded_proto {{ "" $scheme; default $http_x_forwarded_proto; }}
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

{headers}

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
        location = {ui} {{ rewrite ^ $page last; }}
        location = {ui}index.html {{ rewrite ^ $page last; }}
        location = {ui_bare} {{
            if ($request_method = GET) {{ return 303 {ui}$is_args$args; }}
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
            client_max_body_size 16k;
            proxy_read_timeout {operations_seconds};
            proxy_pass http://{upstream}{ui}$is_args$args;
        }}
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
