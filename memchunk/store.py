"""`Store`: the verbs a user calls.

This is where the parts are put together, arguments are checked, and every error gets
the name of the file that it is about. What the verbs do is done elsewhere.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Collection, Iterator

from memchunk.amend import Amender, Changes
from memchunk.backend import Backend
from memchunk.bulk import CHUNKS_IN_FLIGHT
from memchunk.call import Call
from memchunk.catalog import Catalog
from memchunk.committing import Committer
from memchunk.deadline import AtLeisure
from memchunk.draft import Order, Progress
from memchunk.errors import CorruptError, EvictedError, NotFoundError
from memchunk.expiry import KEEP, Keep, expiry
from memchunk.index import Index
from memchunk.manifest import FileInfo, check_content_type, check_sha256
from memchunk.mediatype import guess_content_type
from memchunk.names import check_name, check_prefix
from memchunk.opened import StoredFile
from memchunk.protocol import Buffer
from memchunk.reader import Reader
from memchunk.sources import Source, open_source
from memchunk.sweep import sweep
from memchunk.uploads import Uploads
from memchunk.writer import Writer

Allocate = Callable[[FileInfo], Buffer]


class Store:
    """Files in memcached. Made by `connect`; safe to share between threads and over `fork`.

    Every verb may raise `InvalidNameError`, and `UnavailableError` where a server
    cannot be reached or does not answer in time.
    """

    def __init__(self, backend: Backend, *, compact: bool = False) -> None:
        self._backend = backend
        self._index = Index(backend)
        self._reader = Reader(backend, self._index)
        self._catalog = Catalog(backend, self._index)
        self._amender = Amender(backend, self._index, self._reader, self._catalog)
        committer = Committer(backend, self._index, self._reader, self._amender, self._catalog)
        self._writer = Writer(backend, committer, compact=compact)
        self._uploads = Uploads(backend, self._index, self._reader, self._writer)

    def put(
        self,
        name: str,
        source: Source,
        *,
        replace: bool = False,
        if_match: Collection[str] | None = None,
        ttl: int | float | None = None,
        content_type: str | None = None,
        sha256: str | None = None,
        progress: Progress | None = None,
    ) -> FileInfo:
        """Store a file of 0 to 52,428,800 bytes (50 MiB). All of it, or nothing changes.

        A damaged file is stored again without `replace`.

        Args:
            name: what to call it: see `memchunk.names.check_name`.
            source: a bytes-like object, a path, or a binary file (anything with
                `readinto` or `read`), which is read to its end and not closed.
            replace: whether an intact file of that name may be replaced.
            if_match: replace the file of that name, but only if its sha256 (hex) is one
                of these, and at that very moment.
            ttl: the lifetime in seconds, or None for no end; until 2038 at most.
            content_type: the media type; by default what the name's ending stands for.
            sha256: the digest (hex) that the bytes must have.
            progress: called with the number of bytes sent so far, and of all bytes where
                that is known (else None).

        Raises:
            AlreadyExistsError: an intact file has that name; the source was not read.
            ChangedError: `if_match` names no sha256 of the file there.
            NotFoundError: `if_match` was given and there is no file.
            TooLargeError: the source has more than 50 MiB; at most one byte more is read.
            DigestMismatchError: the bytes do not have the announced `sha256`.
            StorageFullError: memcached refused a chunk, or evicted one meanwhile.
            UnavailableError: as everywhere. Where the last step, which makes the file
                visible, got no answer, the file may be there all the same.
            TypeError, ValueError: an argument cannot be used.
            Anything that the source raises.
        """
        with self._about(name):
            expiry(ttl, time.time())
            if sha256 is not None:
                check_sha256(sha256)
            if content_type is None:
                content_type = guess_content_type(name)
            check_content_type(content_type)
            order = Order(name, content_type, replace, if_match, ttl, sha256, progress)
            with open_source(source, buffers=CHUNKS_IN_FLIGHT) as blocks:
                return self._writer.write(order, blocks)

    def get(self, name: str) -> bytes:
        """The bytes of a file, verified against its sha256.

        Raises `NotFoundError`, `EvictedError`, `CorruptError`.
        """
        with self._about(name):
            return self._reader.get(name)

    def read_into(self, name: str, buffer: Buffer | Allocate) -> int:
        """Read a file into memory of the caller's; the number of bytes, verified.

        After an exception what is in the buffer is worth nothing.

        Args:
            name: the file.
            buffer: a writable buffer of at least the file's size, or a function that is
                given the `FileInfo`, before a large file moves, and returns one. It is called
                again where the file is replaced meanwhile, and what it raises goes through.

        Raises `NotFoundError`, `EvictedError`, `CorruptError`, and `ValueError` where the
        buffer is too small.
        """

        def allocate(info: FileInfo) -> memoryview:
            with AtLeisure():
                found = buffer(info) if callable(buffer) else buffer
            target = memoryview(found).cast("B")
            if target.readonly:
                raise TypeError("the buffer is read-only; pass a bytearray or the like")
            if len(target) < info.size:
                raise ValueError(f"{name!r} has {info.size} bytes, the buffer {len(target)}")
            return target[: info.size]

        with self._about(name):
            return self._reader.read(name, allocate)

    def open(self, name: str) -> io.BufferedReader:
        """A file to read from: seekable, each chunk verified before any of it is handed out.

        Only the chunks that are touched travel. `.raw.info` is the `FileInfo`.
        Raises `NotFoundError` and `CorruptError`; for reading see `StoredFile`.
        """
        with self._about(name):
            return io.BufferedReader(StoredFile(self._reader, self._index.find(name)))

    def stat(self, name: str) -> FileInfo:
        """What is known of a file, all of whose chunks are there. Moves no chunk.

        Raises `NotFoundError`, `EvictedError`, and `CorruptError` for its manifest.
        """
        with self._about(name):
            manifest = self._index.find(name)
            while missing := self._reader.missing(manifest):
                manifest = self._reader.successor(manifest, missing)
            return manifest.info()

    def __contains__(self, name: str) -> bool:
        """Whether there is a file of that name, whole as far as `stat` can tell."""
        try:
            self.stat(name)
        except (NotFoundError, EvictedError, CorruptError):
            return False
        return True

    def delete(self, name: str, *, if_match: Collection[str] | None = None) -> None:
        """Delete a file, whole or damaged.

        Raises `NotFoundError`, and `ChangedError` where `if_match` names no sha256 of it.
        """
        with self._about(name):
            self._amender.delete(name, if_match)

    def update(
        self,
        name: str,
        *,
        new_name: str | None = None,
        content_type: str | None = None,
        ttl: int | float | Keep | None = KEEP,
        replace: bool = False,
        if_match: Collection[str] | None = None,
    ) -> FileInfo:
        """Change what is known of a file, in one step. No chunk moves.

        Others see it under the old name or the new one, or briefly both, never neither.

        Args:
            name: the file.
            new_name: what it is to be called; its own name changes nothing.
            content_type: the media type that it is to have.
            ttl: the seconds from now until it expires, or None for never.
            replace: whether an intact file called `new_name` may be replaced.
            if_match: do it only if the file's sha256 (hex) is one of these.

        Raises `NotFoundError`, `EvictedError`, `CorruptError` for the file's manifest,
        `AlreadyExistsError` where `new_name` is an intact file and `replace` is false,
        `ChangedError` for `if_match`, and `TypeError` or `ValueError` for what cannot be.
        """
        if new_name is not None:
            check_name(new_name)
        if content_type is not None:
            check_content_type(content_type)
        if not isinstance(ttl, Keep):
            expiry(ttl, time.time())
        with self._about(name):
            changes = Changes(new_name, content_type, ttl, replace, if_match)
            return self._amender.update(name, changes)

    def touch(self, name: str, *, ttl: int | float | None) -> FileInfo:
        """Let a file expire `ttl` seconds from now, or never (None): see `update`."""
        return self.update(name, ttl=ttl)

    def rename(self, old: str, new: str, *, replace: bool = False) -> FileInfo:
        """Give a file another name: see `update`."""
        check_name(new)
        return self.update(old, new_name=new, replace=replace)

    def list(
        self, prefix: str = "", *, after: str | None = None, limit: int | None = None
    ) -> Iterator[FileInfo]:
        """The files, in the order of their names (by code points). Moves no chunk.

        A file that is stored or deleted meanwhile may be among them or not. One that lost
        chunks is: only `stat` and reading tell. A name whose journal memcached has
        forgotten is not, until it is written or touched again, or `reindex` is called.

        Args:
            prefix: only names that begin with it.
            after: only names that come after it.
            limit: at most so many.

        Raises `InvalidNameError` for a prefix or an `after` that no name can have,
        `ValueError` for a limit below 0, and `UnavailableError` while iterating.
        """
        check_prefix(prefix)
        check_prefix("" if after is None else after)
        if limit is not None and limit < 0:
            raise ValueError(f"a limit is 0 or more, not {limit}")
        return (manifest.info() for manifest in self._catalog.manifests(prefix, after, limit))

    def reindex(self) -> int:
        """List names again whose journal memcached has forgotten; the number of them.

        Every item of every server is looked at (`lru_crawler metadump`).
        Raises `UnavailableError`, also where that is not to be had, as through a proxy, and
        `StorageFullError` where memcached has no room for the journal.
        """
        return self._catalog.reindex()

    def sweep(self) -> int:
        """Let chunks that no file needs expire within the hour; of how many writes they were.

        Such as a program leaves behind that is killed while it replaces or deletes a file. Safe
        at any time, beside whatever others do. Every item of every server is looked at
        (`lru_crawler metadump`), and every manifest is read, if there is something to be swept
        several times. Raises `UnavailableError`, also where that is not to be had, as through a
        proxy, and `CorruptError` where a manifest was written by a later version of memchunk.
        """
        return sweep(self._backend, self._amender)

    @property
    def uploads(self) -> Uploads:
        """Files that arrive in parts, over many requests."""
        return self._uploads

    def check(self, *, deadline: float = 5.0) -> None:
        """Store, read and delete a small item on every server, within `deadline` seconds.

        Raises `UnavailableError` or `StorageFullError`, which name the server.
        """
        self._backend.check(deadline)

    def close(self) -> None:
        """Close the connections that are not in use. The store can still be used."""
        self._backend.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _about(self, name: str) -> Call:
        """Check the name, and begin a call about that file."""
        check_name(name)
        return Call(self._backend.observer, name, self._backend.deadline)
