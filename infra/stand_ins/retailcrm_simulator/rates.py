"""Counts the requests in any window of one second, and limits them."""

from __future__ import annotations

from collections import deque

_WINDOW_SECONDS = 1.0


class SlidingSecond:
    """
    Counts what comes in any window of one second. `arrived_most` is the most that ever came within one,
    `accepted_most` the most that was let through. Times are monotonic seconds.
    """

    def __init__(self) -> None:
        self._arrived: deque[float] = deque()
        self._accepted: deque[float] = deque()
        self.arrived_most = 0
        self.accepted_most = 0
        self.refused = 0

    def admit(self, now: float, limit: int) -> bool:
        """Whether a request that arrives now is within the limit; 0 means no limit."""
        for times in (self._arrived, self._accepted):
            while times and times[0] <= now - _WINDOW_SECONDS:
                times.popleft()
        self._arrived.append(now)
        self.arrived_most = max(self.arrived_most, len(self._arrived))
        if limit and len(self._accepted) >= limit:
            self.refused += 1
            return False
        self._accepted.append(now)
        self.accepted_most = max(self.accepted_most, len(self._accepted))
        return True

    def forget(self) -> None:
        """Starts the counts anew; what came within the last second still counts against the limit."""
        self.arrived_most = self.accepted_most = self.refused = 0

    def as_json(self) -> dict[str, int]:
        return {
            "arrived_most_per_second": self.arrived_most,
            "accepted_most_per_second": self.accepted_most,
            "refused": self.refused,
        }
