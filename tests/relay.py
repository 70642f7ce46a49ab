"""A relay between a client and a real memcached, that spoils the conversation as a test says.

Everything passes until a rule is set; a rule holds for all connections until `clear`.
"""

from __future__ import annotations

import socket
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle, islice

from tests.servers import connect

BLOCK_BYTES = 65_536
WITH_DATA = {b"set": 4, b"add": 4, b"replace": 4, b"append": 4, b"prepend": 4, b"cas": 4, b"ms": 2}
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
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:{1}".format(*self._listener.getsockname())
        self.commands: Counter[str] = Counter()
        self.clear()
        self._spawn(self._accept)

    def clear(self) -> None:
        """Drop all rules."""
        self._error_on: tuple[bytes, ...] = ()
        self._hang_up_on: tuple[bytes, ...] = ()
        self._cut: _After | None = None
        self._garble: _After | None = None

    def error_on(self, *starts: bytes) -> None:
        """Answer ERROR to command lines that start so, as a server that does not know them."""
        self._error_on = starts

    def hang_up_on(self, *starts: bytes) -> None:
        """Close the connection on command lines that start so, before memcached sees them."""
        self._hang_up_on = starts

    def cut_after(self, count: int) -> None:
        """Close each connection once `count` more bytes of the server have passed on it."""
        self._cut = _After(count)

    def garble_after(self, count: int) -> None:
        """Replace all bytes of the server on each connection once `count` more have passed."""
        self._garble = _After(count)

    def close(self) -> None:
        """End all connections and stop listening."""
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
                if garble := self._garble:
                    clean = garble.passing(client, len(block))
                    block = block[:clean] + bytes(islice(cycle(b"?!\r\n"), len(block) - clean))
                if cut := self._cut:
                    block = block[: cut.passing(client, len(block))]
                client.sendall(block)
                if cut and not cut.left[client]:
                    break
        self._end(client, server)

    def _end(self, *ends: socket.socket) -> None:
        # the thread that comes first wakes the other
        for each in ends:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
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
