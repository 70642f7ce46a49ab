"""`Client`: the verbs of `memchunk.Store` over HTTP, with the same exceptions.

What a verb asks the server, and how its answer becomes a result, is here; how it is sent
and how bytes are verified is not.
"""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace as changed_copy
from typing import BinaryIO

import httpx

from memchunk import (
    AlreadyExistsError,
    ChangedError,
    CorruptError,
    DigestMismatchError,
    EvictedError,
    FileInfo,
    MemchunkError,
    NotFoundError,
)
from memchunk.draft import Progress
from memchunk.expiry import expiry
from memchunk.fresh import FreshBytes
from memchunk.manifest import check_content_type, check_sha256
from memchunk.names import check_name
from memchunk.protocol import Buffer
from memchunk.sources import Source
from memchunk.store import Allocate
from memchunk_api import digests
from memchunk_api.conditional import ByteRange
from memchunk_api.description import from_json, location, metadata_location
from memchunk_api.exchange import Exchange, UnexpectedAnswerError
from memchunk_api.incoming import READ_AHEAD_BYTES, Incoming, RemoteFile
from memchunk_api.outgoing import Outgoing

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
            ValueError: an argument cannot be used.
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
        is not that. Without `ttl`, the server's default holds.
        """
        with self._about(name):
            query = {} if ttl is None else {"ttl": str(_seconds(ttl))}
            headers = {}
            if sha256 is not None:
                check_sha256(sha256)
            if content_type is not None:
                check_content_type(content_type)
                headers["Content-Type"] = content_type
            body = Outgoing(source, progress)
            if sha256 is not None and body.sha256 not in (None, sha256):
                raise DigestMismatchError("the bytes do not have the sha256 that was announced")
            announced = sha256 or body.sha256
            if announced is not None:
                headers["Repr-Digest"] = digests.format_sha256(announced)
            if if_match is not None:
                headers["If-Match"] = _tags(if_match)
            method = "PUT" if replace or if_match is not None else "POST"
            try:
                info = self._send(method, name, query, headers, body)
            except (AlreadyExistsError, ChangedError):
                if if_match is None and body.times_sent < 2:
                    raise
                current: FileInfo | None = None
                with suppress(EvictedError, CorruptError):
                    current = self.stat(name)  # its NotFoundError says more than a 412
                # What was sent before may have been stored, though the answer was a 503.
                if body.times_sent < 2 or current is None or current.sha256 != body.sha256:
                    raise
                return current
            if info.sha256 != body.sha256:
                self.delete(name, if_match=[info.sha256])
                raise DigestMismatchError("what the server got is not what was sent; send it again")
            return info

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
            done = 0
            for block in file.blocks():
                _write(target, block)
                done += len(block)
                if progress is not None:
                    progress(done, file.size)
            return done

    def open(self, name: str) -> io.BufferedReader:
        """A file to read from, of which only the parts that are read travel: see `Store.open`.

        `.raw.info` is the `FileInfo`; for reading see `RemoteFile`.
        """
        return io.BufferedReader(RemoteFile(self.stat(name), self._range), READ_AHEAD_BYTES)

    def stat(self, name: str) -> FileInfo:
        """What is known of a file: see `Store.stat`."""
        with self._about(name), self._exchange.ask("GET", metadata_location(name)) as answer:
            return _described(answer)

    def __contains__(self, name: str) -> bool:
        """Whether there is a file of that name: see `Store`."""
        try:
            self.stat(name)
        except (NotFoundError, EvictedError, CorruptError):
            return False
        return True

    def delete(self, name: str, *, if_match: Collection[str] | None = None) -> None:
        """Delete a file: see `Store.delete`."""
        headers = {} if if_match is None else {"If-Match": _tags(if_match)}
        with self._about(name), self._exchange.ask("DELETE", location(name), headers=headers):
            pass

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

    def _send(
        self, method: str, name: str, query: dict[str, str], headers: dict[str, str], body: Outgoing
    ) -> FileInfo:
        """Send a file in one request."""
        path = location(name)
        with self._exchange.ask(method, path, query=query, headers=headers, body=body) as answer:
            return changed_copy(_described(answer), replaced=answer.status_code == httpx.codes.OK)

    @contextmanager
    def _download(self, name: str, sha256: str | None = None) -> Iterator[Incoming]:
        """A file that is being sent, if it is the one with `sha256`."""
        headers = {} if sha256 is None else {"If-Match": _tags([sha256])}
        with self._exchange.ask("GET", location(name), headers=headers) as answer:
            yield Incoming(answer)

    @contextmanager
    def _range(self, info: FileInfo, wanted: ByteRange) -> Iterator[httpx.Response]:
        """A part of a file that is being sent, if it is still the one of `info`."""
        headers = {
            "Range": f"bytes={wanted.start}-{wanted.stop - 1}",
            "If-Match": _tags([info.sha256]),
        }
        path = location(info.name)
        with self._about(info.name), self._exchange.ask("GET", path, headers=headers) as answer:
            yield answer

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


def _described(answer: httpx.Response) -> FileInfo:
    """The file that an answer describes."""
    try:
        info = from_json(json.loads(answer.read()))
    except (ValueError, RecursionError):
        raise UnexpectedAnswerError(
            f"{answer.url} does not answer as memchunk does; is it the right address?",
            status=answer.status_code,
        ) from None
    return info


def _seconds(ttl: int | float) -> int:
    expiry(ttl, time.time())
    return math.ceil(ttl)


def _tags(sha256s: Collection[str]) -> str:
    # No file has an empty tag: If-Match must not be left out, nor be empty.
    return ", ".join(f'"{sha256}"' for sha256 in sha256s) or '""'


def _write(target: BinaryIO, block: bytes) -> None:
    left = memoryview(block)
    while left:
        written = target.write(left)
        # Unbuffered files may take a part; others say how much they took, or nothing at all.
        left = left[len(left) if written is None else written :]
