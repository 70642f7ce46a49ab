"""When a server that did not answer is asked again: a circuit breaker.

The first failure opens it, and calls fail at once instead of waiting, one after the
other, for what does not come. After a pause one call is let through to try; an answer
closes it.
Pure: the time is handed in, in seconds of a clock that only goes forward.
"""

from __future__ import annotations

PAUSE_SECONDS = 0.5


class Breaker:
    """Whether one server may be called.

    Attributes:
        is_open: whether the server is away, as far as is known.
        reason: what went wrong when it was last opened.
    """

    def __init__(self, *, try_seconds: float) -> None:
        """Closed. A call that was let through has `try_seconds` before another one is."""
        self._try_seconds = try_seconds
        self._next_try = 0.0
        self.is_open = False
        self.reason = ""

    def admits(self, now: float) -> bool:
        """Whether this call may be made. While open, the call that may is the one that tries."""
        if self.is_open and now < self._next_try:
            return False
        self._next_try = now + self._try_seconds
        return True

    def failed(self, now: float, reason: str) -> None:
        """The server could not be reached, or said nothing."""
        self.reason = reason
        self._next_try = now + PAUSE_SECONDS
        self.is_open = True

    def answered(self) -> None:
        """The server said something."""
        self.is_open = False
