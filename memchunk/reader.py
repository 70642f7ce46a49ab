"""A manifest becomes verified bytes.

Every byte that leaves memchunk goes through here: a whole file is compared with its
sha256 before any of it is handed out, a part of one with the crc32 of each chunk.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from memchunk import protocol
from memchunk.backend import Backend
from memchunk.bulk import CHUNKS_IN_FLIGHT
from memchunk.checksum import crc32
from memchunk.digest import Sha256
from memchunk.errors import ChangedError, CorruptError, EvictedError
from memchunk.fresh import FreshBytes
from memchunk.index import Entry, Index
from memchunk.known import is_small
from memchunk.layout import Layout
from memchunk.manifest import FileInfo, Manifest, UnknownVersionError
from memchunk.protocol import Command

MAX_RESTARTS = 100


class Reader:
    """Reads the files of an index."""

    def __init__(self, backend: Backend, index: Index) -> None:
        self._backend = backend
        self._index = index
        self.observer = backend.observer

    def get(self, name: str) -> bytes:
        """The bytes of a whole file. Raises what `read` raises."""
        manifest, content = self._look(name)
        if content is not None:
            if self._backend.is_observed:  # else the description would be made for nobody
                self.observer.read(manifest.info())
            return content
        fresh = FreshBytes(0)

        def allocate(info: FileInfo) -> memoryview:
            nonlocal fresh
            fresh = FreshBytes(info.size)
            return fresh.view

        self._read(manifest, allocate)
        return fresh.take()

    def read(self, name: str, allocate: Callable[[FileInfo], memoryview]) -> int:
        """Read a whole file into the memory that `allocate` gives for it; its size in bytes.

        A file that is replaced meanwhile is read anew, and `allocate` called again.
        Raises `NotFoundError`, `EvictedError`, `CorruptError`, `UnavailableError`.
        """
        manifest, content = self._look(name)
        if content is None:
            return self._read(manifest, allocate)
        info = manifest.info()
        allocate(info)[:] = content
        self.observer.read(info)
        return info.size

    def _look(self, name: str) -> tuple[Manifest, bytes | None]:
        """The manifest of a file, with its content if it is small and nothing is wrong with it.

        A small file that was seen lately most often has the chunk that it had then.
        """
        known = self._index.recall(name)
        if known is not None:
            manifest, [chunk] = self._index.find_beside(name, [self._fetch(known)])
        else:
            manifest = self._index.find(name)
            if not is_small(manifest):
                return manifest, None
            [chunk] = self._backend.exchange([self._fetch(manifest)])
        if (
            chunk.length == manifest.layout.size
            and sha256(chunk.value).hexdigest() == manifest.sha256
        ):
            return manifest, chunk.value
        return manifest, None

    def _fetch(self, manifest: Manifest) -> Command:
        """The command that asks for the only chunk of a small file."""
        [key] = self._backend.chunk_keys(manifest.generation, [0])
        return protocol.get(key, limit=manifest.layout.size)

    def _read(self, manifest: Manifest, allocate: Callable[[FileInfo], memoryview]) -> int:
        for _ in range(MAX_RESTARTS):
            info = manifest.info()
            missing = self.load(manifest, allocate(info))
            if missing is None:
                self.observer.read(info)
                return info.size
            manifest = self.successor(manifest, self.missing(manifest) or [missing])
        raise ChangedError(
            f"{manifest.name!r} was replaced {MAX_RESTARTS} times while being read; try again",
            name=manifest.name,
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
        server = self._backend.server_of_chunks(manifest.generation)
        with Sha256(away_from=server.processor) as sha256:
            if commands:
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
