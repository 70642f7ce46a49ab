"""An upload whose bytes come in order, cut anywhere: where they end, and going on from there.

Full parts are parts like any other. What there is of the next one is its tail, an item
that is written when an append ends, however it ends. Tails are rewritten, so only one
may append at a time: whoever does holds a lock, an item with a short lifetime.
"""

from __future__ import annotations

import logging
import secrets
import struct
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from memchunk import protocol
from memchunk.backend import Backend
from memchunk.checksum import crc32
from memchunk.errors import LockedError, MemchunkError, TooLargeError, WrongOffsetError
from memchunk.names import lock_key
from memchunk.parts import Parts
from memchunk.plan import Upload

log = logging.getLogger("memchunk")

LOCK_SECONDS = 20  # whoever gives no sign for so long has lost the lock
RENEW_SECONDS = 5

_TAIL = struct.Struct(">II")  # the index of the part that it begins, the crc32 of its bytes

Store = Callable[[int, memoryview], None]


class Appender:
    """Appends to one upload."""

    def __init__(self, backend: Backend, upload: Upload, parts: Parts) -> None:
        self._backend = backend
        self._upload = upload
        self._parts = parts

    def offset(self) -> int:
        """How many bytes are there without a gap."""
        index, tail = self._end()
        return self._offset(index, len(tail))

    def append(self, offset: int, source: Any, store: Store, *, whole: bool) -> int:
        """Hand what `source` gives to `store`, part by part: see `Uploads.append`."""
        with Lock(self._backend, self._upload) as lock:
            first, tail = self._end()
            here = self._offset(first, len(tail))
            if offset != here:
                raise WrongOffsetError(
                    f"the upload has {here} bytes; go on from there, not from {offset}",
                    name=self._upload.name,
                    offset=here,
                )
            buffer = memoryview(bytearray(min(self._upload.part_size, self._upload.size)))
            buffer[: len(tail)] = tail
            index, filled = first, len(tail)
            try:
                while index < self._upload.part_count:
                    count = source.readinto(buffer[filled : self._upload.length(index)])
                    if not count:
                        break
                    lock.renew()
                    filled += count
                    if filled == self._upload.length(index):
                        store(index, buffer[:filled])
                        index, filled = index + 1, 0
                else:
                    if source.readinto(memoryview(bytearray(1))):
                        raise TooLargeError(
                            f"more came than the {self._upload.size} bytes that were announced"
                        )
            except BaseException as error:
                if whole or isinstance(error, TooLargeError):
                    self._take_back(range(first, index))
                else:
                    self._keep_what_came(index, buffer[:filled])
                raise
            self._write_tail(index, buffer[:filled])
            return self._offset(index, filled)

    def _offset(self, index: int, filled: int) -> int:
        """The offset of byte `filled` of part `index`; that of the end for the part after all."""
        return min(index * self._upload.part_size, self._upload.size) + filled

    def _end(self) -> tuple[int, bytes]:
        """The first part that is missing, and what there is of it."""
        missing = self._parts.missing()
        if not missing:
            return self._upload.part_count, b""
        question = protocol.gets(self._parts.tail_key, _TAIL.size + self._upload.part_size)
        [reply] = self._backend.exchange([question])
        if len(reply.value) < _TAIL.size:
            return missing[0], b""
        index, crc = _TAIL.unpack_from(reply.value)
        tail = reply.value[_TAIL.size :]
        is_right = index == missing[0] and crc32(tail) == crc
        return missing[0], tail if is_right else b""

    def _write_tail(self, index: int, tail: memoryview) -> None:
        """Keep what there is of part `index`. Raises `StorageFullError`, `UnavailableError`."""
        if not tail:
            return
        command = protocol.store(
            "set",
            self._parts.tail_key,
            self._upload.part_lifetime,
            _TAIL.pack(index, crc32(tail)),
            tail,
        )
        [reply] = self._backend.exchange([command])
        self._backend.insist(command, reply)

    def _keep_what_came(self, index: int, tail: memoryview) -> None:
        """The same where something else is raised already: the client asks for the offset."""
        try:
            self._write_tail(index, tail)
        except MemchunkError as error:
            log.warning(
                "%d bytes of upload %s have to be sent again: %s", len(tail), self._upload.id, error
            )

    def _take_back(self, indices: range) -> None:
        for index in indices:
            self._parts.discard(index)


class Lock:
    """Lets one at a time append to an upload. A context manager; raises `LockedError`."""

    def __init__(self, backend: Backend, upload: Upload) -> None:
        self._backend = backend
        self._upload = upload
        self._key = lock_key(backend.namespace, upload.generation)
        self._token = secrets.token_bytes(16)
        self._renewed = 0.0

    def __enter__(self) -> Lock:
        command = protocol.store("add", self._key, LOCK_SECONDS, self._token)
        [reply] = self._backend.exchange([command])
        if self._backend.insist(command, reply).word != "STORED":
            raise self._locked()
        self._renewed = time.monotonic()
        return self

    def renew(self) -> None:
        """Hold it for longer. Raises `LockedError` where it was lost meanwhile."""
        if time.monotonic() - self._renewed < RENEW_SECONDS:
            return
        cas = self._cas()
        command = protocol.store("cas", self._key, LOCK_SECONDS, self._token, cas=cas or b"0")
        [reply] = self._backend.exchange([command])
        if cas is None or reply.word != "STORED":
            raise self._locked()
        self._renewed = time.monotonic()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            cas = self._cas()
            if cas is not None:
                self._backend.remove(self._key, cas)
        except MemchunkError as problem:
            log.warning("upload %s stays locked for a while: %s", self._upload.id, problem)

    def _cas(self) -> bytes | None:
        """The cas unique number of the lock, where it is still ours."""
        [reply] = self._backend.exchange([protocol.gets(self._key, len(self._token))])
        return reply.cas if reply.value == self._token else None

    def _locked(self) -> LockedError:
        return LockedError(
            f"somebody else appends to upload {self._upload.id!r}; try again in a moment",
            name=self._upload.name,
        )
