"""An upload whose bytes come in order, cut anywhere: where they end, and going on from there.

Full parts are parts like any other. What there is of the next one is its tail, an item
that is written when an append ends, however it ends. Of an append that is to be kept
whole or not at all, the first part is stored last: until then the upload ends before it.

One at a time appends, and holds a lock meanwhile. Who was silent for long may have lost
it without knowing. So a part is only ever added, never overwritten, and a tail takes the
place of none but the one that was found.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from memchunk import protocol
from memchunk.backend import Backend
from memchunk.checksum import crc32
from memchunk.errors import LockedError, MemchunkError, TooLargeError
from memchunk.lock import Lock
from memchunk.names import lock_key
from memchunk.parts import Parts
from memchunk.plan import Landing, Upload
from memchunk.registry import wrong_offset
from memchunk.sources import CallersFile

log = logging.getLogger("memchunk")

_TAIL = struct.Struct(">II")  # the index of the part that it begins, the crc32 of its bytes


@dataclass(frozen=True, slots=True)
class End:
    """Where the bytes of an upload end.

    Attributes:
        missing: the indices of the parts that are not there, ascending.
        tail: what there is of the first of them.
        cas: the unique number of the item for tails, empty where there is none.
    """

    missing: list[int]
    tail: bytes
    cas: bytes


class Appender:
    """Appends to one upload. `put_part` is that of `Uploads`."""

    def __init__(
        self,
        backend: Backend,
        upload: Upload,
        parts: Parts,
        put_part: Callable[[str, int, memoryview], Landing],
    ) -> None:
        self._backend = backend
        self._upload = upload
        self._parts = parts
        self._put_part = put_part
        key = lock_key(backend.namespace, upload.generation)
        self._lock = Lock(backend, key, what=f"appends to upload {upload.id!r}", name=upload.name)

    def offset(self) -> int:
        """How many bytes are there without a gap."""
        end = self._end()
        return self._offset(self._first(end), len(end.tail))

    def append(self, offset: int, source: Any, *, whole: bool) -> int:
        """Store what `source` gives: see `Uploads.append`."""
        with self._lock:
            end = self._end()
            first, filled = self._first(end), len(end.tail)
            here = self._offset(first, filled)
            if offset != here:
                raise wrong_offset(self._upload, here, offset)
            self._discard_beyond(end)
            buffer = self._buffer()
            buffer[:filled] = end.tail
            index, held_back = first, None
            source = CallersFile(source)
            try:
                while index < self._upload.part_count:
                    count = source.readinto(buffer[filled : self._upload.length(index)])
                    if not count:
                        break
                    self._hold(end)
                    filled += count
                    if filled < self._upload.length(index):
                        continue
                    if whole and index == first:
                        held_back, buffer = buffer[:filled], self._buffer()
                    else:
                        self._store(index, buffer[:filled], end)
                    index, filled = index + 1, 0
                else:
                    if source.readinto(memoryview(bytearray(1))):
                        raise TooLargeError(
                            f"more came than the {self._upload.size} bytes that were announced"
                        )
                if held_back is not None:
                    self._store(first, held_back, end)
                self._write_tail(index, buffer[:filled], end)
            except LockedError:
                raise  # what is there now is somebody else's
            except BaseException as error:
                if whole or isinstance(error, TooLargeError):
                    self._take_back(range(first, index), end)
                else:
                    self._keep_what_came(index, buffer[:filled], end)
                raise
            return self._offset(index, filled)

    def _end(self) -> End:
        missing = self._parts.missing()
        question = protocol.gets(self._parts.tail_key, _TAIL.size + self._upload.part_size)
        [reply] = self._backend.exchange([question])
        # Plain bytes: the number is good for as long as the parts are there, and they do not
        # outlive the memcached that it is of either.
        cas = bytes(reply.cas)
        if not missing or len(reply.value) < _TAIL.size:
            return End(missing, b"", cas)
        index, crc = _TAIL.unpack_from(reply.value)
        tail = reply.value[_TAIL.size :]
        is_right = index == missing[0] and crc32(tail) == crc
        return End(missing, tail if is_right else b"", cas)

    def _first(self, end: End) -> int:
        """The part that is next; the number of parts where none is missing."""
        return end.missing[0] if end.missing else self._upload.part_count

    def _offset(self, index: int, filled: int) -> int:
        """The offset of byte `filled` of part `index`; that of the end for the part after all."""
        return min(index * self._upload.part_size, self._upload.size) + filled

    def _buffer(self) -> memoryview:
        return memoryview(bytearray(min(self._upload.part_size, self._upload.size)))

    def _discard_beyond(self, end: End) -> None:
        """Free parts of a time when those before them were there, and of an append that died."""
        rest = range(self._first(end), self._upload.part_count)
        for index in set(rest) - set(end.missing):
            self._discard(index)
        end.missing[:] = rest

    def _hold(self, end: End) -> None:
        """Go on. Raises `LockedError` where somebody else appended since `end` was so."""
        if self._lock.renew():
            return
        self._lock.take()
        now = self._end()
        if (now.missing, now.cas) != (end.missing, end.cas):
            raise self._lock.lost()

    def _store(self, index: int, data: memoryview, end: End) -> None:
        """Store a part. Raises `LockedError` where somebody else does, or may have."""
        if not self._put_part(self._upload.id, index, data).stored:
            raise self._lock.lost()
        if not self._lock.is_sure() and not self._lock.renew():
            self._parts.discard(index)
            raise self._lock.lost()
        end.missing.remove(index)

    def _write_tail(self, index: int, tail: memoryview, end: End) -> None:
        """Keep what there is of part `index`, in the place of the tail that was found.

        Raises `LockedError`, `StorageFullError`, `UnavailableError`.
        """
        if not tail:
            return
        self._hold(end)
        command = protocol.store(
            "cas" if end.cas else "add",
            self._parts.tail_key,
            self._upload.part_lifetime,
            _TAIL.pack(index, crc32(tail)),
            tail,
            cas=end.cas,
        )
        [reply] = self._backend.exchange([command])
        if self._backend.insist(command, reply).word != "STORED":
            raise self._lock.lost()

    def _keep_what_came(self, index: int, came: memoryview, end: End) -> None:
        """The same where something else is raised already: the client asks for the offset.

        A whole part is here only because it could not be stored. As a tail it would stay one,
        for what makes a part of a tail is a byte that follows: its last is left to be sent again.
        """
        tail = came[:-1] if len(came) == self._upload.length(index) else came
        try:
            self._write_tail(index, tail, end)
        except MemchunkError as error:
            log.warning(
                "%d bytes of upload %s have to be sent again: %s", len(tail), self._upload.id, error
            )

    def _take_back(self, indices: range, end: End) -> None:
        """Free what was stored, where something else is raised already."""
        try:
            self._hold(end)
            now = self._end()
            for index in indices:
                self._discard(index)
            if indices and now.cas != end.cas:  # the answer to a new tail was lost
                self._write_tail(indices.start, memoryview(end.tail), now)
        except MemchunkError as error:
            log.warning("parts of upload %s stay: %s", self._upload.id, error)

    def _discard(self, index: int) -> None:
        """Free a part. Raises `LockedError` where by now it may be somebody else's."""
        if not self._lock.renew():
            raise self._lock.lost()
        self._parts.discard(index)
