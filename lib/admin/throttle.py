"""
How long strangers wait before their password is judged.

The first failures of a day cost nothing; after them attempts at one login, and attempts of one source, are so many
seconds apart. At a login each site that has to wait gets a turn of its own, which the attempts of others do not take
away. So a login cannot be locked, only be made slow: by ten seconds for each site that tries at the same time.

Guesses a day: 8,650 at a login by all strangers together, 8,670 by one source at all logins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Limit:
    """`free`: failures of a day that cost no pause; the next ones cost 1, 2, 4 … `longest` seconds each."""

    free: int
    longest: float = 10.0

    def pause(self, failures: int) -> float:
        beyond = failures - self.free
        return 0.0 if beyond < 0 else min(self.longest, 2.0 ** min(beyond, 10))


AT_LOGIN: Final = Limit(free=10)
# Everybody behind one proxy, or in one office.
OF_SOURCE: Final = Limit(free=30)
# A turn that nobody took within this time is given to nobody any more.
TURN_SECONDS: Final = 120.0


@dataclass(frozen=True, kw_only=True)
class Seen:
    """
    Attempts at a login and of a source, failures of the last day; times in seconds from now, past ones negative.
    `login_at`: the latest attempt or turn at the login; `source_at`: the latest attempt of the source; `turn_in`: the
    turn that this site has at this login.
    """

    of_login: int = 0
    login_at: float | None = None
    of_source: int = 0
    source_at: float | None = None
    turn_in: float | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`seconds`: until the password may be judged; 0: now. `turn_in`: a turn to be kept for whoever asks."""

    seconds: float
    turn_in: float | None = None


def decide(seen: Seen) -> Verdict:
    # No turn for a source: those behind it cannot be told apart.
    of_source = _until(seen.source_at, OF_SOURCE.pause(seen.of_source))
    if seen.turn_in is not None and seen.turn_in > -TURN_SECONDS:
        return Verdict(seconds=max(seen.turn_in, of_source, 0.0))
    at_login = _until(seen.login_at, AT_LOGIN.pause(seen.of_login))
    return Verdict(seconds=max(at_login, of_source), turn_in=at_login or None)


def _until(last_at: float | None, pause: float) -> float:
    return max(0.0, last_at + pause) if last_at is not None and pause else 0.0
