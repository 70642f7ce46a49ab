"""The time that a call of the user's may take, shared by all the waits on its way.

Whatever a verb asks of the servers finds the deadline here, without being handed it
through every function: a call runs in one thread, or in one task.
"""

from __future__ import annotations

import time
from contextvars import ContextVar


class Deadline:
    """When a call has to be over.

    Attributes:
        seconds: how long it may take in all; `math.inf` for as long as it needs.
        end: when that is, in seconds of the monotonic clock.
    """

    __slots__ = ("end", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.end = time.monotonic() + seconds

    def left(self) -> float:
        """The seconds that are left: none or fewer once it is over."""
        return self.end - time.monotonic()


_running: ContextVar[Deadline | None] = ContextVar("memchunk deadline", default=None)


def deadline(seconds: float) -> Deadline:
    """The deadline of the call that runs; outside of any, a new one."""
    return _running.get() or Deadline(seconds)


# Classes, for `contextmanager` would cost a small file a percent of its time.


class Within:
    """A call of so many seconds runs, while the block does.

    One inside another shares the deadline of that.
    """

    __slots__ = ("_seconds", "_token")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        self._token = _running.set(_running.get() or Deadline(self._seconds))

    def __exit__(self, _kind: object, _error: BaseException | None, _trace: object) -> None:
        _running.reset(self._token)


class AtLeisure:
    """What is the caller's own runs, while the block does: its time does not count.

    Nor is a call in it hurried.
    """

    __slots__ = ("_began", "_running", "_token")

    def __enter__(self) -> None:
        self._running = _running.get()
        self._token = _running.set(None)
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        _running.reset(self._token)
        if self._running is not None:
            self._running.end += time.monotonic() - self._began
