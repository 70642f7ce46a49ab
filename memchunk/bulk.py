"""One connection to memcached: pymemcache's client, with pipelining and buffers.

pymemcache reads 4 KiB at a time and joins what it sends into one string. Here
values leave from the caller's memory and arrive in the caller's memory, and
several commands are under way at once. What memcached may answer to a command is
decided here; what the answer means for a file, is not.
"""

from __future__ import annotations

import select
import socket
import struct
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress

from pymemcache.client.base import Client
from pymemcache.exceptions import (
    MemcacheError,
    MemcacheServerError,
    MemcacheUnexpectedCloseError,
    MemcacheUnknownCommandError,
    MemcacheUnknownError,
)

from memchunk import protocol
from memchunk.errors import UnavailableError
from memchunk.protocol import MAX_VALUE_BYTES, REFUSALS, Buffer, Command, Reply

MAX_LINE_BYTES = 2048  # a reply line is a word, or a key of at most 250 bytes and four numbers
RECEIVE_BYTES = 16 * 1024  # a reply line and a small value arrive in one recv
JOIN_BYTES = 16 * 1024  # up to here, copying a value beside its command is the quicker way


class BulkClient(Client):
    """A connection with commands under way.

    Whatever goes wrong on it raises `UnavailableError`, and the connection is closed:
    after a surprise nothing on it can be told apart.
    """

    def __init__(self, address: str, *, timeout: float, connect_timeout: float) -> None:
        """Connects at the first command. Timeouts are in seconds, for each wait on the socket."""
        super().__init__(address, timeout=timeout, connect_timeout=connect_timeout)
        self.address = address
        self._outgoing = bytearray()
        self._incoming = bytearray(RECEIVE_BYTES)
        self._start = self._end = 0
        self._pending: deque[Command] = deque()
        self._timeval = struct.pack("ll", int(timeout), int(timeout % 1 * 1_000_000))

    def _connect(self) -> None:
        """Connect, by every address that the host's name has."""
        self.close()
        if isinstance(self.server, tuple):
            sock = socket.create_connection(self.server, self.connect_timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.settimeout(self.connect_timeout)
            try:
                sock.connect(self.server)
            except BaseException:
                sock.close()
                raise
        # The kernel keeps the time: Python would ask before each recv whether it may.
        sock.settimeout(None)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            sock.setsockopt(socket.SOL_SOCKET, option, self._timeval)
        self._poller = select.poll()
        self._poller.register(sock, select.POLLIN)
        self.sock = sock

    def close(self) -> None:
        """Close the connection. What was under way is given up."""
        super().close()
        self._outgoing.clear()
        self._pending.clear()
        self._start = self._end = 0

    @property
    def in_step(self) -> bool:
        """Whether the connection is open and every reply has been read."""
        return self.sock is not None and not self._pending and self._start == self._end

    @property
    def usable(self) -> bool:
        """Whether it is in step, and nothing came unasked for, such as the connection's end."""
        return self.in_step and not self._poller.poll(0)

    def send(self, command: Command) -> None:
        """Send a command. Its reply is due after those of the commands sent before."""
        try:
            if self.sock is None:
                self._connect()
            self._pending.append(command)
            self._outgoing += command.line
            if command.payload is not None:
                self._send_parts(command.payload)
        except BaseException as error:
            self._give_up(error)
            raise

    def receive(self) -> Reply:
        """The reply to the oldest command that has none yet."""
        try:
            self._flush()
            return self._read_reply(self._pending.popleft())
        except BaseException as error:
            self._give_up(error)
            raise

    def settings(self) -> dict[bytes, object]:
        """The server's settings, by name (`stats settings`); none where it does not tell."""
        try:
            found: dict[bytes, object] = Client.stats(self, "settings")
        except MemcacheError:  # a proxy says ERROR, or hangs up
            self.close()
            return {}
        except BaseException as error:
            self._give_up(error)
            raise
        return found

    def dump(self) -> Iterator[bytes]:
        """A line for each item: see `protocol.dump`."""
        try:
            self.send(protocol.dump())
            self._flush()
            while (line := self._read_line(b"\n").rstrip(b"\r")) != b"END":
                if not line.startswith(b"key="):  # ERROR, BUSY, or nobody knows what
                    raise MemcacheUnknownError(f"it does not list its items: {line[:64]!r}")
                yield line
            self._pending.popleft()
        except BaseException as error:
            self._give_up(error)
            raise

    def pipeline(self, commands: Iterable[Command], in_flight: int) -> Iterator[Reply]:
        """The replies to `commands`, in order, with at most `in_flight` of them under way."""
        for command in commands:
            if len(self._pending) >= in_flight:
                yield self.receive()
            self.send(command)
        while self._pending:
            yield self.receive()

    def drain(self) -> None:
        """Read the replies that are still due, as far as they come."""
        with suppress(UnavailableError):
            while self._pending:
                self.receive()

    def _give_up(self, error: BaseException) -> None:
        """Close the connection after `error`; `UnavailableError` where that is about the server."""
        self.close()
        if isinstance(error, TimeoutError | BlockingIOError):
            raise UnavailableError(
                f"memcached at {self.address} did not answer within {self.timeout:g} s; try again",
                server=self.address,
            ) from error
        if isinstance(error, OSError | MemcacheError):
            raise UnavailableError(
                f"memcached at {self.address} cannot be used ({error}); "
                "check that it runs, then try again",
                server=self.address,
            ) from error

    def _open_socket(self) -> socket.socket:
        if self.sock is None:
            raise MemcacheUnexpectedCloseError("the connection was closed")
        return self.sock

    def _send_parts(self, parts: tuple[Buffer, ...]) -> None:
        if sum(map(len, parts)) <= JOIN_BYTES:
            for part in parts:
                self._outgoing += part
            self._outgoing += b"\r\n"
            return
        buffers = deque(memoryview(each) for each in (bytes(self._outgoing), *parts, b"\r\n"))
        self._outgoing.clear()
        while buffers:
            sent = self._open_socket().sendmsg(buffers)
            while buffers and sent >= len(buffers[0]):
                sent -= len(buffers.popleft())
            if sent:
                buffers[0] = buffers[0][sent:]

    def _flush(self) -> None:
        if self._outgoing:
            self._open_socket().sendall(self._outgoing)
            self._outgoing.clear()

    def _read_reply(self, command: Command) -> Reply:
        line = self._read_line()
        known = command.words.get(line)
        if known is not None:
            return known
        if command.words is protocol.VALUES and line.startswith(b"VALUE "):
            return self._read_value(command, line)
        if command.payload is not None and line.startswith(REFUSALS):
            return Reply("REFUSED", text=line.decode("ascii", "replace"))
        if line == b"ERROR":
            raise MemcacheUnknownCommandError(f"it does not know {command.line[:8]!r}")
        if line.startswith(b"SERVER_ERROR"):
            raise MemcacheServerError(line.decode("ascii", "replace"))
        raise MemcacheUnknownError(f"unexpected reply {line[:64]!r}")

    def _read_value(self, command: Command, line: bytes) -> Reply:
        fields = line.split(b" ")
        if (
            len(fields) not in (4, 5)
            or fields[1] != command.key.encode()
            or not fields[3].isdigit()
            or int(fields[3][:20]) > MAX_VALUE_BYTES
        ):
            raise MemcacheUnknownError(f"unexpected reply {line[:64]!r}")
        length, value = int(fields[3]), b""
        if length == sum(map(len, command.into)):
            for buffer in command.into:
                self._read_into(buffer)
        elif length <= command.limit:
            holder = bytearray(length)
            self._read_into(memoryview(holder))
            value = bytes(holder)
        else:
            self._skip(length)
        if self._read_line() != b"" or self._read_line() != b"END":
            raise MemcacheUnknownError("a value did not end where its length said")
        return Reply("VALUE", length, value, fields[4] if len(fields) == 5 else b"")

    def _read_line(self, ending: bytes = b"\r\n") -> bytes:
        """The next line, without its end."""
        while True:
            end = self._incoming.find(ending, self._start, self._end)
            if end >= 0:
                line = bytes(self._incoming[self._start : end])
                self._start = end + len(ending)
                return line
            if self._end - self._start > MAX_LINE_BYTES:
                raise MemcacheUnknownError("a reply line without an end")
            self._fill()

    def _fill(self) -> None:
        held = self._incoming[self._start : self._end]
        self._incoming[: len(held)] = held
        self._start, self._end = 0, len(held)
        self._end += self._receive_some(memoryview(self._incoming)[self._end :])

    def _read_into(self, target: memoryview) -> None:
        """Fill `target` from what is here already, then from the socket."""
        here = min(len(target), self._end - self._start)
        target[:here] = memoryview(self._incoming)[self._start : self._start + here]
        self._start += here
        while here < len(target):
            here += self._receive_some(target[here:], socket.MSG_WAITALL)

    def _skip(self, length: int) -> None:
        """Read `length` bytes that nobody wants, to stay in step."""
        scratch = memoryview(bytearray(min(length, RECEIVE_BYTES)))
        while length:
            part = scratch[:length]
            self._read_into(part)
            length -= len(part)

    def _receive_some(self, target: memoryview, flags: int = 0) -> int:
        count = self._open_socket().recv_into(target, 0, flags)
        if not count:
            raise MemcacheUnexpectedCloseError("the server closed the connection")
        return count
