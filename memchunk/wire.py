"""Bytes to and from one memcached: connecting, TLS, and waits that end.

A wait ends after the timeout, or when the call that waits has to be over.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from memchunk.deadline import Deadline
from memchunk.protocol import Buffer

LEAST_WAIT_SECONDS = 0.001  # the kernel takes 0 for ever
LONGEST_WAIT_SECONDS = 86_400.0
TELLING_SECONDS = 1.0  # of silence, where the call had no time for a whole timeout
# So that a chunk and then some is on its way at once, as over TCP, where the kernel sees to it.
UNIX_SEND_BUFFER_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms servers are talked to.

    Attributes:
        timeout: the longest wait for them to take or give bytes, in seconds.
        connect_timeout: the longest wait for a connection, in seconds.
        deadline: the longest time for a whole call, in seconds.
        tls: what TLS goes by, or None for plain connections.
    """

    timeout: float
    connect_timeout: float
    deadline: float
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` for a time that cannot be kept."""
        times = (self.timeout, self.connect_timeout, self.deadline)
        if not all(seconds >= LEAST_WAIT_SECONDS for seconds in times):  # nor NaN
            raise ValueError(f"a timeout or deadline is at least {LEAST_WAIT_SECONDS} seconds")


class SilenceError(TimeoutError):
    """Nothing came, and nothing was taken, in the time there was for it.

    Attributes:
        limit: the timeout or deadline that ended the wait, in seconds.
        tells: whether the wait was long enough to say something about the server.
    """

    def __init__(self, limit: float, *, waited: float) -> None:
        super().__init__(f"timed out after {waited:g} s")
        self.limit = limit
        self.tells = waited >= min(limit, TELLING_SECONDS)


class Wire:
    """A connection, as bytes.

    Raises `OSError` where it is none any more, and `SilenceError`.
    """

    _takes_many = True  # parts at a time
    _whole = int(socket.MSG_WAITALL)

    def __init__(self, sock: socket.socket, timeout: float) -> None:
        self.sock = sock
        self._timeout = self._wait = min(timeout, LONGEST_WAIT_SECONDS)
        self._poller = select.poll()
        self._poller.register(sock, select.POLLIN)
        # The kernel keeps the time: Python would ask before each recv whether it may.
        sock.settimeout(None)
        self._set_wait(self._wait)

    def is_quiet(self) -> bool:
        """Whether nothing has come unasked for, such as the connection's end."""
        return not self._poller.poll(0)

    def receive(self, target: memoryview, deadline: Deadline, *, whole: bool = False) -> int:
        """Receive into `target`, all of it at a time where that is `whole`; how many bytes came.

        At the connection's end none do.
        """
        if monotonic() > deadline.end - self._timeout or self._wait < self._timeout:
            self._limit_wait(deadline)
        try:
            return self.sock.recv_into(target, 0, self._whole if whole else 0)
        except (TimeoutError, BlockingIOError) as error:
            raise self._silence(deadline) from error

    def send(self, parts: Sequence[Buffer], deadline: Deadline) -> None:
        """Send all parts, in order."""
        sent = self._send_some(parts, deadline)
        if sent < sum(map(len, parts)):
            rest = deque([memoryview(part) for part in parts])
            while rest:
                while rest and sent >= len(rest[0]):
                    sent -= len(rest.popleft())
                if rest:
                    rest[0] = rest[0][sent:]
                    sent = self._send_some(rest, deadline)

    def _send_some(self, parts: Sequence[Buffer], deadline: Deadline) -> int:
        if monotonic() > deadline.end - self._timeout or self._wait < self._timeout:
            self._limit_wait(deadline)
        try:
            if len(parts) == 1 or not self._takes_many:
                return self.sock.send(parts[0])
            return self.sock.sendmsg(parts)
        except (TimeoutError, BlockingIOError) as error:
            raise self._silence(deadline) from error

    def _limit_wait(self, deadline: Deadline) -> None:
        """Let the next wait end with the call; not so early any more where there is time again."""
        left = deadline.left()
        if left <= 0:
            raise SilenceError(deadline.seconds, waited=0)
        self._wait = min(max(left, LEAST_WAIT_SECONDS), self._timeout)
        self._set_wait(self._wait)

    def _silence(self, deadline: Deadline) -> SilenceError:
        limit = deadline.seconds if self._wait < self._timeout else self._timeout
        return SilenceError(limit, waited=self._wait)

    def _set_wait(self, wait: float) -> None:
        timeval = struct.pack("ll", int(wait), int(wait % 1 * 1_000_000))
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self.sock.setsockopt(socket.SOL_SOCKET, option, timeval)


class TlsWire(Wire):
    """A connection in TLS: one record at a time, and Python keeps the time."""

    sock: ssl.SSLSocket
    _takes_many = False
    _whole = 0

    def is_quiet(self) -> bool:
        """Whether nothing has come unasked for, be it deciphered already or not."""
        return not self.sock.pending() and super().is_quiet()

    def _set_wait(self, wait: float) -> None:
        self.sock.settimeout(wait)


def connect(server: tuple[str, int] | str, terms: Terms, deadline: Deadline) -> Wire:
    """Connect to a host and port, by every address that the host's name has, or to a path.

    Raises `OSError`; `SilenceError` and `ssl.SSLError` are such.
    """
    limit = deadline.seconds if deadline.left() < terms.connect_timeout else terms.connect_timeout
    until = Deadline(min(terms.connect_timeout, deadline.left()))
    try:
        return _connect(server, terms, until)
    except TimeoutError as error:
        raise SilenceError(limit, waited=until.seconds) from error


def processor(sock: socket.socket) -> int | None:
    """The number of the processor that last took in what the peer sent, where Linux tells.

    Of a peer on this machine it is the one that the peer ran on. Unix sockets do not tell.
    """
    if not hasattr(socket, "SO_INCOMING_CPU"):
        return None
    number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_INCOMING_CPU)
    return number if number >= 0 else None


def _connect(server: tuple[str, int] | str, terms: Terms, until: Deadline) -> Wire:
    if isinstance(server, tuple):
        sock = socket.create_connection(server, _wait(until))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    else:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Linux gives what it may (net.core.wmem_max), others all or nothing.
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNIX_SEND_BUFFER_BYTES)
    try:
        sock.settimeout(_wait(until))
        if isinstance(server, str):
            sock.connect(server)
        elif terms.tls is not None:
            sock = terms.tls.wrap_socket(sock, server_hostname=server[0])
            return TlsWire(sock, terms.timeout)
        return Wire(sock, terms.timeout)
    except BaseException:
        sock.close()
        raise


def _wait(until: Deadline) -> float:
    return max(until.left(), LEAST_WAIT_SECONDS)
