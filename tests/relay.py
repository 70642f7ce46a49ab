"""A relay between a client and a real memcached, that spoils the conversation as a test says.

Everything passes until a rule is set; a rule holds for all connections until `clear`.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle, islice

from tests.servers import connect

BLOCK_BYTES = 65_536
WITH_DATA = {b"set": 4, b"add": 4, b"replace": 4, b"append": 4, b"prepend": 4, b"cas": 4, b"ms": 2}
RESET = struct.pack("ii", 1, 0)  # on close: SO_LINGER, for no time
BUSY = b"BUSY currently processing crawler request\r\n"
UNKNOWN = b"no_such_command\r\n"  # memcached itself answers ERROR, in its turn


class Relay:
    """Listens on `address` and talks to the memcached at `upstream`. A context manager.

    Attributes:
        address: where clients connect.
        commands: how often each command came, by its first word, as in `commands["get"]`.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:{1}".format(*self._listener.getsockname())
        self.commands: Counter[str] = Counter()
        self.clear()
        self._spawn(self._accept)

    def clear(self) -> None:
        """Drop all rules."""
        self._error_on: tuple[bytes, ...] = ()
        self._hang_up_on: tuple[bytes, ...] = ()
        self._busy = 0
        self._creates = True
        self._cut: _After | None = None
        self._cut_by_reset = False
        self._half_close: _After | None = None
        self._garble: _After | None = None
        self._duplicates = False
        self._delay = 0.0
        self._trickle: float | None = None

    def error_on(self, *starts: bytes) -> None:
        """Answer ERROR to command lines that start so, as a server that does not know them."""
        self._error_on = starts

    def hang_up_on(self, *starts: bytes) -> None:
        """Close the connection on command lines that start so, before memcached sees them."""
        self._hang_up_on = starts

    def crawler_is_busy(self, times: int) -> None:
        """Answer so often as memcached does while it lists its items for somebody else."""
        self._busy = times

    def create_nothing(self) -> None:
        """Make each `set` a `replace`, to which memcached answers NOT_STORED where nothing is."""
        self._creates = False

    def cut_after(self, count: int, *, reset: bool = False) -> None:
        """Close, or reset, each connection once `count` more bytes of the server have passed."""
        self._cut = _After(count)
        self._cut_by_reset = reset

    def half_close_after(self, count: int) -> None:
        """Say no more once `count` more bytes of the server have passed, and go on listening."""
        self._half_close = _After(count)

    def duplicate(self) -> None:
        """Pass on twice what the server says."""
        self._duplicates = True

    def delay(self, seconds: float) -> None:
        """Pass on what the server says so much later."""
        self._delay = seconds

    def trickle(self, seconds: float) -> None:
        """Pass on what the server says byte by byte, each so much later."""
        self._trickle = seconds

    def garble_after(self, count: int) -> None:
        """Replace all bytes of the server on each connection once `count` more have passed."""
        self._garble = _After(count)

    def close(self) -> None:
        """End all connections and stop listening."""
        self._closed.set()
        with self._lock:
            for each in (self._listener, *self._sockets):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=5)

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                client = self._listener.accept()[0]
                try:
                    server = connect(self._upstream)
                except OSError:
                    client.close()
                    continue
                server.settimeout(None)
                with self._lock:
                    self._sockets |= {client, server}
                self._spawn(self._requests, client, server)
                self._spawn(self._replies, client, server)

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError), client.makefile("rb") as lines:
            while line := lines.readline():
                words = line.split()
                self.commands[words[0].decode("latin-1") if words else ""] += 1
                if line.startswith(self._hang_up_on):
                    break
                if self._busy and line.startswith(b"lru_crawler "):
                    self._busy -= 1
                    client.sendall(BUSY)
                    continue
                if not self._creates and line.startswith(b"set "):
                    line = line.replace(b"set", b"replace", 1)
                refused = line.startswith(self._error_on)
                server.sendall(UNKNOWN if refused else line)
                position = WITH_DATA.get(words[0]) if words else None
                left = int(words[position]) + 2 if position and len(words) > position else 0
                while left and (block := lines.read1(min(left, BLOCK_BYTES))):
                    left -= len(block)
                    if not refused:
                        server.sendall(block)
        self._end(client, server)

    def _replies(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while block := server.recv(BLOCK_BYTES):
                self._closed.wait(self._delay)
                if garble := self._garble:
                    clean = garble.passing(client, len(block))
                    block = block[:clean] + bytes(islice(cycle(b"?!\r\n"), len(block) - clean))
                if self._duplicates:
                    block *= 2
                if limit := self._cut or self._half_close:
                    block = block[: limit.passing(client, len(block))]
                self._pass_on(client, block)
                if limit and not limit.left[client]:
                    if self._half_close:
                        client.shutdown(socket.SHUT_WR)
                        continue
                    if self._cut_by_reset:
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    break
        self._end(client, server)

    def _pass_on(self, client: socket.socket, block: bytes) -> None:
        if self._trickle is None:
            client.sendall(block)
        else:
            for byte in block:
                if self._closed.wait(self._trickle):
                    break
                client.sendall(bytes([byte]))

    def _end(self, *ends: socket.socket) -> None:
        # the thread that comes first wakes the other; saying that this is the end would
        # come before a reset
        how = socket.SHUT_RD if self._cut_by_reset else socket.SHUT_RDWR
        for each in ends:
            with suppress(OSError):
                each.shutdown(how)
            with self._lock:
                self._sockets.discard(each)
            each.close()

    def _spawn(self, work: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()


class _After:
    """How many of the server's bytes still pass on each connection."""

    def __init__(self, count: int) -> None:
        self.left: defaultdict[socket.socket, int] = defaultdict(lambda: count)

    def passing(self, connection: socket.socket, count: int) -> int:
        """How many of the next `count` bytes pass; they are counted."""
        passing = min(count, self.left[connection])
        self.left[connection] -= passing
        return passing
