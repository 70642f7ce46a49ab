"""A lock in memcached: an item that one process at a time has added, and that soon expires.

Whoever holds it renews it while there is progress. A holder that was killed, or whom
nothing reaches, loses it within seconds; one that was frozen for longer finds out by
the clock before it relies on what it did meanwhile.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator
from types import TracebackType

from memchunk import protocol
from memchunk.backend import Backend
from memchunk.errors import LockedError, MemchunkError

log = logging.getLogger("memchunk")

LOCK_SECONDS = 5  # whoever does not renew it for so long has lost it
SURE_SECONDS = 4  # for memcached's clock has whole seconds
RENEW_SECONDS = 1
MAX_ATTEMPTS = 10


class Lock:
    """Lets one at a time do `what`. A context manager; raises `LockedError`."""

    def __init__(self, backend: Backend, key: str, *, what: str, name: str) -> None:
        self._backend = backend
        self._key = key
        self._what = what
        self._name = name
        self._token = secrets.token_bytes(16)
        self._renewed = 0.0

    def __enter__(self) -> Lock:
        self.take()
        return self

    def take(self) -> None:
        """Take it where nobody has it. Raises `LockedError`, `StorageFullError`."""
        asked = time.monotonic()
        command = protocol.store("add", self._key, LOCK_SECONDS, self._token)
        [reply] = self._backend.exchange([command])
        if self._backend.insist(command, reply).word != "STORED":
            raise self.lost()
        self._renewed = asked

    def is_sure(self) -> bool:
        """Whether nobody else can have had it since it was taken or renewed, by the clock."""
        return time.monotonic() - self._renewed < SURE_SECONDS

    def renew(self) -> bool:
        """Hold it for longer, where it is time to; False where it is not held any more."""
        if time.monotonic() - self._renewed < RENEW_SECONDS:
            return True
        for cas in self._while_ours():
            asked = time.monotonic()
            command = protocol.store("cas", self._key, LOCK_SECONDS, self._token, cas=cas)
            [reply] = self._backend.exchange([command])
            if reply.word == "STORED":
                self._renewed = asked
                return True
        return False

    def lost(self) -> LockedError:
        """The error for whoever does not hold it."""
        return LockedError(
            f"somebody else {self._what}; try again in a moment",
            name=self._name,
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            for cas in self._while_ours():
                if self._backend.remove(self._key, cas):
                    break
        except MemchunkError as problem:
            log.warning("it will look for a while as if somebody %s: %s", self._what, problem)

    def _while_ours(self) -> Iterator[bytes]:
        """The cas unique number of the lock, some times over, until it is not ours any more.

        A connection that is too young for a number refuses it: see `protocol.Unique`.
        """
        for _ in range(MAX_ATTEMPTS):
            [reply] = self._backend.exchange([protocol.gets(self._key, len(self._token))])
            if reply.value != self._token:
                return
            yield reply.cas
