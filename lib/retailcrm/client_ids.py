"""Which enterprise a `clientId` means: all that RetailCRM's callbacks say of who they are."""

from __future__ import annotations

import hmac
from typing import Final

from lib.enterprises.cache import enterprise_cache
from lib.retailcrm import options
from lib.runtime import db
from lib.runtime.auth import token_sha256
from lib.runtime.client_address import site_of
from lib.runtime.errors import NotFound, RateLimited, Unauthorized
from lib.runtime.guesses import Guesses
from lib.runtime.lazy import lazy
from lib.store import enterprises
from lib.store.enterprises import Enterprise

_LONGEST: Final = 128


class Clients:
    def __init__(self) -> None:
        self._numbers: dict[str, str] = {}
        self._guesses = Guesses("clientId")

    def enterprise_of(self, client_id: str, *, address: str, is_number_enough: bool = False) -> Enterprise:
        """
        `address`: from where it came. `is_number_enough`: the enterprise's number, which is no secret, will do where
        its setting says so.

        Raises Unauthorized for a clientId that is nobody's, RateLimited while somebody guesses from there, and
        Unavailable when it is not known here and the database is away.
        """
        source = site_of(address)
        number = self._number(client_id, source)
        try:
            enterprise = enterprise_cache().by_number(number) if number else None
        except NotFound:
            enterprise = None
        if enterprise is None or not _is_known_by(enterprise, client_id):
            self._numbers.pop(client_id, None)  # it was changed a moment ago
            self._guesses.wrong(source, token_sha256(client_id))
            raise Unauthorized("No enterprise has this clientId")
        self._numbers[client_id] = enterprise.number
        if _is_same(client_id, enterprise):
            self._guesses.right(source, enterprise.number)
        elif not is_number_enough:
            raise Unauthorized(
                "The enterprise number stands for the clientId in clicks only: register the module, which gives "
                "RetailCRM the clientId"
            )
        return enterprise

    def _number(self, client_id: str, source: str) -> str | None:
        """Raises RateLimited before anything tells whether the clientId is somebody's."""
        number = self._numbers.get(client_id)
        if number is not None and self._guesses.is_known(source, number):
            return number
        try:
            self._guesses.check(source)
        except RateLimited:
            if number is not None:
                self._guesses.right_but_refused(source, number)
            raise
        return number or _find_number(client_id)


def _find_number(client_id: str) -> str | None:
    if not client_id or len(client_id) > _LONGEST or "\x00" in client_id:
        return None
    with db.connection() as conn:
        return enterprises.find_number_by_client_id(conn, client_id, number_accepted=options.NUMBER_ACCEPTED)


def _is_known_by(enterprise: Enterprise, client_id: str) -> bool:
    """The number stands for the clientId only while the enterprise's own setting lets it."""
    if _is_same(client_id, enterprise):
        return True
    return client_id == enterprise.number and options.accepts_number_as_client_id(enterprise.integration())


def _is_same(client_id: str, enterprise: Enterprise) -> bool:
    return hmac.compare_digest(enterprise.client_id.encode(), client_id.encode())


@lazy
def clients() -> Clients:
    return Clients()
