"""The time that a call of the user's may take, shared by all the waits on its way.

Whatever a verb asks of the servers finds the deadline here, without being handed it
through every function: a call runs in one thread, or in one task.
"""

from __future__ import annotations

import time
from contextvars import ContextVar, Token
from weakref import ref


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


# Classes, for `contextmanager` would cost a small file a percent of its time.


class Within:
    """A call of so many seconds runs, while the block does.

    One inside another shares the deadline of that.

    Attributes:
        deadline: when the call has to be over; only of the outermost.
    """

    __slots__ = ("__weakref__", "_seconds", "_token", "deadline")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        self._token: Token[ref[Within] | None] | None = None
        if _now() is None:
            self.deadline = Deadline(self._seconds)
            self._token = _running.set(ref(self))

    def __exit__(self, _kind: object, _error: BaseException | None, _trace: object) -> None:
        if self._token is not None:
            _running.reset(self._token)


# Weak, for a signal's handler may raise in `__enter__` and `__exit__`, too: once the block is
# gone, so is its call, and those after it have their own time.
_running: ContextVar[ref[Within] | None] = ContextVar("memchunk deadline", default=None)


def _now() -> Deadline | None:
    running = _running.get()
    if running is None:
        return None
    call = running()
    return None if call is None else call.deadline


def deadline(seconds: float) -> Deadline:
    """The deadline of the call that runs; outside of any, a new one."""
    return _now() or Deadline(seconds)


class AtLeisure:
    """What is the caller's own runs, while the block does: its time does not count.

    Nor is a call in it hurried.
    """

    __slots__ = ("_began", "_running", "_token")

    def __enter__(self) -> None:
        self._running = _now()
        self._token = _running.set(None)
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        _running.reset(self._token)
        if self._running is not None:
            self._running.end += time.monotonic() - self._began
