"""The parts of an upload in memcached: one item each, which ends with a crc32 of its bytes.

All parts of an upload lie on one server, and are asked for in batches, so that
hundreds of thousands of small ones take neither a round trip each nor much memory.
To ask for a part is to touch it: whatever is found there stays for another lifetime.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence

from memchunk import protocol
from memchunk.backend import Backend
from memchunk.checksum import crc32
from memchunk.errors import UnavailableError
from memchunk.names import part_key, tail_key
from memchunk.plan import Upload
from memchunk.protocol import Buffer, Command, Reply

log = logging.getLogger("memchunk")

CRC_BYTES = 4
BATCH = 128  # commands in one round trip
LEAST_BATCH = 8
SCRATCH_BYTES = 256 * 1024


class Parts:
    """The parts of one upload."""

    def __init__(self, backend: Backend, upload: Upload) -> None:
        self._backend = backend
        self._upload = upload

    def key(self, index: int) -> str:
        """The key of part `index`."""
        return part_key(self._backend.namespace, self._upload.generation, index)

    @property
    def tail_key(self) -> str:
        """The key of what there is of a part that an append has begun."""
        return tail_key(self._backend.namespace, self._upload.generation)

    def add(self, index: int, data: Buffer) -> Command:
        """Store part `index`, unless it is there."""
        crc = crc32(data).to_bytes(CRC_BYTES, "big")
        return protocol.store("add", self.key(index), self._upload.part_lifetime, data, crc)

    def touch(self, index: int) -> Command:
        """Ask whether part `index` is there, and let it stay."""
        return protocol.touch(self.key(index), self._upload.part_lifetime)

    def missing(self) -> list[int]:
        """The indices of the parts that are not there, ascending. Raises `UnavailableError`."""
        absent: list[int] = []
        for start in range(0, self._upload.part_count, BATCH):
            indices = range(start, min(start + BATCH, self._upload.part_count))
            absent += self._absent(indices)
        return absent

    def last_missing(self, below: int) -> int | None:
        """The highest index under `below` of a part that is not there, or None."""
        batch = LEAST_BATCH  # most often one of the first is missing
        while below > 0:
            indices = range(below - 1, max(below - batch, 0) - 1, -1)
            for index in self._absent(indices):
                return index
            below, batch = indices[-1], min(2 * batch, BATCH)
        return None

    def _absent(self, indices: range) -> list[int]:
        replies = self.exchange([self.touch(index) for index in indices])
        pairs = zip(indices, replies, strict=True)
        return [index for index, reply in pairs if reply.word != "TOUCHED"]

    def free(self) -> None:
        """Delete all parts, and what there is of one. Where that fails they expire."""
        try:
            self.exchange([protocol.delete(self.tail_key)])
            for start in range(0, self._upload.part_count, BATCH):
                indices = range(start, min(start + BATCH, self._upload.part_count))
                self.exchange([protocol.delete(self.key(index)) for index in indices])
        except UnavailableError as error:
            log.warning("the parts of upload %s are left to expire: %s", self._upload.id, error)

    def discard(self, index: int) -> None:
        """Delete part `index`, so that it can be sent again. Raises `UnavailableError`."""
        self.exchange([protocol.delete(self.key(index))])

    def exchange(self, commands: Sequence[Command]) -> list[Reply]:
        """The replies to commands about parts, of one batch. Raises `UnavailableError`."""
        return self._backend.server_of(self.key(0)).exchange(commands)


class PartLostError(Exception):
    """A part is gone, or damaged and has been deleted."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


class PartsFile:
    """The bytes of all parts, one after the other, as a file to read from, once.

    A part is checked before any of it is handed out; those of one batch are held at a
    time, in the memory of the reader.

    """

    def __init__(self, parts: Parts, upload: Upload) -> None:
        self._parts = parts
        self._upload = upload
        self._index = 0
        self._rest = memoryview(b"")  # of a part that went past the end of the buffer
        self._sha256 = hashlib.sha256()  # of what was read; where it is not announced

    def readinto(self, buffer: memoryview) -> int:
        """Fill some of `buffer`; 0 after the last byte.

        Raises `PartLostError` and `UnavailableError`.
        """
        if self._rest:
            count = min(len(self._rest), len(buffer))
            buffer[:count] = self._rest[:count]
            self._rest = self._rest[count:]
            return count
        first, filled = self._index, 0
        targets: list[tuple[memoryview, memoryview, memoryview]] = []
        while filled < len(buffer) and len(targets) < BATCH:
            index = first + len(targets)
            if index == self._upload.part_count:
                break
            length = self._upload.length(index)
            here = buffer[filled : filled + length]
            rest = memoryview(bytearray(length - len(here)))
            targets.append((here, rest, memoryview(bytearray(CRC_BYTES))))
            filled += len(here)
            self._rest = rest
        if not targets:
            return 0
        commands = [
            protocol.get(self._parts.key(first + position), *target)
            for position, target in enumerate(targets)
        ]
        for position, reply in enumerate(self._parts.exchange(commands)):
            self._check(first + position, reply, *targets[position])
        self._index = first + len(targets)
        return filled

    def hexdigest(self) -> str:
        """The sha256 of all bytes: the announced one, or else what those not read yet make it.

        Raises `PartLostError` and `UnavailableError`.
        """
        if self._upload.sha256 is not None:
            return self._upload.sha256
        scratch = memoryview(bytearray(SCRATCH_BYTES))
        while self.readinto(scratch):
            pass
        return self._sha256.hexdigest()

    def _check(
        self, index: int, reply: Reply, here: memoryview, rest: memoryview, crc: memoryview
    ) -> None:
        if reply.word == "END":
            raise PartLostError(index)
        whole = reply.length == self._upload.length(index) + CRC_BYTES
        if not whole or crc32(rest, crc32(here)) != int.from_bytes(crc, "big"):
            self._parts.discard(index)
            raise PartLostError(index)
        if self._upload.sha256 is None:
            self._sha256.update(here)
            self._sha256.update(rest)
