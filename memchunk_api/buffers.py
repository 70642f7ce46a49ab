"""The budget of file bytes that one worker process may hold in memory at once.

`Budget.reserve` and `Budget.lease` wait their turn, first come first served, so
that a request for much is not starved by many for little, and give up with
`BusyError` after a few seconds. What to read into the buffers is not decided here.
"""

from __future__ import annotations

import mmap
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from memchunk_api.turns import aside

MIB = 1024 * 1024

# Fresh memory costs a page fault every 4 KiB, for a large file twice the time
# of the transfer; so a few large buffers are kept for the next request. Below
# a MiB the allocator does that by itself.
REUSED_FROM_BYTES = MIB
IDLE_BUFFERS = 2

# What any thread may hold beside, uncounted: for files up to this size, to count them
# would take longer than to copy them.
SMALL_BYTES = 64 * 1024

# How long a request may stand in the queue. Longer than a 50 MiB file takes on
# a busy machine, shorter than clients wait for an answer.
WAIT_SECONDS = 3.0


class BusyError(Exception):
    """The server has no memory left for another request at the moment."""

    code = "busy"


class Lease:
    """A writable buffer, held until `release`.

    Attributes:
        view: the memory, exactly as many bytes as were asked for; its content
            is whatever an earlier request left there.
    """

    def __init__(self, budget: Budget, buffer: mmap.mmap | bytearray, size: int) -> None:
        self._budget = budget
        self._buffer: mmap.mmap | bytearray | None = buffer
        self.view = memoryview(buffer)[:size]

    def release(self) -> None:
        """Give the memory back; `view` is dead from here on. Idempotent."""
        buffer, self._buffer = self._buffer, None
        if buffer is not None:
            self.view.release()
            self._budget._take_back(buffer)


class Budget:
    """How many bytes are still free, who waits for them, and a few idle buffers."""

    def __init__(
        self,
        total: int,
        *,
        wait: float = WAIT_SECONDS,
        tell: Callable[[int, int], object] | None = None,
    ) -> None:
        """Share out `total` bytes; a request waits `wait` seconds at most.

        `tell` is called with the number of bytes held, and of those waited for, whenever
        one of them has changed.
        """
        self.total = total
        self._wait = wait
        self._tell = tell
        self._held = 0
        self._awaited = 0
        self._idle: list[mmap.mmap] = []
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Count `size` bytes, allocated by someone else, while the block runs.

        Raises:
            BusyError: they did not become free in time.
        """
        with aside(), self._changed:
            self._enter(size)
            self._trim()
        try:
            yield
        finally:
            with self._changed:
                self._leave(size)

    def lease(self, size: int) -> Lease:
        """A buffer of `size` bytes, new or used.

        Raises:
            BusyError: they did not become free in time.
        """
        if size < REUSED_FROM_BYTES:
            with aside(), self._changed:
                self._enter(size)
                self._trim()
            return Lease(self, bytearray(size), size)
        capacity = -(-size // MIB) * MIB
        with aside(), self._changed:
            self._enter(capacity)
            reused = self._reuse(capacity)
            if reused is not None:
                # Counted with what it really is, which may be up to twice as much.
                self._held += len(reused) - capacity
                self._report()
            self._trim()
        return Lease(self, reused if reused is not None else _fresh(capacity), size)

    def _enter(self, size: int) -> None:
        """Wait until all who came before have been served and `size` bytes are free."""
        ticket = object()
        self._queue.append(ticket)
        self._awaited += size
        self._report()
        try:
            served = self._changed.wait_for(
                lambda: self._queue[0] is ticket and self._held + size <= self.total, self._wait
            )
            if not served:
                raise BusyError("the server is busy with other files; try again in a moment")
            self._held += size
        finally:
            self._queue.remove(ticket)
            self._awaited -= size
            self._report()
            self._changed.notify_all()

    def _leave(self, size: int) -> None:
        self._held -= size
        self._report()
        self._changed.notify_all()

    def _report(self) -> None:
        if self._tell is not None:
            self._tell(self._held, self._awaited)

    def _take_back(self, buffer: mmap.mmap | bytearray) -> None:
        with self._changed:
            if isinstance(buffer, mmap.mmap):
                self._idle.append(buffer)
            self._leave(len(buffer))
            self._trim()

    def _reuse(self, capacity: int) -> mmap.mmap | None:
        """The smallest idle buffer that is large enough, yet not more than twice as large."""
        fitting = [
            buffer
            for buffer in self._idle
            if capacity <= len(buffer) <= 2 * capacity
            and self._held + len(buffer) - capacity <= self.total
        ]
        if not fitting:
            return None
        smallest = min(fitting, key=len)
        self._idle.remove(smallest)
        return smallest

    def _trim(self) -> None:
        """Free idle buffers, the oldest first, until they are few and fit beside what is held."""
        while self._idle and (
            len(self._idle) > IDLE_BUFFERS or self._held + sum(map(len, self._idle)) > self.total
        ):
            # Dropped, not closed: the last view on it, wherever it is, unmaps it.
            del self._idle[0]


def _fresh(capacity: int) -> mmap.mmap:
    buffer = mmap.mmap(-1, capacity)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without huge pages: slower, not wrong
            buffer.madvise(mmap.MADV_HUGEPAGE)
    return buffer
