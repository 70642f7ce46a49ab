"""What a connection receives, as the lines and values that it is made of."""

from __future__ import annotations

from typing import Protocol

MAX_LINE_BYTES = 2048  # a reply line is a word, or a key of at most 250 bytes and four numbers
RECEIVE_BYTES = 16 * 1024  # a reply line and a small value arrive in one recv


class Receive(Protocol):
    """Receives some of a buffer, or `whole`; how many bytes came, which is never none."""

    def __call__(self, target: memoryview, *, whole: bool = False) -> int:
        """Raises whatever ends the connection."""


class Incoming:
    """Bytes that have come and are not read yet.

    What has not come yet is waited for, by a `receive` that is handed in each time: were it
    kept, a connection that nobody holds any more would live on until the next garbage
    collection. Its exceptions go through.
    """

    def __init__(self) -> None:
        self._held = bytearray(RECEIVE_BYTES)
        self._view = memoryview(self._held)
        self._start = self._end = 0

    @property
    def is_empty(self) -> bool:
        """Whether all that came has been read."""
        return self._start == self._end

    def clear(self) -> None:
        """Forget what came."""
        self._start = self._end = 0

    def line(self, receive: Receive, ending: bytes = b"\r\n") -> bytes:
        """The next line, without its end. Raises `ConnectionError` for what is none."""
        while True:
            end = self._held.find(ending, self._start, self._end)
            if end >= 0:
                line = bytes(self._held[self._start : end])
                self._start = end + len(ending)
                return line
            if self._end - self._start > MAX_LINE_BYTES:
                raise ConnectionError("a reply line without an end")
            self._fill(receive)

    def value(self, receive: Receive, length: int) -> bytes:
        """The next `length` bytes."""
        start = self._start
        if length <= self._end - start:
            self._start = end = start + length
            return bytes(self._view[start:end])
        holder = bytearray(length)
        self.read_into(receive, memoryview(holder))
        return bytes(holder)

    def has_next(self, receive: Receive, expected: bytes) -> bool:
        """Whether these are the next bytes. As many are read."""
        start = self._start
        if self._held.startswith(expected, start, self._end):
            self._start = start + len(expected)
            return True
        return self.value(receive, len(expected)) == expected

    def read_into(self, receive: Receive, target: memoryview) -> None:
        """Fill `target` from what is here already, then from the socket."""
        here = min(len(target), self._end - self._start)
        target[:here] = self._view[self._start : self._start + here]
        self._start += here
        while here < len(target):
            here += receive(target[here:], whole=True)

    def skip(self, receive: Receive, length: int) -> None:
        """Read `length` bytes that nobody wants, to stay in step."""
        scratch = memoryview(bytearray(min(length, RECEIVE_BYTES)))
        while length:
            part = scratch[:length]
            self.read_into(receive, part)
            length -= len(part)

    def _fill(self, receive: Receive) -> None:
        left = self._end - self._start
        if left:
            self._held[:left] = self._held[self._start : self._end]
        self._start, self._end = 0, left
        self._end += receive(self._view[left:] if left else self._view)
