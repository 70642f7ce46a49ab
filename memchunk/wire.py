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
from typing import Any

from memchunk.deadline import Deadline
from memchunk.protocol import Buffer

LEAST_WAIT_SECONDS = 0.001  # the kernel takes 0 for ever
LONGEST_WAIT_SECONDS = 86_400.0
TELLING_SECONDS = 1.0  # of silence, where the call had no time for a whole timeout
# So that a chunk and then some is on its way at once, as over TCP, where the kernel sees to it.
UNIX_SEND_BUFFER_BYTES = 1024 * 1024
# How long the kernel itself waits, in microseconds.
TICK = 1  # for bytes to come: until the next tick of its clock
PAUSE = 100_000  # for room for more of what is being sent

_WHOLE, _AT_ONCE = int(socket.MSG_WAITALL), int(socket.MSG_DONTWAIT)  # an enum's are slower


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

    Long waits are polls: Python's `poll` keeps its time, while a `recv` or `send` that a signal
    interrupts before a byte is through begins its wait anew. What comes within the shortest
    wait that the kernel knows, as small replies do, costs no poll; so signals without end that
    are closer together than that (a few milliseconds) can still hold a wait up.
    """

    def __init__(self, sock: socket.socket, timeout: float) -> None:
        self.sock = sock
        self._timeout = min(timeout, LONGEST_WAIT_SECONDS)
        self._incoming, self._outgoing = select.poll(), select.poll()
        self._incoming.register(sock, select.POLLIN)
        self._outgoing.register(sock, select.POLLOUT)
        self._set_up()

    def _set_up(self) -> None:
        self.sock.settimeout(None)  # or Python would poll each time
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _microseconds(TICK))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _microseconds(PAUSE))

    def is_quiet(self) -> bool:
        """Whether nothing has come unasked for, such as the connection's end."""
        return not self._incoming.poll(0)

    def receive(self, target: memoryview, deadline: Deadline, *, whole: bool = False) -> int:
        """Receive into `target`, all of it at a time where that is `whole`; how many bytes came.

        Fewer come where there is a pause between them, and none at the connection's end.
        """
        while monotonic() < deadline.end:
            try:
                return self.sock.recv_into(target, 0, _WHOLE if whole else 0)
            except BlockingIOError:
                self._await(self._incoming, deadline)
        raise SilenceError(deadline.seconds, waited=0)

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
        if len(parts) == 1 and monotonic() < deadline.end:  # small, as a rule: there is room
            try:
                return self.sock.send(parts[0], _AT_ONCE)
            except BlockingIOError:
                pass
        self._await(self._outgoing, deadline)
        try:
            return self.sock.sendmsg(parts)
        except BlockingIOError:  # room for less than the kernel bothers with
            return 0

    def _await(self, poller: select.poll, deadline: Deadline) -> None:
        wait, limit = self._wait_until(deadline)
        if not poller.poll(wait * 1000):
            raise SilenceError(limit, waited=wait)

    def _wait_until(self, deadline: Deadline) -> tuple[float, float]:
        """How long the next wait may take: to the timeout or the deadline, and which of them."""
        wait, limit = deadline.left(), deadline.seconds
        if wait > self._timeout:
            wait = limit = self._timeout
        if wait <= 0:
            raise SilenceError(limit, waited=0)
        return wait, limit


class TlsWire(Wire):
    """A connection in TLS: one record at a time, and Python polls."""

    sock: ssl.SSLSocket

    def _set_up(self) -> None:
        self._wait = self._timeout
        self.sock.settimeout(self._wait)

    def is_quiet(self) -> bool:
        """Whether nothing has come unasked for, be it deciphered already or not."""
        return not self.sock.pending() and super().is_quiet()

    def receive(self, target: memoryview, deadline: Deadline, *, whole: bool = False) -> int:  # noqa: ARG002
        """Receive into `target`, one record at most, be it `whole` or not; how many bytes came.

        At the connection's end none do.
        """
        limit = self._limit_wait(deadline)
        try:
            return self.sock.recv_into(target)
        except TimeoutError as error:
            raise SilenceError(limit, waited=self._wait) from error

    def _send_some(self, parts: Sequence[Buffer], deadline: Deadline) -> int:
        limit = self._limit_wait(deadline)
        try:
            return self.sock.send(parts[0])
        except TimeoutError as error:
            raise SilenceError(limit, waited=self._wait) from error

    def _limit_wait(self, deadline: Deadline) -> float:
        """Let the next wait end with the call, or after the timeout; the one that is sooner."""
        wait, limit = self._wait_until(deadline)
        if wait != self._wait:
            self._wait = max(wait, LEAST_WAIT_SECONDS)
            self.sock.settimeout(self._wait)
        return limit


def connect(server: tuple[str, int] | str, terms: Terms, deadline: Deadline) -> Wire:
    """Connect to a host and port, by every address that the host's name has, or to a path.

    Raises `OSError`; `SilenceError` and `ssl.SSLError` are such.
    """
    limit = deadline.seconds if deadline.left() < terms.connect_timeout else terms.connect_timeout
    until = Deadline(min(terms.connect_timeout, deadline.left(), LONGEST_WAIT_SECONDS))
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


def _microseconds(number: int) -> bytes:
    return struct.pack("ll", 0, number)


def _connect(server: tuple[str, int] | str, terms: Terms, until: Deadline) -> Wire:
    if isinstance(server, tuple):
        sock = _connect_to_any(server, until)
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


def _connect_to_any(server: tuple[str, int], until: Deadline) -> socket.socket:
    """Connect to the first of a host's addresses that answers in its share of the time."""
    failure = OSError("its name has no address")
    addresses = socket.getaddrinfo(*server, type=socket.SOCK_STREAM)
    for tried, (family, kind, protocol, _, address) in enumerate(addresses):
        share = _wait(until) / (len(addresses) - tried)
        try:
            return _connect_to(address, socket.socket(family, kind, protocol), share)
        except OSError as error:
            failure = error
    raise failure


def _connect_to(address: Any, sock: socket.socket, seconds: float) -> socket.socket:
    try:
        sock.settimeout(seconds)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _wait(until: Deadline) -> float:
    return max(until.left(), LEAST_WAIT_SECONDS)
