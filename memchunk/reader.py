"""A manifest becomes verified bytes.

Every byte that leaves memchunk goes through here: a whole file is compared with its
sha256 before any of it is handed out, a part of one with the crc32 of each chunk.
"""

from __future__ import annotations

import io
from collections.abc import Callable

from memchunk import protocol
from memchunk.backend import Backend
from memchunk.checksum import crc32
from memchunk.digest import Sha256
from memchunk.errors import ChangedError, CorruptError, EvictedError
from memchunk.fresh import FreshBytes
from memchunk.index import Entry, Index
from memchunk.layout import Layout, Slice
from memchunk.manifest import FileInfo, Manifest, UnknownVersionError
from memchunk.observer import telling
from memchunk.protocol import Buffer

CHUNKS_IN_FLIGHT = 2  # the next is on its way while one is taken; more only crowd the caches
MAX_RESTARTS = 100


class Reader:
    """Reads the files of an index."""

    def __init__(self, backend: Backend, index: Index) -> None:
        self._backend = backend
        self._index = index
        self.observer = backend.observer

    def read(self, name: str, allocate: Callable[[FileInfo], memoryview]) -> int:
        """Read a whole file into the memory that `allocate` gives for it; its size in bytes.

        A file that is replaced meanwhile is read anew, and `allocate` called again.
        Raises `NotFoundError`, `EvictedError`, `CorruptError`, `UnavailableError`.
        """
        manifest = self._index.find(name)
        for _ in range(MAX_RESTARTS):
            info = manifest.info()
            missing = self.load(manifest, allocate(info))
            if missing is None:
                self.observer.read(info)
                return info.size
            manifest = self.successor(manifest, self.missing(manifest) or [missing])
        raise ChangedError(
            f"{name!r} was replaced {MAX_RESTARTS} times while being read; try again", name=name
        )

    def load(self, manifest: Manifest, target: memoryview) -> int | None:
        """Fill `target` with the whole file; None, or the index of a chunk that is gone.

        Only after None are the bytes in `target` worth anything. Raises `CorruptError`.
        """
        layout, count = manifest.layout, manifest.layout.chunk_count
        padding = bytearray(layout.padding)
        parts = [_part(target, layout, index) for index in range(count)]
        keys = self._backend.chunk_keys(manifest.generation, range(count))
        commands = [protocol.get(key, part) for key, part in zip(keys, parts, strict=True)]
        if padding:
            commands[-1] = protocol.get(keys[-1], parts[-1], memoryview(padding))
        with Sha256() as sha256:
            if commands:
                server = self._backend.server_of_chunks(manifest.generation)
                with server.connection() as connection:
                    replies = connection.pipeline(commands, CHUNKS_IN_FLIGHT)
                    for index, reply in enumerate(replies):
                        if reply.word == "END":
                            return index
                        _check_length(manifest, index, reply.length)
                        sha256.update(parts[index])
            if sha256.hexdigest() != manifest.sha256 or padding != bytes(len(padding)):
                raise _corrupt(manifest, "its bytes do not have the sha256 they were stored with")
        return None

    def load_chunk(self, manifest: Manifest, index: int, target: memoryview) -> bool:
        """Fill `target` with chunk `index`, compared with its crc32; False where it is gone.

        Raises `CorruptError`.
        """
        [key] = self._backend.chunk_keys(manifest.generation, [index])
        padding = bytearray(manifest.layout.padding_of(index))
        [reply] = self._backend.exchange([protocol.get(key, target, memoryview(padding))])
        if reply.word == "END":
            return False
        _check_length(manifest, index, reply.length)
        if crc32(target) != manifest.crc32s[index] or padding != bytes(len(padding)):
            raise _corrupt(manifest, f"chunk {index} is not what was stored")
        return True

    def missing(self, manifest: Manifest) -> list[int]:
        """The indices of the chunks that are gone. Moves no chunk."""
        return self._backend.missing_chunks(manifest.generation, manifest.layout.chunk_count)

    def is_worth_keeping(self, entry: Entry) -> bool:
        """Whether an entry is a file that must not be written over unasked.

        That is: every chunk is there and right. They are all read, through one buffer.
        """
        manifest = entry.manifest
        if manifest is None:
            return isinstance(entry.damage, UnknownVersionError)  # not for us to judge
        if self.missing(manifest):
            return False
        scratch = memoryview(bytearray(min(manifest.layout.size, manifest.layout.chunk_size)))
        try:
            return all(
                self.load_chunk(manifest, index, scratch[: manifest.layout.length(index)])
                for index in range(manifest.layout.chunk_count)
            )
        except CorruptError:
            return False

    def successor(self, manifest: Manifest, missing: list[int]) -> Manifest:
        """The manifest that took the place of one that has chunks `missing`.

        Raises `EvictedError` where it is still in its place, and `NotFoundError`.
        """
        current = self._index.find(manifest.name)
        if current.generation != manifest.generation:
            return current
        raise evicted(manifest, missing)


class StoredFile(io.RawIOBase):
    """A file in memcached as a raw, seekable, read-only stream; one chunk is held at a time.

    A chunk is fetched when it is first touched, and checked before any of it is
    handed out. Reading raises `EvictedError`, `CorruptError`, `NotFoundError`,
    `UnavailableError`, and `ChangedError` where the file was replaced after some of
    it was handed out or sought in; before that, the new file is read.
    """

    def __init__(self, reader: Reader, manifest: Manifest) -> None:
        super().__init__()
        self._reader = reader
        self._manifest = manifest
        self._position = 0
        self._untouched = True
        self._held = -1
        self._chunk = bytearray()

    @property
    def info(self) -> FileInfo:
        """What is known of the file that is being read."""
        return self._manifest.info()

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position, in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position, which may lie past the end; the new position."""
        self._check_open()
        size = self._manifest.layout.size
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: size}.get(whence)
        if base is None or base + offset < 0:
            raise ValueError("a position before the file's start")
        if base + offset != self._position:
            self._untouched = False
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Buffer) -> int:  # type: ignore[override]
        """Read into `buffer`, up to the end of the chunk at the position; the number of bytes."""
        self._check_open()
        target = memoryview(buffer).cast("B")
        piece = self._next_piece(len(target))
        if piece is None:
            return 0
        held = memoryview(self._chunk)
        target[: piece.length] = held[piece.start : piece.start + piece.length]
        self._position += piece.length
        self._untouched = False
        return piece.length

    def readall(self) -> bytes:
        """The bytes from the position to the end."""
        self._check_open()
        self._next_piece(1)  # once a chunk is held the file cannot become another one
        rest = max(0, self._manifest.layout.size - self._position)
        fresh = FreshBytes(rest)
        done = 0
        while done < rest:
            done += self.readinto(fresh.view[done:])
        return fresh.take()

    def _next_piece(self, length: int) -> Slice | None:
        """What comes next, of at most `length` bytes, with its chunk held; None at the end."""
        while True:
            stop = self._position + length
            piece = next(self._manifest.layout.slices(self._position, stop), None)
            with telling(self._reader.observer, self._manifest.name):
                if piece is None or self._hold(piece.index):
                    return piece

    def _hold(self, index: int) -> bool:
        """Hold chunk `index`; False where the file was replaced, and is to be read anew."""
        if index == self._held:
            return True
        self._held = -1
        if len(self._chunk) != self._manifest.layout.length(index):
            self._chunk = bytearray(self._manifest.layout.length(index))
        if self._reader.load_chunk(self._manifest, index, memoryview(self._chunk)):
            self._held = index
            return True
        missing = self._reader.missing(self._manifest) or [index]
        successor = self._reader.successor(self._manifest, missing)
        if not self._untouched:
            raise ChangedError(
                f"{self._manifest.name!r} was replaced while being read; open it again",
                name=self._manifest.name,
            )
        self._manifest = successor
        return False

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")


def _part(target: memoryview, layout: Layout, index: int) -> memoryview:
    start = index * layout.chunk_size
    return target[start : start + layout.length(index)]


def _check_length(manifest: Manifest, index: int, length: int) -> None:
    expected = manifest.layout.length(index) + manifest.layout.padding_of(index)
    if length != expected:
        raise _corrupt(manifest, f"chunk {index} has {length} bytes, not {expected}")


def _corrupt(manifest: Manifest, what: str) -> CorruptError:
    return CorruptError(
        f"{manifest.name!r} is damaged: {what}; store the file again", name=manifest.name
    )


def evicted(manifest: Manifest, missing: list[int]) -> EvictedError:
    """The error for a file that has lost chunks."""
    return EvictedError(
        f"{manifest.name!r} lost {len(missing)} of its {manifest.layout.chunk_count} chunks: "
        "memcached needed the room; store the file again, and give memcached more memory (-m) "
        "if it happens often",
        name=manifest.name,
        missing=missing,
    )
