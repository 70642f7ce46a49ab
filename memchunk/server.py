"""One memcached: the connections to it, what it is made for, and what it still holds."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import quote, unquote

from memchunk import protocol
from memchunk.bulk import BulkClient
from memchunk.counting import CountingClient
from memchunk.errors import UnavailableError
from memchunk.layout import CHUNK_BYTES, chunk_bytes
from memchunk.observer import Observer
from memchunk.protocol import EXPIRE_AT_ONCE, Command, Reply

SMALL_COMMANDS_IN_FLIGHT = 128  # their replies fit in a socket's buffer, so neither side blocks


class Server:
    """One memcached and the connections to it. Safe to share between threads and over fork."""

    def __init__(
        self,
        address: str,
        *,
        timeout: float,
        connect_timeout: float,
        observer: Observer | None = None,
    ) -> None:
        self.address = address
        self._observer = observer
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._idle: tuple[int, deque[BulkClient]] = (os.getpid(), deque())
        self._knows_mg = True
        self._chunk_bytes: int | None = None

    @property
    def _pool(self) -> deque[BulkClient]:
        """This process's idle connections, the last used one at the right end.

        After a fork, parent and child must not share a socket.
        """
        process, idle = self._idle
        if process != os.getpid():
            idle = deque()
            self._idle = (os.getpid(), idle)
        return idle

    @contextmanager
    def connection(self) -> Iterator[BulkClient]:
        """A connection that nobody else uses meanwhile.

        It is kept for the next only where every reply has been read.
        """
        client = self._take()
        failure: UnavailableError | None = None
        try:
            yield client
        except UnavailableError as error:
            # what is sent may come from a store on another server, which is not to blame here
            failure = error if error.server == self.address else None
            raise
        finally:
            if self._observer is not None and isinstance(client, CountingClient):
                self._observer.exchanged(client.exchange(failure))
            if client.in_step:
                self._pool.append(client)
            else:
                client.close()

    def _take(self) -> BulkClient:
        """An idle connection that is still good, or a new one, not yet open."""
        while True:
            try:
                client = self._pool.pop()
            except IndexError:
                kind = BulkClient if self._observer is None else CountingClient
                return kind(
                    self.address, timeout=self._timeout, connect_timeout=self._connect_timeout
                )
            if client.usable:
                return client
            client.close()

    def exchange(self, commands: Iterable[Command]) -> list[Reply]:
        """The replies to small commands, in order.

        Raises `UnavailableError`; which of the commands were carried out is then unknown.
        """
        with self.connection() as connection:
            return list(connection.pipeline(commands, SMALL_COMMANDS_IN_FLIGHT))

    @property
    def chunk_bytes(self) -> int:
        """How many bytes of a file fill this memcached's largest slot. Asked once.

        A proxy or a hosted memcached that does not tell is taken for one with the
        defaults. Raises `UnavailableError`.
        """
        if self._chunk_bytes is None:
            self._chunk_bytes = self._ask_chunk_bytes()
        return self._chunk_bytes

    def _ask_chunk_bytes(self) -> int:
        with self.connection() as connection:
            settings = connection.settings()
        slot, item = settings.get(b"slab_chunk_max"), settings.get(b"item_size_max")
        if isinstance(slot, int) and isinstance(item, int):
            return chunk_bytes(slot, item)
        return CHUNK_BYTES

    def missing(self, keys: Sequence[str]) -> list[int]:
        """The indices of the keys that no item has, moving no value."""
        if self._knows_mg:
            try:
                replies = self.exchange(map(protocol.probe, keys))
                return [i for i, reply in enumerate(replies) if reply.word != "HD"]
            except UnavailableError:
                # An old memcached answers ERROR, twemproxy hangs up. A server that is
                # away fails in what follows, too.
                absent = self._missing_without_mg(keys)
                self._knows_mg = False
                return absent
        return self._missing_without_mg(keys)

    def _missing_without_mg(self, keys: Sequence[str]) -> list[int]:
        # `add` is refused where an item is, and what it adds elsewhere is gone at once.
        replies = self.exchange(protocol.store("add", key, EXPIRE_AT_ONCE) for key in keys)
        if any(reply.word == "REFUSED" for reply in replies):
            raise UnavailableError(
                f"memcached at {self.address} is too full to tell which chunks it holds; "
                "give it more memory (-m)",
                server=self.address,
            )
        return [i for i, reply in enumerate(replies) if reply.word == "STORED"]

    def keys(self, prefix: str) -> list[str]:
        """The keys of its items that begin with `prefix` (letters, digits and `:._-` only).

        Raises `UnavailableError`, also where it does not tell, as a proxy does not.
        """
        wanted = b"key=" + quote(prefix).encode()
        with self.connection() as connection:
            found = [line for line in connection.dump() if line.startswith(wanted)]
        return [unquote(line[4 : line.index(b" ")].decode()) for line in found]

    def close(self) -> None:
        """Close the connections that are not in use."""
        while True:
            try:
                self._pool.pop().close()
            except IndexError:
                return
