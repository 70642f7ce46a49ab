"""`Client`: the verbs of `memchunk.Store` over HTTP, with the same exceptions.

What a verb asks the server, and how its answer becomes a result, is here; how it is sent
and how bytes are verified is not.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import BinaryIO

import httpx

from memchunk import (
    KEEP,
    AlreadyExistsError,
    ChangedError,
    CorruptError,
    EvictedError,
    FileInfo,
    MemchunkError,
    NotFoundError,
)
from memchunk.draft import Progress
from memchunk.expiry import Keep, expiry
from memchunk.fresh import FreshBytes
from memchunk.manifest import check_content_type, check_sha256
from memchunk.names import check_name, check_prefix
from memchunk.protocol import Buffer
from memchunk.sources import Source
from memchunk.store import Allocate
from memchunk_api.conditional import ByteRange
from memchunk_api.description import entity_tags, location, metadata_location
from memchunk_api.exchange import Exchange, read_listing
from memchunk_api.incoming import READ_AHEAD_BYTES, Incoming, RemoteFile
from memchunk_api.outgoing import Outgoing
from memchunk_api.sending import Order, check_type, send

# As many as a server gives at once.
PAGE_FILES = 1000

# How often a read starts over because the file was replaced meanwhile.
MOST_RESTARTS = 10


class Client:
    """Files on a memchunk server: see `memchunk.Store`, whose verbs these are.

    Safe to share between threads. Every verb may raise `InvalidNameError`,
    `UnavailableError`, where the server or its memcached cannot be reached, and
    `UnexpectedAnswerError`, for answers that a `Store` has nothing like.
    """

    def __init__(
        self, url: str, *, token: str | None = None, timeout: float = 30.0, retries: int = 2
    ) -> None:
        """Nothing is sent before the first verb.

        Args:
            url: `http://HOST:PORT`, or https; may hold the token as its password.
            token: what the server wants to be shown (its MEMCHUNK_TOKEN).
            timeout: the longest wait for a connection, and for it to take or give bytes,
                in seconds.
            retries: how often a request is sent again to a server that says 503 or refuses
                the connection. It may say how long to wait before that, up to 10 seconds.
                What was read from a pipe is not sent again.

        Raises:
            ValueError: an argument cannot be used, or a proxy that the environment names.
        """
        if not timeout > 0 or retries < 0:
            raise ValueError("a timeout is more than 0 seconds, and retries are not negative")
        self._exchange = Exchange(url, token=token, timeout=timeout, retries=retries)

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
        """Store a file: see `Store.put`.

        A source that can be read twice is hashed first, so that the server can refuse what
        is not that. One of more than 8 MiB (without `if_match`) goes on after a break where it
        was, also on a server that was started anew; after 45 seconds of failures, whatever the
        retries, the break is an error. Without `ttl`, the server's default holds.
        """
        with self._about(name):
            if ttl is not None:
                expiry(ttl, time.time())
            if sha256 is not None:
                check_sha256(sha256)
            if content_type is not None:
                check_type(content_type)
            order = Order(name, replace, if_match, ttl, content_type, sha256)
            return send(self._exchange, order, Outgoing(source, progress))

    def get(self, name: str) -> bytes:
        """The bytes of a file, verified against its sha256: see `Store.get`."""
        with self._about(name), self._download(name) as file:
            fresh = FreshBytes(file.size)
            file.into(fresh.view)
            return fresh.take()

    def read_into(self, name: str, buffer: Buffer | Allocate) -> int:
        """Read a file into memory of the caller's: see `Store.read_into`."""
        with self._about(name):
            for _ in range(MOST_RESTARTS):
                info = self.stat(name)
                target = memoryview(buffer(info) if callable(buffer) else buffer).cast("B")
                if target.readonly:
                    raise TypeError("the buffer is read-only; pass a bytearray or the like")
                if len(target) < info.size:
                    raise ValueError(f"{name!r} has {info.size} bytes, the buffer {len(target)}")
                try:
                    with self._download(name, info.sha256) as file:
                        return file.into(target)
                except ChangedError:
                    continue
            raise ChangedError(f"{name!r} is replaced again and again; try again later")

    def download(self, name: str, target: BinaryIO, *, progress: Progress | None = None) -> int:
        """Write a file to a binary file as it arrives; the number of bytes, verified.

        After an exception what was written is worth nothing. `progress` is called with the
        number of bytes so far and of all. Raises what `get` raises, and what `target` raises.
        """
        with self._about(name), self._download(name) as file:
            return file.write_to(target, progress)

    def open(self, name: str) -> io.BufferedReader:
        """A file to read from, of which only the parts that are read travel: see `Store.open`.

        `.raw.info` is the `FileInfo`; for reading see `RemoteFile`.
        """
        return io.BufferedReader(RemoteFile(self.stat(name), self._range), READ_AHEAD_BYTES)

    def stat(self, name: str) -> FileInfo:
        """What is known of a file: see `Store.stat`."""
        with self._about(name):
            return self._exchange.ask_about("GET", metadata_location(name))

    def __contains__(self, name: str) -> bool:
        """Whether there is a file of that name: see `Store`."""
        try:
            self.stat(name)
        except (NotFoundError, EvictedError, CorruptError):
            return False
        return True

    def delete(self, name: str, *, if_match: Collection[str] | None = None) -> None:
        """Delete a file: see `Store.delete`."""
        headers = {} if if_match is None else {"If-Match": entity_tags(if_match)}
        with self._about(name), self._exchange.ask("DELETE", location(name), headers=headers):
            pass

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
        """Change what is known of a file, in one step: see `Store.update`.

        Not asked again where a name is changed, as the second time would find it changed.
        """
        change: dict[str, object] = {}
        if new_name is not None:
            check_name(new_name)
            change["name"] = new_name
        if content_type is not None:
            check_content_type(content_type)
            change["content_type"] = content_type
        if not isinstance(ttl, Keep):
            expiry(ttl, time.time())
            change["ttl"] = None if ttl is None else math.ceil(ttl)
        if replace:
            change["replace"] = True
        headers = {} if if_match is None else {"If-Match": entity_tags(if_match)}
        with self._about(name):
            try:
                return self._exchange.ask_about(
                    "PATCH",
                    metadata_location(name),
                    headers=headers,
                    json=change,
                    again=new_name is None,
                )
            except AlreadyExistsError as error:
                error.name = new_name  # the one that is taken
                raise

    def touch(self, name: str, *, ttl: int | float | None) -> FileInfo:
        """Let a file expire `ttl` seconds from now, or never (None): see `Store.touch`."""
        return self.update(name, ttl=ttl)

    def rename(self, old: str, new: str, *, replace: bool = False) -> FileInfo:
        """Give a file another name: see `Store.rename`."""
        check_name(new)
        return self.update(old, new_name=new, replace=replace)

    def list(
        self, prefix: str = "", *, after: str | None = None, limit: int | None = None
    ) -> Iterator[FileInfo]:
        """The files, in the order of their names: see `Store.list`. Asks for one page at a time."""
        check_prefix(prefix)
        check_prefix("" if after is None else after)
        if limit is not None and limit < 0:
            raise ValueError(f"a limit is 0 or more, not {limit}")
        return self._pages(prefix, after, limit)

    def check(self) -> None:
        """Let the server see whether it could store, read and delete: see `Store.check`."""
        with self._exchange.ask("GET", "/readyz"):
            pass

    def close(self) -> None:
        """Close the connections. The client cannot be used any more."""
        self._exchange.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _download(self, name: str, sha256: str | None = None) -> Iterator[Incoming]:
        """A file that is being sent, if it is the one with `sha256`."""
        headers = {} if sha256 is None else {"If-Match": entity_tags([sha256])}
        with self._exchange.ask("GET", location(name), headers=headers) as answer:
            yield Incoming(answer)

    @contextmanager
    def _range(self, info: FileInfo, wanted: ByteRange) -> Iterator[httpx.Response]:
        """A part of a file that is being sent, if it is still the one of `info`."""
        headers = {
            "Range": f"bytes={wanted.start}-{wanted.stop - 1}",
            "If-Match": entity_tags([info.sha256]),
        }
        path = location(info.name)
        with self._about(info.name), self._exchange.ask("GET", path, headers=headers) as answer:
            yield answer

    def _pages(self, prefix: str, after: str | None, left: int | None) -> Iterator[FileInfo]:
        while left != 0:
            query = {"prefix": prefix, "limit": str(min(PAGE_FILES, left or PAGE_FILES))}
            if after is not None:
                query["after"] = after
            with self._exchange.ask("GET", "/files", query=query) as answer:
                files, after = read_listing(answer)
            yield from files
            if after is None:
                return
            if left is not None:
                left -= len(files)

    @contextmanager
    def _about(self, name: str) -> Iterator[None]:
        """Check the name, and put it on the errors raised inside."""
        check_name(name)
        try:
            yield
        except MemchunkError as error:
            if error.name is None:
                error.name = name
            raise
