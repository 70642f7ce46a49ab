"""What a caller hands to `put` becomes blocks: memory as it is, streams through a few buffers."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from memchunk.deadline import AtLeisure
from memchunk.errors import TooLargeError
from memchunk.layout import MAX_FILE_BYTES

Source = Any  # bytes-like, a path, or a binary file: see `open_source`


class Blocks(Protocol):
    """The bytes of a file, block by block.

    Attributes:
        size: the number of bytes, where it can be told before they are read, else None.
    """

    size: int | None

    def blocks(self, block_bytes: int) -> Iterator[memoryview]:
        """The blocks in order: all of `block_bytes` but the last, none empty.

        A block stays as it is until its buffer's turn comes again. Raises `TooLargeError`
        past 50 MiB, and whatever the source raises.
        """


class Readable(Protocol):
    """Bytes to be read one after the other."""

    def readinto(self, buffer: memoryview) -> int:
        """Fill some of `buffer`; 0 at the end."""


class Memory:
    """Bytes that are in memory: no copy is made. A context manager, which lets go of them.

    Attributes:
        view: all of them.
        size: how many they are.
    """

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self.size: int | None = len(view)
        _check_size(len(view))

    def __enter__(self) -> Memory:
        return self

    def __exit__(self, *_: object) -> None:
        self.view.release()

    def blocks(self, block_bytes: int) -> Iterator[memoryview]:
        """The blocks: see `Blocks`."""
        for start in range(0, len(self.view), block_bytes):
            yield self.view[start : start + block_bytes]


class CallersFile:
    """A binary file, pipe or anything with `readinto` or `read`: its time does not count."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readinto(self, buffer: memoryview) -> int:
        """Fill some of `buffer`; 0 at the end. Raises whatever the file raises."""
        with AtLeisure():
            return self._readinto(buffer)

    def _readinto(self, buffer: memoryview) -> int:
        if hasattr(self._file, "readinto"):
            count = self._file.readinto(buffer)
            if count is None:
                raise BlockingIOError("the source is not ready; use a blocking file")
            return int(count)
        data = self._file.read(len(buffer))
        if data is None:
            raise BlockingIOError("the source is not ready; use a blocking file")
        if isinstance(data, str):
            raise TypeError("the source gives text; open it in binary mode ('rb')")
        if len(data) > len(buffer):
            raise ValueError("the source's read(n) gave more than n bytes")
        buffer[: len(data)] = data
        return len(data)


class Stream:
    """Anything with `readinto`, read to its end.

    A context manager, which leaves the file open.
    """

    def __init__(self, file: Readable, buffers: int, size: int | None = None) -> None:
        self._file = file
        self._buffers = buffers
        self.size = size

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def blocks(self, block_bytes: int) -> Iterator[memoryview]:
        """The blocks: see `Blocks`. At most one byte past 50 MiB is ever read."""
        ring: list[memoryview] = []
        total = 0
        for turn in range(MAX_FILE_BYTES // block_bytes + 2):
            if turn < self._buffers:
                ring.append(memoryview(bytearray(block_bytes)))
            buffer = ring[turn % self._buffers]
            length = self._fill(buffer[: MAX_FILE_BYTES + 1 - total])
            total += length
            _check_size(total)
            if length:
                yield buffer[:length]
            if length < block_bytes:
                return

    def _fill(self, buffer: memoryview) -> int:
        """Read until `buffer` is full or the stream ends."""
        filled = 0
        while filled < len(buffer):
            count = self._file.readinto(buffer[filled:])
            if not count:
                break
            filled += count
        return filled


class PathStream(Stream):
    """The file at a path. A context manager, which closes it."""

    def __init__(self, path: str | os.PathLike[str], buffers: int) -> None:
        size = Path(path).stat().st_size
        _check_size(size)
        self._opened = io.FileIO(path)
        super().__init__(CallersFile(self._opened), buffers, size)

    def __exit__(self, *_: object) -> None:
        self._opened.close()


def open_source(source: Source, *, buffers: int) -> Memory | Stream:
    """The blocks of a bytes-like object, a path (str or PathLike), or a binary file.

    What is not in memory yet comes through so many `buffers`, of a block each, in turn.
    For a `with`, at whose end a file that was opened here is closed.
    Raises `TypeError` for anything else, `OSError` for a path that cannot be read,
    and `TooLargeError` at once where the size is known.
    """
    if isinstance(source, bytes):  # the most usual, and to find out what else it is not takes long
        return Memory(memoryview(source))
    if isinstance(source, str | os.PathLike):
        return PathStream(source, buffers)
    if hasattr(source, "read") or hasattr(source, "readinto"):
        if hasattr(source, "encoding"):
            raise TypeError("the source is a text file; open it in binary mode ('rb')")
        return Stream(CallersFile(source), buffers)
    try:
        view = memoryview(source)
    except TypeError:
        raise TypeError(
            "a source is bytes-like, a path, or a binary file, not "
            f"{type(source).__name__}; encode text first"
        ) from None
    if not view.c_contiguous:
        raise TypeError("the source's memory is not contiguous; pass bytes(source)")
    return Memory(view.cast("B"))


def _check_size(size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise TooLargeError(
            f"the file has more than {MAX_FILE_BYTES} bytes (50 MiB); "
            "split it, or keep it elsewhere"
        )
