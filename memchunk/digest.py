"""sha256 in a second thread, in the shadow of the socket.

Both let go of the interpreter lock, so hashing costs no time of its own on a
machine with two cores. Small blocks are hashed where they are: a thread would cost
more than it saves.

The system starts a thread where it sees least to do, which is where memcached sleeps at that
moment; the two would then share a processor for the whole of a file. So the thread keeps off
the one on which memcached was seen last.
"""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import suppress
from queue import SimpleQueue

from memchunk.protocol import Buffer

THREAD_ABOVE_BYTES = 256 * 1024


class Sha256:
    """The sha256 of blocks that are given one after the other.

    `update` may return before the block is hashed: it must not change until `wait` says
    so. A context manager: its thread ends with it.
    """

    def __init__(self, *, away_from: int | None = None) -> None:
        """The thread keeps off the processor `away_from`, if that is one of several."""
        self._away_from = away_from
        self._sha256 = hashlib.sha256()
        self._given = self._finished = 0
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Sha256:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._todo.put(None)
            self._thread.join()

    def _start(self) -> None:
        self._todo: SimpleQueue[Buffer | None] = SimpleQueue()
        self._done: SimpleQueue[None] = SimpleQueue()
        thread = threading.Thread(target=self._work, name="memchunk-sha256", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads to be had: hash here
            return
        self._thread = thread

    def _work(self) -> None:
        _keep_off(self._away_from)
        while (block := self._todo.get()) is not None:
            self._sha256.update(block)
            del block  # keep nothing of the caller's alive while waiting
            self._done.put(None)

    def update(self, block: Buffer) -> None:
        """Hash `block` after those before it."""
        if self._thread is None and len(block) > THREAD_ABOVE_BYTES:
            self._start()
        if self._thread is None:
            self._sha256.update(block)
        else:
            self._given += 1
            self._todo.put(block)

    def wait(self, *, under_way: int = 0) -> None:
        """Return once all blocks but the last `under_way` are hashed."""
        while self._given - self._finished > under_way:
            self._done.get()
            self._finished += 1

    def hexdigest(self) -> str:
        """The digest of all blocks given so far, as 64 hex digits."""
        self.wait()
        return self._sha256.hexdigest()


def _keep_off(processor: int | None) -> None:
    """Have this thread run on other processors than that, where there are any (Linux)."""
    if processor is None or not hasattr(os, "sched_setaffinity"):
        return
    others = os.sched_getaffinity(0) - {processor}
    if others:
        with suppress(OSError):  # it is advice; a sandbox may not know it
            os.sched_setaffinity(0, others)
