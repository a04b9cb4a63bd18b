"""
How RetailCRM opens the page: GET or POST, with the token of the account link in the query or in the form.

The token is exchanged for a cookie at once, and the browser is sent on to an address without it: no history and no
log of a browser ever keeps it. The page exchanges the cookie for a session (`lib/admin/by_link.py`).
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, quote

from flask import Request

from lib.admin import by_link
from lib.runtime.client_address import client_address
from lib.runtime.errors import AppError
from lib.runtime.http import Answer, Headers, read_body

PAGE: Final = "/retailcrm-admin/"
_LINK_BYTES: Final = 16 * 1024
_FIELDS: Final = {"enterprise_number": 32, "token": 4000}


def open_page(request: Request) -> Answer:
    """Without a valid token the page opens too, and asks for a password."""
    form = dict(parse_qsl(read_body(request, limit=_LINK_BYTES).decode(errors="replace")))
    given = {**form, **request.args.to_dict()}
    wanted = {name: given[name] for name, most in _FIELDS.items() if 0 < len(given.get(name, "")) <= most}
    if "token" not in wanted:
        return _sent_on(PAGE)
    try:
        number = by_link.read(
            wanted["token"], address=client_address(request), expected=wanted.get("enterprise_number")
        )
        cookie = by_link.keep(number)
    except AppError as error:
        return _sent_on(f"{PAGE}#/?refused={quote(error.code)}")
    # The page cannot read the cookie, so the address tells it that there is one.
    return _sent_on(f"{PAGE}#/?opened=1", {"Set-Cookie": cookie})


def _sent_on(address: str, headers: Headers | None = None) -> Answer:
    """303: the browser does not repeat the POST."""
    return None, 303, {"Location": address, **(headers or {})}
