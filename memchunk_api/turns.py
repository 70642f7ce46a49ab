"""Turns: of many threads that each have a client, a few work at once.

Threads that all want the interpreter slow each other down; one that waits for a slow client
costs next to nothing, and one that moves a large file seldom needs the interpreter. So whoever
works holds a turn, and lends it to others while it waits or moves a large file. Turns spare
work and are no limit: who waits long for one does without.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

# From here on what moves a file is mostly the kernel and the hash, beside the interpreter. The
# budget of `buffers.py` says how many such files there may be at once.
LARGE_BYTES = 1024 * 1024

# Whoever has held a turn for so long waits for a memcached that does not answer, most likely. The
# others are not to wait for that too, and /livez least of all.
PATIENCE_SECONDS = 0.5

_here = threading.local()


class Turns:
    """A number of turns, given to threads in the order in which they ask.

    Not a semaphore: there, whoever gives its turn back and asks again at once goes before
    those who have been waiting.
    """

    def __init__(self, number: int) -> None:
        self._free = number  # fewer than none while some work without
        self._queue: deque[threading.Lock] = deque()
        self._lock = threading.Lock()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a turn while the block runs. Not to be nested."""
        self._take()
        _here.turns = self
        try:
            yield
        finally:
            _here.turns = None
            self._give()

    def _take(self) -> None:
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return
            called = threading.Lock()
            called.acquire()
            self._queue.append(called)
        if called.acquire(timeout=PATIENCE_SECONDS):
            return
        with self._lock:
            if called in self._queue:  # else it was called just now
                self._queue.remove(called)
                self._free -= 1

    def _give(self) -> None:
        with self._lock:
            if self._queue and self._free >= 0:
                self._queue.popleft().release()
            else:
                self._free += 1


@contextmanager
def aside() -> Iterator[None]:
    """Lend the turn of this thread, if it holds one, while the block waits for somebody."""
    turns: Turns | None = getattr(_here, "turns", None)
    if turns is None:
        yield
        return
    _here.turns = None
    turns._give()
    try:
        yield
    finally:
        turns._take()
        _here.turns = turns


def moving(size: int) -> AbstractContextManager[None]:
    """Lend the turn as `aside` does while the block moves `size` bytes, if that is a large file."""
    return aside() if size >= LARGE_BYTES else nullcontext()
