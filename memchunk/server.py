"""One memcached: the connections to it, what it is made for, and what it still holds."""

from __future__ import annotations

import math
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from urllib.parse import quote, unquote

from memchunk import protocol, wire
from memchunk.breaker import Breaker
from memchunk.bulk import BulkClient
from memchunk.counting import CountingClient
from memchunk.deadline import deadline
from memchunk.errors import UnavailableError
from memchunk.layout import CHUNK_BYTES, chunk_bytes
from memchunk.observer import Observer
from memchunk.protocol import EXPIRE_AT_ONCE, Command, Reply
from memchunk.wire import Terms

# twemproxy hangs up on a command that it does not know; so does a server that is just
# dying, but not twice in a row
HANG_UPS_THAT_TELL = 2


class Server:
    """One memcached and the connections to it. Safe to share between threads and over fork."""

    def __init__(self, address: str, terms: Terms, observer: Observer | None = None) -> None:
        self.address = address
        self._terms = terms
        self._observer = observer
        self._state = _State(terms)
        self._hang_ups_on_mg = 0  # in a row
        self._chunk_bytes: int | None = None

    @property
    def _here(self) -> _State:
        """What this process has: after a fork, parent and child must not share a socket."""
        if self._state.process != os.getpid():
            self._state = _State(self._terms)
        return self._state

    @property
    def is_away(self) -> bool:
        """Whether the server did not answer when it was last called."""
        return self._here.breaker.is_open

    @property
    def processor(self) -> int | None:
        """The processor that is busy while this server sends or takes bytes, if that is known."""
        try:
            sock = self._here.idle[-1].sock
            return None if sock is None else wire.processor(sock)
        except (IndexError, OSError):  # none is open, or another thread has just closed it
            return None

    def connection(self, *, anyway: bool = False) -> Lease:
        """A connection that nobody else uses in the block that it is entered for.

        `UnavailableError` at once where the server did not answer a moment ago, unless it is
        to be tried `anyway`.
        """
        here = self._here
        if here.breaker.is_open and not anyway:
            with here.lock:
                admitted = here.breaker.admits(time.monotonic())
            if not admitted:
                raise UnavailableError(f"a moment ago, {here.breaker.reason}", server=self.address)
        while True:
            try:
                client = here.idle.pop()
            except IndexError:
                kind = BulkClient if self._observer is None else CountingClient
                client = kind(self.address, self._terms, here.breaker)
                break
            if client.is_quiet:
                break
            client.close()
        client.deadline = deadline(self._terms.deadline)
        return Lease(client, here.idle, self._observer)

    def exchange(self, commands: Sequence[Command], *, anyway: bool = False) -> list[Reply]:
        """The replies to small commands, in order: see `BulkClient.ask`.

        Raises `UnavailableError`; which of the commands were carried out is then unknown.
        """
        with self.connection(anyway=anyway) as connection:
            return connection.ask(commands)

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
        for _ in range(HANG_UPS_THAT_TELL):
            try:
                with self.connection() as connection:
                    settings = connection.settings()
            except UnavailableError:
                if self.is_away:
                    raise
                # Whoever hangs up on this as well, as one with too many connections, tells nothing.
                self.exchange([protocol.get("memchunk")])
                continue
            slot, item = settings.get(b"slab_chunk_max", b""), settings.get(b"item_size_max", b"")
            if slot.isdigit() and item.isdigit():
                return chunk_bytes(int(slot), int(item))
            break
        return CHUNK_BYTES

    def missing(self, keys: Sequence[str]) -> list[int]:
        """The indices of the keys that no item has, moving no value."""
        if self._hang_ups_on_mg < HANG_UPS_THAT_TELL:
            try:
                replies = self.exchange([protocol.probe(key) for key in keys])
            except UnavailableError:
                if self.is_away:
                    raise
                self._hang_ups_on_mg += 1
            else:
                is_known = all(reply.word != "ERROR" for reply in replies)
                self._hang_ups_on_mg = 0 if is_known else HANG_UPS_THAT_TELL
                if is_known:
                    return [i for i, reply in enumerate(replies) if reply.word == "EN"]
        return self._missing_without_mg(keys)

    def _missing_without_mg(self, keys: Sequence[str]) -> list[int]:
        # `add` is refused where an item is, and what it adds elsewhere is gone at once.
        replies = self.exchange([protocol.store("add", key, EXPIRE_AT_ONCE) for key in keys])
        if any(reply.word == "REFUSED" for reply in replies):
            raise UnavailableError(
                f"memcached at {self.address} is too full to tell which chunks it holds; "
                "give it more memory (-m)",
                server=self.address,
            )
        return [i for i, reply in enumerate(replies) if reply.word == "STORED"]

    def items(self, prefix: str) -> list[tuple[str, float]]:
        """The keys of its items that begin with `prefix` (letters, digits and `:._-` only).

        With each, when it expires, in seconds since 1970; `math.inf` for never.
        Raises `UnavailableError`, also where it does not tell, as a proxy does not.
        """
        wanted = b"key=" + quote(prefix).encode()
        with self.connection() as connection:
            found = [line for line in connection.dump() if line.startswith(wanted)]
        items = (line.decode().split(" ", 2) for line in found)
        return [(unquote(key[4:]), _expires(exp)) for key, exp, _ in items]

    def close(self) -> None:
        """Close the connections that are not in use."""
        idle = self._here.idle
        while True:
            try:
                idle.pop().close()
            except IndexError:
                return


# A class, for `contextmanager` would cost a small file a percent of its time.
class Lease:
    """A connection on loan: kept for the next only where every reply has been read."""

    __slots__ = ("_client", "_idle", "_observer")

    def __init__(
        self, client: BulkClient, idle: deque[BulkClient], observer: Observer | None
    ) -> None:
        self._client = client
        self._idle = idle
        self._observer = observer

    def __enter__(self) -> BulkClient:
        return self._client

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        client = self._client
        if self._observer is not None and isinstance(client, CountingClient):
            failure = error if isinstance(error, UnavailableError) else None
            if failure is not None and failure.server != client.address:
                failure = None  # what is sent may come from a store on another server
            self._observer.exchanged(client.exchange(failure))
        if client.in_step:
            self._idle.append(client)
        else:
            client.close()


class _State:
    """What one process knows of a server.

    Attributes:
        idle: the connections that are not in use, the last used one at the right end.
        breaker: whether the server may be called.
        lock: held while asking the open breaker.
    """

    def __init__(self, terms: Terms) -> None:
        self.process = os.getpid()
        self.idle: deque[BulkClient] = deque()
        self.breaker = Breaker(try_seconds=terms.connect_timeout + terms.timeout)
        self.lock = threading.Lock()


def _expires(field: str) -> float:
    """What `exp=` says of an item (`lru_crawler metadump` in protocol.txt)."""
    seconds = int(field.removeprefix("exp="))
    return math.inf if seconds == -1 else seconds
