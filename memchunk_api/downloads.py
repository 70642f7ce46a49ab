"""Sending a file: whole, or a range of it, if its preconditions hold.

A whole file is read and verified before the first byte is sent, so that 410 and
422 are true. A range is verified chunk by chunk: the first chunk before the
status is sent, and where a later one fails the connection is cut.
"""

from __future__ import annotations

import errno
import io
import logging
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from urllib.parse import quote

import falcon

from memchunk import ChangedError, FileInfo, MemchunkError, Store
from memchunk.opened import StoredFile
from memchunk_api import conditional, description, preconditions
from memchunk_api.buffers import SMALL_BYTES, Budget, BusyError
from memchunk_api.conditional import ByteRange, Verdict
from memchunk_api.connection import PacedSocket
from memchunk_api.turns import moving

log = logging.getLogger("memchunk_api")

# Large enough that Python's share of sending is small, small enough that a client
# which is too slow is found out soon.
SEND_BYTES = 1024 * 1024

# A range is copied, in blocks that stay in a processor's cache meanwhile.
BLOCK_BYTES = 256 * 1024

# What a range needs: one chunk that the library holds, and a block of ours.
RANGE_BUFFER_BYTES = 1024 * 1024

# How often a range starts over because the file was replaced under its hands.
MOST_ATTEMPTS = 10


class Download:
    """One GET or HEAD of one file."""

    def __init__(
        self, store: Store, budget: Budget, req: falcon.Request, resp: falcon.Response
    ) -> None:
        self._store = store
        self._budget = budget
        self._resp = resp
        self._connection: socket.socket | None = req.env.get("gunicorn.socket")
        self._range = req.env.get("HTTP_RANGE")
        self._if_range = req.env.get("HTTP_IF_RANGE")
        self._preconditions = preconditions.read(req)

    def describe(self, name: str) -> None:
        """Answer as to GET, without the file.

        Raises what `send` raises.
        """
        info = self._store.stat(name)
        self._check(info)
        self._set_headers(info, info.size)

    def send(self, name: str) -> None:
        """Answer with the file, or the range of it that was asked for.

        Raises:
            MemchunkError: see `Store.read_into`; `ChangedError` where a precondition fails.
            BusyError: there was no memory for it in time.
            falcon.HTTPStatus: 304.
            falcon.HTTPRangeNotSatisfiable: the range begins past the file's end.
        """
        if self._range is None or not self._send_range(name):
            self._send_whole(name)

    def _check(self, info: FileInfo) -> None:
        verdict = self._preconditions.evaluate(preconditions.validators(info), reading=True)
        if verdict is Verdict.FAILED:
            raise preconditions.failed(info.name)
        if verdict is Verdict.NOT_MODIFIED:
            headers = description.validators(info, datetime.now(UTC))
            raise falcon.HTTPStatus(falcon.HTTP_304, headers=headers)

    def _set_headers(self, info: FileInfo, length: int) -> None:
        self._resp.set_headers(description.representation(info, datetime.now(UTC)))
        self._resp.content_length = length

    def _send_whole(self, name: str) -> None:
        with ExitStack() as held:
            read: list[tuple[FileInfo, memoryview]] = []

            def buffer_for(info: FileInfo) -> memoryview:
                # The library asks again where the file was replaced while it was read.
                held.close()
                self._check(info)
                if info.size <= SMALL_BYTES:
                    view = memoryview(bytearray(info.size))
                else:
                    held.enter_context(moving(info.size))
                    lease = self._budget.lease(info.size)
                    held.callback(lease.release)
                    view = lease.view
                read[:] = [(info, view)]
                return view

            self._store.read_into(name, buffer_for)
            [(info, view)] = read
            self._set_headers(info, info.size)
            self._resp.set_header("Content-Digest", description.repr_digest(info))
            if info.size <= SMALL_BYTES:
                self._resp.data = bytes(view)
            else:
                self._resp.stream = Stream(_whole(view, self._connection), held.pop_all())

    def _send_range(self, name: str) -> bool:
        """Send a range; False, and nothing done, where the whole file is to be sent."""
        for _ in range(MOST_ATTEMPTS):
            with ExitStack() as held:
                held.enter_context(self._budget.reserve(RANGE_BUFFER_BYTES))
                file = held.enter_context(self._store.open(name)).raw
                assert isinstance(file, StoredFile), "Store.open promises its .raw.info"
                info = file.info
                self._check(info)
                wanted = self._wanted(info)
                if wanted is None:
                    return False
                file.seek(wanted.start)
                blocks = _blocks_from(file, wanted)
                try:
                    first = next(blocks)
                except ChangedError:
                    continue
                if file.info != info:
                    continue
                self._set_headers(info, wanted.stop - wanted.start)
                self._resp.set_header("Content-Range", wanted.content_range(info.size))
                self._resp.status = falcon.HTTP_206
                self._resp.stream = Stream(
                    cut_off(first, blocks, f"a range of {quote(name)}"), held.pop_all()
                )
                return True
        raise BusyError(f"{name!r} is being replaced again and again; try again in a moment")

    def _wanted(self, info: FileInfo) -> ByteRange | None:
        if not conditional.if_range_holds(self._if_range, preconditions.validators(info)):
            return None
        try:
            return conditional.parse_range(self._range, info.size)
        except conditional.UnsatisfiableRangeError:
            raise falcon.HTTPRangeNotSatisfiable(
                info.size, description=f"the file has {info.size} bytes"
            ) from None


class Stream:
    """A response body; closing it, which the server always does, gives back what it holds."""

    def __init__(self, blocks: Iterator[bytes], held: ExitStack) -> None:
        self._blocks = blocks
        self._held = held

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._blocks)

    def close(self) -> None:
        """Idempotent; also after the client went away in the middle."""
        self._held.close()


def _whole(view: memoryview, connection: socket.socket | None) -> Iterator[bytes]:
    """The blocks of a file in memory.

    gunicorn takes nothing but `bytes`, and to make such of the whole file takes almost as
    long as to send it. It gets a first block, before which it sends the headers; the
    others go to its socket from where they are. Another server gets all of them.
    """
    yield bytes(view[:SMALL_BYTES])
    for start in range(SMALL_BYTES, len(view), SEND_BYTES):
        block = view[start : start + SEND_BYTES]
        if isinstance(connection, PacedSocket):
            connection.send_body(block)
        else:
            yield bytes(block)


def _blocks_from(file: io.RawIOBase, wanted: ByteRange) -> Iterator[bytes]:
    left = wanted.stop - wanted.start
    while left:
        block = file.read(min(left, BLOCK_BYTES))
        assert block, "a stored file is as long as its info says"
        left -= len(block)
        yield block


def cut_off(first: bytes, blocks: Iterator[bytes], what: str) -> Iterator[bytes]:
    """The blocks of `what`, which the log calls so where an error ends the connection.

    There is nothing else left to do: the status is out already.
    """
    yield first
    try:
        yield from blocks
    except MemchunkError as error:
        log.warning("cut off %s: %s", what, error)
        # To gunicorn a broken connection: it closes it, short of what was announced.
        raise BrokenPipeError(errno.EPIPE, "what was sent cannot be completed") from None
