"""The server's side of one TCP connection: how long it waits for a client.

gunicorn's threads read and write without any deadline; `PacedSocket` gives them one,
and lets others work while it waits.
"""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
import termios
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from memchunk_api.turns import aside

_Received = TypeVar("_Received", bytes, int)

# The average a client must keep up once its patience is used up. At this rate
# 50 MiB take 53 minutes, a little less than the library gives a put.
LEAST_BYTES_PER_SECOND = 16 * 1024

HEADER_PATIENCE_SECONDS = 30.0
SEND_PATIENCE_SECONDS = 30.0

_AT_ONCE = int(socket.MSG_DONTWAIT)  # a plain number: `|` with an enumeration's takes Python


class PacedSocket(socket.socket):
    """A socket on which nobody can hold a thread for ever, 1 byte at a time.

    Waiting ends with `TimeoutError` after `patience` seconds without a byte, and
    also when fewer than `LEAST_BYTES_PER_SECOND` came on average, the first
    `patience` seconds not counted. Its errno says that the connection is gone,
    because that is how gunicorn treats it: no answer, no traceback.

    Attributes:
        body_sent: the bytes that `send_body` has sent.

    What cannot be moved at once is waited for `aside`, by the kernel. Python's own timeouts take
    a system call more for each transfer, and gunicorn sets some ten of them per request; every
    one lets go of the interpreter lock, which under load takes far longer than the call.
    """

    def __init__(self, connection: socket.socket) -> None:
        """Take over `connection`, which is dead from here on."""
        family, kind, proto = connection.family, connection.type, connection.proto
        super().__init__(family, kind, proto, fileno=connection.detach())
        super().settimeout(None)
        self.body_sent = 0
        self._limit: float | None = None
        self._allowed: dict[int, float] = {}
        self.expect(HEADER_PATIENCE_SECONDS)

    def settimeout(self, seconds: float | None, /) -> None:
        """Let no transfer take longer than this either."""
        self._limit = seconds

    def setblocking(self, flag: bool, /) -> None:  # noqa: FBT001 - as gunicorn calls it
        """Take the limit away, or let nothing wait (longer than the kernel's clock ticks)."""
        self._limit = None if flag else 0.0

    def gettimeout(self) -> float | None:
        """The limit that was set."""
        return self._limit

    def expect(self, patience: float) -> None:
        """Start counting anew: the client is to send something now."""
        self._patience = patience
        self._waited = self._sending = 0.0
        self._received = self._sent = 0

    def has_more(self, seconds: float) -> bool:
        """Whether within `seconds` there is something to receive, be it the end."""
        with aside():
            self._allow(socket.SO_RCVTIMEO, seconds)
            try:
                super().recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                return False
            except OSError:
                pass  # a connection that is broken: who reads from it finds out
        return True

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Receive; see the class for what ends the waiting."""
        data = self._receive(partial(super().recv, size), flags)
        self._received += len(data)
        return data

    def recv_into(self, buffer: Any, size: int = 0, flags: int = 0, /) -> int:
        """Receive into `buffer`; see the class for what ends the waiting."""
        count = self._receive(partial(super().recv_into, buffer, size), flags)
        self._received += count
        return count

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send all of `data`; see the class for what ends the waiting."""
        started = time.monotonic()
        left = memoryview(data)
        while left:
            so_far = self._sending + time.monotonic() - started
            if so_far > SEND_PATIENCE_SECONDS:
                self._patience_to_send(so_far)
            try:
                sent = super().send(left, flags | _AT_ONCE)
            except BlockingIOError:
                sent = self._wait_to_send(left, flags, self._patience_to_send(so_far))
            self._sent += sent
            left = left[sent:]
        self._sending += time.monotonic() - started

    def send_body(self, data: Any, /) -> None:
        """Send some of an answer's body past gunicorn, and count it in `body_sent`."""
        self.sendall(data)
        self.body_sent += len(data)

    def _receive(self, receive: Callable[[int], _Received], flags: int) -> _Received:
        # also where something could be received: it may come too late
        seconds = _seconds_left(self._patience, self._received, self._waited)
        # Only what is spent in here counts: a memcached that dawdles, or a thread that has to
        # wait for its turn, is not the client's fault.
        started = time.monotonic()
        try:
            found = receive(flags | _AT_ONCE)
            self._waited += time.monotonic() - started
        except BlockingIOError:
            with aside():
                self._allow(socket.SO_RCVTIMEO, seconds)
                try:
                    found = receive(flags)
                except BlockingIOError:
                    raise _too_slow() from None
                self._waited += time.monotonic() - started
        return found

    def _patience_to_send(self, so_far: float) -> float:
        """How many seconds more, after so many. Raises `TimeoutError` where there are none left."""
        # What the kernel holds back earns nothing: it makes room for megabytes, at times long
        # after the client has taken its last byte.
        taken = max(self._sent - self._held_back(), 0)
        return _seconds_left(SEND_PATIENCE_SECONDS, taken, so_far)

    def _wait_to_send(self, data: memoryview, flags: int, seconds: float) -> int:
        with aside():
            self._allow(socket.SO_SNDTIMEO, seconds)
            try:
                return super().send(data, flags)
            except BlockingIOError:
                raise _too_slow() from None

    def _held_back(self) -> int:
        """Bytes that were sent and not taken by the client, where the system tells (Linux)."""
        try:
            count = fcntl.ioctl(self.fileno(), termios.TIOCOUTQ, bytes(struct.calcsize("@i")))
        except OSError:
            return 0
        return int(struct.unpack("@i", count)[0])

    def _allow(self, option: int, seconds: float) -> None:
        if self._limit is not None:
            seconds = min(seconds, self._limit)
        if self._allowed.get(option) == seconds:
            return  # the kernel knows
        self._allowed[option] = seconds
        # To the kernel 0 means for ever.
        whole, part = divmod(max(int(seconds * 1_000_000), 1), 1_000_000)
        self.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", whole, part))


def _seconds_left(patience: float, moved: int, waited: float) -> float:
    """How long a client that moved so many bytes in so many seconds may keep us waiting.

    Raises `TimeoutError` where it may not.
    """
    seconds = min(patience + moved / LEAST_BYTES_PER_SECOND - waited, patience)
    if seconds <= 0:
        raise _too_slow()
    return seconds


def _too_slow() -> TimeoutError:
    return TimeoutError(errno.ECONNRESET, "the client is too slow")
