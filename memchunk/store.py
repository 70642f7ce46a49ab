"""`connect()` and `Store`: the verbs a user calls.

This is where the parts are put together, arguments are checked, and every error gets
the name of the file that it is about. What the verbs do is done elsewhere.
"""

from __future__ import annotations

import io
import mimetypes
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from memchunk.amend import Amender
from memchunk.backend import Backend, check_addresses
from memchunk.errors import CorruptError, EvictedError, NotFoundError
from memchunk.expiry import expiry
from memchunk.fresh import FreshBytes
from memchunk.index import Index
from memchunk.manifest import FileInfo, check_content_type, check_sha256
from memchunk.names import check_name, check_namespace
from memchunk.observer import Observer, telling
from memchunk.protocol import Buffer
from memchunk.reader import Reader, StoredFile
from memchunk.sources import Source, open_source
from memchunk.writer import CHUNKS_IN_FLIGHT, Order, Progress, Writer

LEAST_TIMEOUT_SECONDS = 0.001
DEFAULT_CONTENT_TYPE = "application/octet-stream"

LayoutName = Literal["steady", "compact"]
Allocate = Callable[[FileInfo], Buffer]


def connect(
    servers: str | Sequence[str],
    *,
    namespace: str = "mc1",
    layout: LayoutName = "steady",
    timeout: float = 5.0,
    connect_timeout: float = 2.0,
    observer: Observer | None = None,
) -> Store:
    """A store on the memcached at `servers`; nothing is sent before the first verb.

    Args:
        servers: `"host:port"`, `"[v6]:port"`, `"unix:/path"`, or a list of such.
        namespace: what all keys begin with; stores with different ones share a
            memcached without seeing each other. 1 to 64 of `A-Z a-z 0-9 . _ -`.
        layout: `"steady"` keeps files of all sizes about equally long in a full memcached;
            `"compact"` saves memory where all files have much the same size, between 160
            and 500 KB say, at the price of early losses in a mixture.
        timeout: the longest wait for memcached to take or give bytes, in seconds.
        connect_timeout: the longest wait for a connection, in seconds.
        observer: who is told what the store does: see `Observer`.

    Raises `ValueError` for an address, a namespace, a layout or a timeout that cannot be.
    """
    addresses = [servers] if isinstance(servers, str) else list(servers)
    check_addresses(addresses)
    check_namespace(namespace)
    if layout not in ("steady", "compact"):
        raise ValueError(f"a layout is 'steady' or 'compact', not {layout!r}")
    if min(timeout, connect_timeout) < LEAST_TIMEOUT_SECONDS:  # 0 would be for ever
        raise ValueError(f"a timeout is at least {LEAST_TIMEOUT_SECONDS} seconds")
    backend = Backend(
        addresses,
        namespace,
        timeout=timeout,
        connect_timeout=connect_timeout,
        observer=observer,
    )
    return Store(backend, compact=layout == "compact")


class Store:
    """Files in memcached. Made by `connect`; safe to share between threads and over `fork`.

    Every verb may raise `InvalidNameError`, and `UnavailableError` where a server
    cannot be reached or does not answer in time.
    """

    def __init__(self, backend: Backend, *, compact: bool = False) -> None:
        self._backend = backend
        self._index = Index(backend)
        self._reader = Reader(backend, self._index)
        self._amender = Amender(backend, self._index, self._reader)
        self._writer = Writer(backend, self._index, self._reader, self._amender, compact=compact)

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
                content_type = _guess_content_type(name)
            check_content_type(content_type)
            order = Order(name, content_type, replace, if_match, ttl, sha256, progress)
            with open_source(source, kept=CHUNKS_IN_FLIGHT) as blocks:
                return self._writer.write(order, blocks)

    def get(self, name: str) -> bytes:
        """The bytes of a file, verified against its sha256.

        Raises `NotFoundError`, `EvictedError`, `CorruptError`.
        """
        fresh = FreshBytes(0)

        def allocate(info: FileInfo) -> memoryview:
            nonlocal fresh
            fresh = FreshBytes(info.size)
            return fresh.view

        with self._about(name):
            self._reader.read(name, allocate)
        return fresh.take()

    def read_into(self, name: str, buffer: Buffer | Allocate) -> int:
        """Read a file into memory of the caller's; the number of bytes, verified.

        After an exception what is in the buffer is worth nothing.

        Args:
            name: the file.
            buffer: a writable buffer of at least the file's size, or a function that is
                given the `FileInfo`, before any chunk moves, and returns one. It is called
                again where the file is replaced meanwhile, and what it raises goes through.

        Raises `NotFoundError`, `EvictedError`, `CorruptError`, and `ValueError` where the
        buffer is too small.
        """

        def allocate(info: FileInfo) -> memoryview:
            target = memoryview(buffer(info) if callable(buffer) else buffer).cast("B")
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

    def touch(self, name: str, *, ttl: int | float | None) -> FileInfo:
        """Let a file expire `ttl` seconds from now, or never (None).

        Raises `NotFoundError`, `EvictedError`, `CorruptError` for its manifest, and
        `ValueError` or `TypeError` for the ttl.
        """
        with self._about(name):
            return self._amender.touch(name, ttl)

    def rename(self, old: str, new: str, *, replace: bool = False) -> FileInfo:
        """Give a file another name. No chunk moves.

        Others see it under the old name or the new one, or briefly both, never neither.
        Onto itself, nothing changes.
        Raises `NotFoundError`, `EvictedError`, `CorruptError` for the file, and
        `AlreadyExistsError` where `new` is an intact file and `replace` is false.
        """
        check_name(new)
        with self._about(old):
            return self._amender.rename(old, new, replace=replace)

    def check(self) -> None:
        """Store, read and delete a small item on every server.

        Raises `UnavailableError` or `StorageFullError`, which name the server.
        """
        self._backend.check()

    def close(self) -> None:
        """Close the connections that are not in use. The store can still be used."""
        self._backend.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _about(self, name: str) -> Iterator[None]:
        """Check the name, put it on the errors raised inside, and tell the observer of them."""
        check_name(name)
        with telling(self._backend.observer, name):
            yield


def _guess_content_type(name: str) -> str:
    """The media type that the ending of `name` stands for."""
    guessed, encoding = mimetypes.guess_type("/" + name.rpartition("/")[2])
    return DEFAULT_CONTENT_TYPE if guessed is None or encoding is not None else guessed
