"""One connection to memcached: pymemcache's client, with pipelining and buffers.

pymemcache reads 4 KiB at a time and joins what it sends into one string. Here
values leave from the caller's memory and arrive in the caller's memory, and
several commands are under way at once. What memcached may answer to a command is
decided here; what the answer means for a file, is not.
"""

from __future__ import annotations

import errno
import math
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from pymemcache.client.base import Client
from pymemcache.exceptions import (
    MemcacheError,
    MemcacheServerError,
    MemcacheUnexpectedCloseError,
    MemcacheUnknownCommandError,
    MemcacheUnknownError,
)

from memchunk import protocol, wire
from memchunk.breaker import Breaker
from memchunk.deadline import Deadline
from memchunk.errors import UnavailableError
from memchunk.incoming import Incoming
from memchunk.protocol import MAX_VALUE_BYTES, REFUSALS, Buffer, Command, Reply, Unique
from memchunk.wire import SilenceError, Terms, Wire

COMMANDS_AT_ONCE = 128  # their replies fit in a socket's buffer, so neither side blocks
CHUNKS_IN_FLIGHT = 2  # one travels while the other is made or taken; more only crowd the caches
VALUE_END = b"\r\nEND\r\n"
EXISTS, SKIPPED = Reply("EXISTS"), Reply("SKIPPED")
CRAWLER_DELAY_SECONDS = 0.05
MAX_SETTINGS = 1000  # memcached has some eighty
OWN_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL)  # they tell nothing of a server


class BulkClient(Client):
    """A connection with commands under way.

    Whatever goes wrong on it raises `UnavailableError`, and the connection is closed:
    after a surprise nothing on it can be told apart.

    Attributes:
        deadline: when the call that uses the connection has to be over.
    """

    def __init__(self, address: str, terms: Terms, breaker: Breaker) -> None:
        """Connects at the first command, and tells `breaker` whether the server is there."""
        super().__init__(address)
        self.address = address
        self.deadline = Deadline(math.inf)
        self._terms = terms
        self._breaker = breaker
        self._wire: Wire | None = None
        self._outgoing = bytearray()
        self._incoming = Incoming()
        self._pending: deque[Command] = deque()
        self._opened_at = math.inf  # nothing was asked for on a connection that is not open
        self._asked_at = 0.0

    def _connect(self) -> None:
        self.close()
        self._wire = wire.connect(self.server, self._terms, self.deadline)
        self.sock = self._wire.sock

    def close(self) -> None:
        """Close the connection. What was under way is given up."""
        super().close()
        self._wire = None
        self._opened_at = math.inf
        self._outgoing.clear()
        self._pending.clear()
        self._incoming.clear()

    @property
    def in_step(self) -> bool:
        """Whether the connection is open and every reply has been read."""
        return self._wire is not None and not self._pending and self._incoming.is_empty

    @property
    def is_quiet(self) -> bool:
        """Whether it is open, and nothing came unasked for, such as the connection's end."""
        return self._wire is not None and self._wire.is_quiet()

    def send(self, command: Command) -> None:
        """Send a command. Its reply is due after those of the commands sent before."""
        try:
            if not self._pending:
                self._begin()
            self._pending.append(command)
            self._write(command)
        except BaseException as error:
            self._give_up(error)
            raise

    def receive(self) -> Reply:
        """The reply to the oldest command that has none yet."""
        try:
            if self._outgoing:
                self._flush()
            return self._read_reply(self._pending.popleft())
        except BaseException as error:
            self._give_up(error)
            raise

    def ask(self, commands: Sequence[Command]) -> list[Reply]:
        """The replies to small commands, in order, many of which are sent before one is read.

        Where another memcached may have been asked for the unique number of a `cas`, which is
        the first of them, none is sent: `EXISTS` and `SKIPPED`. See `protocol.Unique`.
        """
        if commands and commands[0].asked_at < self._opened_at:
            return [EXISTS, *(SKIPPED for _ in commands[1:])]
        replies: list[Reply] = []
        try:
            self._begin()
            for start in range(0, len(commands), COMMANDS_AT_ONCE):
                batch = commands[start : start + COMMANDS_AT_ONCE]
                for command in batch:
                    self._write(command)
                self._flush()
                replies += [self._read_reply(command) for command in batch]
            return replies
        except BaseException as error:
            self._give_up(error)
            raise

    def settings(self) -> dict[bytes, bytes]:
        """The server's settings, by name (`stats settings`); none where it does not tell."""
        self.send(protocol.SETTINGS)
        found: dict[bytes, bytes] = {}
        try:
            self._flush()
            for _ in range(MAX_SETTINGS):
                line = self._incoming.line(self._receive)
                word, _, setting = line.partition(b" ")
                if word != b"STAT":
                    break
                name, _, found[name] = setting.partition(b" ")
            else:
                raise MemcacheUnknownError("settings without an end")
            if line not in (b"END", b"ERROR") and word != b"CLIENT_ERROR":
                raise MemcacheUnknownError(f"unexpected line among settings {line[:64]!r}")
        except BaseException as error:
            self._give_up(error)
            raise
        if line == b"END":
            self._pending.popleft()
            return found
        self.close()
        return {}

    def dump(self) -> Iterator[bytes]:
        """A line for each item: see `protocol.dump`."""
        try:
            line = self._begin_dump()
            while line != b"END":
                if not line.startswith(b"key="):  # ERROR, BUSY to the end, or nobody knows what
                    raise MemcacheUnknownError(f"it does not list its items: {line[:64]!r}")
                yield line
                line = self._dump_line()
            self._pending.popleft()
        except BaseException as error:
            self._give_up(error)
            raise

    def _begin_dump(self) -> bytes:
        """The first line of a dump, once memcached's crawler is free.

        It crawls for one at a time, and now and then on its own account.
        """
        while True:
            self.send(protocol.dump())
            self._flush()
            line = self._dump_line()
            if not line.startswith(b"BUSY") or self.deadline.left() < CRAWLER_DELAY_SECONDS:
                return line
            self._pending.popleft()
            time.sleep(CRAWLER_DELAY_SECONDS)

    def _dump_line(self) -> bytes:
        return self._incoming.line(self._receive, b"\n").rstrip(b"\r")

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
        connecting = self._wire is None
        self.close()
        if not isinstance(error, OSError | MemcacheError):
            return
        remedy = "check that it runs, then try again"
        if connecting and self._terms.tls is not None:
            remedy = "check that it runs and speaks TLS, and that tls= trusts its certificate"
        if isinstance(error, SilenceError):
            problem = f"did not answer within {error.limit:g} s"
            is_away = error.tells
        else:
            problem = f"cannot be used ({error})"
            is_away = connecting and getattr(error, "errno", None) not in OWN_SHORTAGES
        failure = UnavailableError(
            f"memcached at {self.address} {problem}; {remedy}", server=self.address
        )
        if is_away:
            self._breaker.failed(time.monotonic(), str(failure))
        elif isinstance(error, ConnectionError | MemcacheError):
            self._breaker.answered()  # who hangs up, or talks nonsense, is there
        raise failure from error

    def _begin(self) -> None:
        """See that there is a connection; nothing is under way on it."""
        if self._wire is None:
            self._connect()
            self._opened_at = time.monotonic()
        self._asked_at = time.monotonic()

    def _write(self, command: Command) -> None:
        """Send a command; a small one only with the next flush."""
        self._outgoing += command.line
        if command.payload:
            self._flush(*command.payload, b"\r\n")

    def _flush(self, *more: Buffer) -> None:
        if self._outgoing:
            if self._wire is None:
                raise MemcacheUnexpectedCloseError("the connection was closed")
            outgoing, self._outgoing = self._outgoing, bytearray()
            self._wire.send((outgoing, *more), self.deadline)

    def _read_reply(self, command: Command) -> Reply:
        line = self._incoming.line(self._receive)
        known = command.words.get(line)
        if known is not None:
            return known
        if command.words is protocol.VALUES and line.startswith(b"VALUE "):
            return self._read_item(command, line)
        if command.payload is not None and line.startswith(REFUSALS):
            return Reply("REFUSED", text=line.decode("ascii", "replace"))
        if line == b"ERROR":
            raise MemcacheUnknownCommandError(f"it does not know {command.verb!r}")
        if line.startswith(b"SERVER_ERROR"):
            raise MemcacheServerError(line.decode("ascii", "replace"))
        raise MemcacheUnknownError(f"unexpected reply {line[:64]!r}")

    def _read_item(self, command: Command, line: bytes) -> Reply:
        fields = line.split(b" ")
        length = -1
        if 4 <= len(fields) <= 5 and fields[3].isdigit():
            length = int(fields[3][:20])
        if not 0 <= length <= MAX_VALUE_BYTES or fields[1] != command.key.encode():
            raise MemcacheUnknownError(f"unexpected reply {line[:64]!r}")
        value = b""
        if length <= command.limit:
            value = self._incoming.value(self._receive, length)
        elif length == sum(map(len, command.into)):
            for buffer in command.into:
                self._incoming.read_into(self._receive, buffer)
        else:
            self._incoming.skip(self._receive, length)
        if not self._incoming.has_next(self._receive, VALUE_END):
            raise MemcacheUnknownError("a value did not end where its length said")
        if len(fields) == 4:
            return Reply("VALUE", length, value)
        cas = Unique(fields[4])
        cas.asked_at = self._asked_at
        return Reply("VALUE", length, value, cas)

    def _receive(self, target: memoryview, *, whole: bool = False) -> int:
        count = self._wire and self._wire.receive(target, self.deadline, whole=whole)
        if not count:
            raise MemcacheUnexpectedCloseError("the server closed the connection")
        if self._breaker.is_open:
            self._breaker.answered()
        return count
