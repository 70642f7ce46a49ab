"""A position in a file that is read piece by piece, wherever that file lies."""

from __future__ import annotations

import io
from abc import abstractmethod

from memchunk.fresh import FreshBytes
from memchunk.manifest import FileInfo


class SeekableFile(io.RawIOBase):
    """A file as a raw, seekable, read-only stream; a subclass has its `info` and `readinto`."""

    def __init__(self) -> None:
        super().__init__()
        self._position = 0

    @property
    @abstractmethod
    def info(self) -> FileInfo:
        """What is known of the file that is being read."""

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position, in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position, which may lie past the end; the new position."""
        self._check_open()
        size = self.info.size
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: size}.get(whence)
        if base is None or base + offset < 0:
            raise ValueError("a position before the file's start")
        self._position = base + offset
        return self._position

    def readall(self) -> bytes:
        """The bytes from the position to the end, which may not move meanwhile."""
        self._check_open()
        fresh = FreshBytes(max(0, self.info.size - self._position))
        done = 0
        while count := self.readinto(fresh.view[done:]):
            done += count
        return fresh.take()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")
