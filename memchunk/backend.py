"""The servers of a store: which of them holds what, and the generations that they hold.

This module and `bulk.py` are the only ones that know pymemcache. Above them there
are commands and replies, and of errors only memchunk's own.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

from pymemcache.client.rendezvous import RendezvousHash

from memchunk import protocol
from memchunk.deadline import Within
from memchunk.errors import StorageFullError, UnavailableError
from memchunk.names import canary_key, chunk_key, manifest_key
from memchunk.observer import Guarded, Observer
from memchunk.protocol import EXPIRE_AT_ONCE, Command, Reply
from memchunk.server import Server
from memchunk.wire import Terms

log = logging.getLogger("memchunk")

MAX_UNFREED = 1024  # generations
MAX_DRAWS = 100  # of ten servers, none of 40,000 files is apart from its manifest
PLACES_REMEMBERED = 4096
CANARY_SECONDS = 60
# memcached moves a slab page to where it is needed within about a second
REFUSAL_DELAYS_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)


class Backend:
    """The servers of a store, and the generations that they hold."""

    def __init__(
        self,
        addresses: Sequence[str],
        namespace: str,
        terms: Terms,
        *,
        observer: Observer | None = None,
    ) -> None:
        self.namespace = namespace
        self.deadline = terms.deadline
        guarded = None if observer is None else Guarded(observer)
        self.observer = guarded or Observer()
        self.is_observed = guarded is not None
        self.servers = {address: Server(address, terms, guarded) for address in addresses}
        [*_, last] = self.servers.values()
        self._only = last if len(self.servers) == 1 else None
        ranking = RendezvousHash(list(self.servers), hash_function=_score)
        # all chunks of a file ask the same
        self._place = lru_cache(PLACES_REMEMBERED)(ranking.get_node)
        self._unfreed: deque[tuple[str, int]] = deque(maxlen=MAX_UNFREED)

    def server_of(self, key: str) -> Server:
        """The server that holds `key`. All chunks of a generation have the same one."""
        return self._only or self.servers[self._place(routing_part(key))]

    def are_together(self, key: str, generation: str) -> bool:
        """Whether the chunks of a generation are on the server that holds `key`."""
        return self.server_of(key) is self.server_of_chunks(generation)

    def exchange(self, commands: Sequence[Command]) -> list[Reply]:
        """The replies to small commands, in order, each from the server of its key.

        What goes to one server makes one round trip; the server of the first command is
        asked first, and the others only once it has answered.
        Raises `UnavailableError`; which commands were carried out is then unknown.
        """
        if self._only is not None:
            return self._only.exchange(commands)
        groups: dict[Server, list[int]] = {}
        for position, command in enumerate(commands):
            groups.setdefault(self.server_of(command.key), []).append(position)
        replies: dict[int, Reply] = {}
        for server, positions in groups.items():
            answers = server.exchange([commands[position] for position in positions])
            replies.update(zip(positions, answers, strict=True))
        return [replies[position] for position in range(len(commands))]

    def insist(self, command: Command, reply: Reply) -> Reply:
        """The `reply` to a storage command, which is tried again while memcached refuses it.

        Raises `StorageFullError` when it goes on refusing, and `UnavailableError`.
        """
        too_large = "too large" in reply.text
        for delay in REFUSAL_DELAYS_SECONDS:
            if reply.word != "REFUSED" or too_large:
                break
            time.sleep(delay)
            [reply] = self.exchange([command])
        if reply.word == "REFUSED":
            remedy = "raise its item size (-I)" if too_large else "give it more memory (-m)"
            raise StorageFullError(
                f"memcached at {self.server_of(command.key).address} refused an item "
                f"({reply.text}); {remedy}, or delete something"
            )
        return reply

    def insist_on_storing(self, command: Command, reply: Reply) -> None:
        """See that the item of a `set` is stored: raises what `insist` does."""
        if reply.word != "STORED" and self.insist(command, reply).word != "STORED":
            server = self.server_of(command.key)
            raise UnavailableError(
                f"{server.address} answered {reply.word} to a set; check what runs there",
                server=server.address,
            )

    def new_generation(self, name: str) -> str:
        """128 random bits for a write under `name`.

        They are drawn until the chunks go where the manifest of that name is: a server that
        dies then takes its share of the files along, and no more.
        """
        key = manifest_key(self.namespace, name)
        generation = os.urandom(16).hex()
        for _ in range(MAX_DRAWS):
            if self.are_together(key, generation):
                break
            generation = os.urandom(16).hex()
        return generation

    def remove(self, key: str, cas: bytes) -> bool:
        """Delete the item under `key` if it is still the one with that unique number.

        Returns whether it was. Raises `UnavailableError`.
        """
        # memcached knows no conditional delete among its classic commands; an item that
        # is replaced by one that has expired is deleted all the same
        [reply] = self.exchange([protocol.store("cas", key, EXPIRE_AT_ONCE, cas=cas)])
        if reply.word != "REFUSED":
            return reply.word == "STORED"
        # no room even for an empty item: deleting must work in a full memcached
        [seen] = self.exchange([protocol.gets(key, limit=0)])
        if seen.cas != cas:
            return False
        [reply] = self.exchange([protocol.delete(key)])
        return reply.word == "DELETED"

    def chunk_keys(self, generation: str, indices: Iterable[int]) -> list[str]:
        """The keys of chunks of a generation."""
        return [chunk_key(self.namespace, generation, index) for index in indices]

    def server_of_chunks(self, generation: str) -> Server:
        """The server that holds all chunks of a generation."""
        return self._only or self.server_of(chunk_key(self.namespace, generation, 0))

    def missing_chunks(self, generation: str, count: int) -> list[int]:
        """The indices of the chunks that are gone. Moves no chunk. `UnavailableError`."""
        keys = self.chunk_keys(generation, range(count))
        return self.server_of_chunks(generation).missing(keys) if keys else []

    def touches(self, generation: str, count: int, exptime: int) -> list[Command]:
        """What sets when the chunks of a generation expire."""
        return [protocol.touch(key, exptime) for key in self.chunk_keys(generation, range(count))]

    def touch_chunks(self, generation: str, count: int, exptime: int) -> list[int]:
        """Set when the chunks expire; the indices of those that are gone. `UnavailableError`."""
        replies = self.exchange(self.touches(generation, count, exptime))
        return [index for index, reply in enumerate(replies) if reply.word != "TOUCHED"]

    def free(self, generation: str, count: int) -> None:
        """Delete the chunks of a generation that no manifest names.

        Where its server is away this is made up for later: no file depends on it.
        """
        if not count:
            return
        try:
            self.exchange(
                [protocol.delete(key) for key in self.chunk_keys(generation, range(count))]
            )
        except UnavailableError as error:
            log.warning("%d chunks will be freed later: %s", count, error)
            self._unfreed.append((generation, count))

    def free_what_is_left(self) -> None:
        """Delete the chunks that could not be deleted when it was their time.

        Nobody waits for that: a server that is still away is not asked.
        """
        for _ in range(len(self._unfreed)):
            try:
                generation, count = self._unfreed.popleft()
            except IndexError:  # another thread took the last
                return
            if self.server_of_chunks(generation).is_away:
                self._unfreed.append((generation, count))
            else:
                self.free(generation, count)

    def check(self, seconds: float) -> None:
        """Store, read and delete a canary on every server, on all of them at once.

        Raises `UnavailableError` or `StorageFullError`, which name the server.
        """
        with ThreadPoolExecutor(len(self.servers)) as pool:
            checks = [pool.submit(self._check, each, seconds) for each in self.servers.values()]
        for check in checks:
            check.result()

    def _check(self, server: Server, seconds: float) -> None:
        nonce = secrets.token_hex(16)
        key = canary_key(self.namespace, nonce)
        value = nonce.encode()
        with Within(seconds):
            stored, got, deleted = server.exchange(
                [
                    protocol.store("set", key, CANARY_SECONDS, value),
                    protocol.gets(key, limit=len(value)),
                    protocol.delete(key),
                ],
                anyway=True,
            )
        if stored.word == "REFUSED":
            raise StorageFullError(
                f"memcached at {server.address} has no room ({stored.text}); "
                "give it more memory (-m)"
            )
        if got.value != value or deleted.word != "DELETED":
            raise UnavailableError(
                f"memcached at {server.address} does not give back what it was given; "
                "check what answers there",
                server=server.address,
            )

    def close(self) -> None:
        """Close the connections that are not in use."""
        for server in self.servers.values():
            server.close()


def check_addresses(addresses: Sequence[str], *, tls: bool) -> None:
    """Raise `ValueError` unless each address could be a server's, and each is another one's."""
    if not addresses or len(set(addresses)) < len(addresses):
        raise ValueError("give the address of at least one memcached, and each of them once")
    for address in addresses:
        if isinstance(address, str):
            if address.startswith("unix:/"):
                if tls:
                    raise ValueError(f"{address!r} stays on this machine; tls= is for host:port")
                continue
            host, colon, port = address.rpartition(":")
            if host and port.isdecimal() and 0 < int(port) < 65536:
                continue
            if address and (not colon or address.endswith("]")):
                continue
        raise ValueError(f"{address!r} is no 'host:port', '[v6]:port' or 'unix:/path'")


def _score(text: str, _seed: int) -> int:
    """How well a server suits a key; pymemcache's murmur3, in Python, takes far longer."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def routing_part(key: str) -> str:
    """The part of a key that decides its server: what stands in braces, else all of it."""
    before, brace, rest = key.partition("{")
    return rest.partition("}")[0] if brace else before
