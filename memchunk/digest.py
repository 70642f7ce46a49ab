"""sha256 in a second thread, in the shadow of the socket, and the crc32s of a file's chunks.

Both let go of the interpreter lock, so hashing costs no time of its own on a
machine with two cores. Little is hashed where it is: a thread would cost more than it
saves.

The system starts a thread where it sees least to do, which is where memcached sleeps at that
moment, and two that are busy it moves apart too late for a file. So the thread starts on
another processor than the one on which memcached was seen last; where that is not known, on
another than the caller's, for those who wake each other most often have the same.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue

from memchunk.checksum import crc32
from memchunk.protocol import Buffer

THREAD_ABOVE_BYTES = 256 * 1024

Then = Callable[[], object] | None


class Sha256:
    """The sha256 of blocks that are given one after the other.

    `update` may return before the block is hashed: it must not change until `wait` says
    so. A context manager: its thread ends with it.
    """

    def __init__(self, *, away_from: int | None = None) -> None:
        """The thread starts away from that processor, or else from the caller's."""
        self._away_from = away_from
        self._sha256 = hashlib.sha256()
        self._bytes = 0  # given so far
        self._given = self._finished = 0
        self._todo: SimpleQueue[tuple[Buffer, Then] | None] = SimpleQueue()
        self._done: SimpleQueue[None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Sha256:
        return self

    def __exit__(self, *_: object) -> None:
        self._todo.put(None)  # also for one that an interrupt kept from being known
        if self._thread is not None:
            self._thread.join()

    def _start(self) -> None:
        if self._away_from is None:
            self._away_from = _processor()
        thread = threading.Thread(target=self._work, name="memchunk-sha256", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads to be had: hash here
            return
        self._thread = thread

    def _work(self) -> None:
        _move_off(self._away_from)
        while (work := self._todo.get()) is not None:
            block, then = work
            self._sha256.update(block)
            if then is not None:
                then()
            del work, block, then  # keep nothing of the caller's alive while waiting
            self._done.put(None)

    def update(self, block: Buffer, then: Then = None) -> None:
        """Hash `block` after those before it, and do what is to be done then.

        That must not fail: it is done where the block is hashed.
        """
        self._bytes += len(block)
        if self._thread is None and self._bytes > THREAD_ABOVE_BYTES:
            self._start()
        if self._thread is None:
            self._sha256.update(block)
            if then is not None:
                then()
        else:
            self._given += 1
            self._todo.put((block, then))

    def wait(self, *, under_way: int = 0) -> None:
        """Return once all blocks but the last `under_way` are done with."""
        while self._given - self._finished > under_way:
            self._done.get()
            self._finished += 1

    def is_behind(self, under_way: int) -> bool:
        """Whether `wait` would have to wait."""
        return self._given - self._finished - self._done.qsize() > under_way

    def hexdigest(self) -> str:
        """The digest of all blocks given so far, as 64 hex digits."""
        self.wait()
        return self._sha256.hexdigest()


class Checksums:
    """The checksums of a file whose chunks come one after the other.

    The crc32s are made by whoever is free first: the thread, once it has hashed a chunk, or
    the caller, who would have to wait for the thread.
    """

    def __init__(self, sha256: Sha256) -> None:
        self._sha256 = sha256
        self._crc32s: list[int] = []
        self._left: dict[int, memoryview] = {}  # chunks whose crc32 nobody has begun

    def add(self, chunk: memoryview) -> None:
        """Take in the next chunk, which must not change until `wait` says so."""
        index = self._expect(chunk)
        self._sha256.update(chunk, lambda: self._sum([index]))

    def wait(self, *, under_way: int) -> None:
        """Return once all chunks but the last `under_way` may change."""
        if self._sha256.is_behind(under_way):
            self._sum_backwards()
        self._sha256.wait(under_way=under_way)

    def finish(self) -> tuple[str, list[int]]:
        """The sha256 of the file in hex, and the crc32s of its chunks in order."""
        self._sum_backwards()
        return self._sha256.hexdigest(), self._crc32s

    def _expect(self, chunk: memoryview) -> int:
        """The index of the next chunk, the crc32 of which is yet to be made."""
        index = len(self._crc32s)
        self._crc32s.append(0)
        self._left[index] = chunk
        return index

    def _sum(self, indices: Iterable[int]) -> None:
        for index in indices:
            chunk = self._left.pop(index, None)  # from now on it is this thread's
            if chunk is not None:
                self._crc32s[index] = crc32(chunk)

    def _sum_backwards(self) -> None:
        """Begin where the thread comes last, with what is likely to be in the cache still."""
        self._sum(reversed(list(self._left)))


class ChecksumsInOne(Checksums):
    """The checksums of a file all of which is in memory.

    It is hashed at a stretch, for which the thread needs the interpreter but once; then it
    begins with the crc32s of the first chunks, the caller with those of the last.
    """

    def __init__(self, sha256: Sha256, whole: memoryview, chunks: Sequence[memoryview]) -> None:
        super().__init__(sha256)
        indices = [self._expect(chunk) for chunk in chunks]
        sha256.update(whole, lambda: self._sum(indices))

    def add(self, chunk: memoryview) -> None:
        """It is known already."""

    def wait(self, *, under_way: int) -> None:
        """Nothing of it will change."""


def _processor() -> int | None:
    """The processor that the caller runs on, where the system tells (Linux, proc_pid_stat(5))."""
    with suppress(OSError):
        fields = Path("/proc/thread-self/stat").read_text().rpartition(")")[2].split()
        return int(fields[36])
    return None


def _move_off(processor: int | None) -> None:
    """Have this thread go on on another processor than that, if there is one.

    From there the system may move it as it likes: many transfers at once need them all.
    """
    if processor is None:
        return
    with suppress(OSError):  # it is advice; a sandbox may not know it
        allowed = os.sched_getaffinity(0)
        others = allowed - {processor}
        if others:
            os.sched_setaffinity(0, others)
            os.sched_setaffinity(0, allowed)
