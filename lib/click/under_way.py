"""
The orders under way in this process: services that hang must leave threads for the clicks of everybody else.

An order holds its thread until the service has answered. So an enterprise has some at a time, and a service, which may
be that of many enterprises, a third of the threads; one that did not answer in time has one, until it answers.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from lib.runtime import config
from lib.runtime.errors import RateLimited
from lib.runtime.lazy import lazy

# Of one enterprise, where there are threads enough.
AT_A_TIME: Final = 6
# Where the platform does not say how many there are.
_THREADS: Final = 8


class UnderWay:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of_enterprise: Counter[str] = Counter()
        self._of_service: Counter[str] = Counter()
        self._hanging: set[str] = set()

    @contextmanager
    def order(self, enterprise_number: str, service: str) -> Iterator[None]:
        """Raises RateLimited: `rate_limited` of the enterprise, `asterisk_busy` of the service."""
        with self._lock:
            self._refuse(enterprise_number, service)
            self._of_enterprise[enterprise_number] += 1
            self._of_service[service] += 1
        try:
            yield
        finally:
            with self._lock:
                for counter, key in ((self._of_enterprise, enterprise_number), (self._of_service, service)):
                    counter[key] -= 1
                    if not counter[key]:
                        del counter[key]

    def heard(self, service: str, *, in_time: bool) -> None:
        """Whether the service answered its last order, whatever it said."""
        with self._lock:
            if in_time:
                self._hanging.discard(service)
            else:
                self._hanging.add(service)

    def _refuse(self, enterprise_number: str, service: str) -> None:
        of_service = at_a_time_of_a_service()
        of_enterprise = min(AT_A_TIME, of_service)
        if service in self._hanging and self._of_service[service]:
            message = "The Asterisk service did not answer in time, and one call asks it now; try again in some seconds"
            raise RateLimited(message, code="asterisk_busy")
        if self._of_enterprise[enterprise_number] >= of_enterprise:
            raise RateLimited(f"{of_enterprise} calls of the enterprise are being placed; try again in a second")
        if self._of_service[service] >= of_service:
            message = f"{of_service} calls are being placed at the Asterisk service; try again in a second"
            raise RateLimited(message, code="asterisk_busy")


@lazy
def under_way() -> UnderWay:
    """The orders of this process."""
    return UnderWay()


def at_a_time_of_a_service() -> int:
    """Two that hang leave a third of the threads."""
    return max(1, (config.current(config.Platform).threads or _THREADS) // 3)
