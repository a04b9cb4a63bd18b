"""
The roles of the database in tests: made once for a server, taken by each function for as long as it answers.

A function in the test's own process shares that process with the test and with other functions. So the pool of
connections is chosen by the thread that asks: while it answers a request, that of the function's role; else, as for
threads that a function left behind, that of whoever owns the database.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from urllib.parse import urlsplit, urlunsplit

from infra.deployment import rights, roles
from lib.runtime import config, db
from lib.runtime.lazy import lazy

_taken: ContextVar[str | None] = ContextVar("taken", default=None)


def make(database_url: str) -> None:
    """The server's roles, and what they may do in this database. The server must be the tests' own."""
    passwords = {role: _password(role) for role in rights.roles()}
    roles.make(database_url, roles.Wanted(passwords=passwords, session_settings={}, connections=100))


def url_of(role: str, database_url: str) -> str:
    """The same database for this role."""
    address = urlsplit(database_url)
    server = address.netloc.rpartition("@")[2]
    return urlunsplit(address._replace(netloc=f"{role}:{_password(role)}@{server}"))


def url_of_function(function: str, database_url: str) -> str:
    return url_of(rights.role_of(function), database_url)


@contextmanager
def taken_by(function: str) -> Iterator[None]:
    """This thread comes to the database as the function does."""
    token = _taken.set(rights.role_of(function))
    try:
        yield
    finally:
        _taken.reset(token)


class PoolsByRole:
    """In the place of `lib.runtime.db.pool`."""

    def __init__(self) -> None:
        self._owner = lazy(lambda: db.open_pool(config.current(config.Database).database_url))
        self._by_role = {role: self._of(role) for role in rights.roles()}

    def __call__(self) -> db.Pool:
        role = _taken.get()
        return (self._by_role[role] if role else self._owner)()

    @property
    def made(self) -> PoolsByRole:
        return self

    def get_stats(self) -> dict[str, int]:
        """Of all, added up."""
        every = [one.made.get_stats() for one in self._all() if one.made is not None]
        return {name: sum(stats.get(name, 0) for stats in every) for name in {key for stats in every for key in stats}}

    def close(self) -> None:
        for one in self._all():
            if one.made is not None:
                one.made.close()

    def forget(self) -> None:
        for one in self._all():
            one.forget()

    @staticmethod
    def _of(role: str) -> lazy[db.Pool]:
        return lazy(lambda: db.open_pool(url_of(role, config.current(config.Database).database_url)))

    def _all(self) -> list[lazy[db.Pool]]:
        return [self._owner, *self._by_role.values()]


def _password(role: str) -> str:
    return f"password-of-{role}"
