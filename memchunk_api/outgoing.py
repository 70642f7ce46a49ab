"""A source on its way to a server: its blocks, its size and digest, and once more from the start.

What can be read twice is hashed before it is sent, so that the server is told what is to
come and stores nothing else. A pipe is hashed while it passes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memchunk import DigestMismatchError
from memchunk.draft import Progress
from memchunk.sources import Source, open_source

# Stays in a processor's cache while it is hashed and copied to the socket.
BLOCK_BYTES = 256 * 1024


class Outgoing:
    """One source as `Store.put` takes it: bytes-like, a path, or a binary file.

    Attributes:
        repeatable: whether it can be sent a second time.
        size: the number of bytes; None where only their end will tell.
        sha256: their digest in hex; of what is not repeatable, once all of it was sent.
        times_sent: how often the sending was begun.
    """

    def __init__(self, source: Source, progress: Progress | None = None) -> None:
        """Hash it, where it is `repeatable`; raises `TooLargeError`, and what the source raises."""
        self._source = source
        self._progress = progress
        self._start = _position(source)
        self.repeatable = self._start is not None
        self.size: int | None = None
        self.sha256: str | None = None
        self.times_sent = 0
        if self.repeatable:
            sha256, size = hashlib.sha256(), 0
            for block in self._read():
                sha256.update(block)
                size += len(block)
            self.size, self.sha256 = size, sha256.hexdigest()

    def blocks(self, start: int = 0) -> Iterator[bytes]:
        """The bytes, but for the first `start`; raises `TooLargeError`, and what the source raises.

        Raises:
            DigestMismatchError: there are fewer bytes than there were to hash.
        """
        self.times_sent += 1
        sha256, sent = hashlib.sha256(), 0
        for block in self._read():
            # A file may have grown since it was hashed.
            piece = block if self.size is None else block[: self.size - sent]
            if self.size is None:
                sha256.update(piece)
            sent += len(piece)
            if sent <= start:
                continue
            yield piece[-(sent - start) :]  # type: ignore[misc]  # for httpx any buffer is as good as bytes
            if self._progress is not None:
                self._progress(sent, self.size)
        if self.size is None:
            self.sha256 = sha256.hexdigest()
        elif sent < self.size:
            raise DigestMismatchError("the source changed while it was sent; send it again")

    def _read(self) -> Iterator[memoryview]:
        if self._start is not None and hasattr(self._source, "seek"):
            self._source.seek(self._start)
        with open_source(self._source, buffers=1) as blocks:
            yield from blocks.blocks(BLOCK_BYTES)


class Rest:
    """What is left of a source from an offset on; its size is known, and it is repeatable."""

    def __init__(self, whole: Outgoing, start: int) -> None:
        self._whole = whole
        self._start = start
        self.repeatable = True
        self.size: int | None = (whole.size or 0) - start

    def blocks(self) -> Iterator[bytes]:
        """The bytes: see `Outgoing`."""
        return self._whole.blocks(self._start)


def _position(source: Source) -> int | None:
    """Where to start once more; None for what can be read only once."""
    if isinstance(source, str | os.PathLike):
        return 0 if Path(source).is_file() else None  # a named pipe has a path, too
    if not hasattr(source, "read") and not hasattr(source, "readinto"):
        return 0  # memory
    try:
        position: Any = source.seek(0, os.SEEK_CUR)
    except (AttributeError, OSError):  # io.UnsupportedOperation is one
        return None
    return int(position)
