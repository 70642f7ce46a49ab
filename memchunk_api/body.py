"""A request body as it comes: counted, timed, verified.

Its end is only reported once everything is known to be right, so that a body which is
cut short, malformed or not what its digest says is never mistaken for a shorter one.
What is in it is for others to tell: see `forms`, `documents` and `receiving`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import falcon
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]

from memchunk import DigestMismatchError, TooLargeError
from memchunk.manifest import check_content_type
from memchunk_api import digests
from memchunk_api.connection import PacedSocket
from memchunk_api.framing import LengthBody

_BLOCK_BYTES = 64 * 1024
_DIGEST_KEYS = {"Repr-Digest": "HTTP_REPR_DIGEST", "Content-Digest": "HTTP_CONTENT_DIGEST"}


class Source(Protocol):
    """What `Store.put` reads from."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none once the file has ended as it should."""


class Body:
    """The bytes of a request body as they come, counted, timed and verified.

    Attributes:
        length: how many bytes the client announced, None if chunked.
    """

    def __init__(
        self,
        req: falcon.Request,
        *,
        patience: float,
        limit: int,
        announced: Iterable[tuple[str, bytes]] = (),
    ) -> None:
        """Read nothing yet.

        Args:
            req: the request.
            patience: seconds without a byte after which it is given up.
            limit: the most bytes it may have.
            announced: the digests to verify, see `announced_digests`.

        Raises:
            TooLargeError: more bytes are announced.
            falcon.HTTPError: it is coded in a way that is not known here, or is a part
                of something.
        """
        _refuse_codings(req)
        self.length = announced_length(req)
        if self.length is not None and self.length > limit:
            raise _too_large(limit)
        self._stream = req.env["wsgi.input"]
        self._connection: socket.socket | None = req.env.get("gunicorn.socket")
        # RFC 9110 section 10.1.1: a client of HTTP/1.0 would take the 100 for the answer.
        self._continue = (
            req.env.get("HTTP_EXPECT", "").lower() == "100-continue"
            and req.env.get("SERVER_PROTOCOL") != "HTTP/1.0"
        )
        self._patience = patience
        self._limit = limit
        self._verifier = digests.Verifier(announced)
        self._received = 0
        self._begun = False

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none after the last one.

        Raises:
            falcon.HTTPBadRequest: the body ended too early, or its framing is broken.
            falcon.HTTPError: 408, the client stopped sending, or sends too slowly.
            TooLargeError: more than `limit` bytes came.
            DigestMismatchError: it ended, and is not what was announced.
        """
        data: bytes = self._receive(self._stream.read, min(size, self._most()))
        self._take(data, asked=size)
        return data

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill some of `buffer`; 0 after the last byte. Not to be mixed with `read`."""
        size = min(len(buffer), self._most())
        if isinstance(self._stream, LengthBody):
            count: int = self._receive(self._stream.readinto, buffer[:size])
        else:
            data = self._receive(self._stream.read, size)
            count = len(data)
            buffer[:count] = data
        self._take(buffer[:count], asked=size)
        return count

    def read_whole(self) -> bytes:
        """All of it, which should not be much. Raises what `read` raises."""
        return b"".join(iter(lambda: self.read(_BLOCK_BYTES), b""))

    def _most(self) -> int:
        # One byte beyond the limit, to tell a body that ends there from one that goes on.
        return self._limit + 1 - self._received

    def _take(self, data: bytes | memoryview, *, asked: int) -> None:
        """Count and hash what came; look whether all is right where that is nothing."""
        self._received += len(data)
        if self._received > self._limit:
            raise _too_large(self._limit)
        self._verifier.update(data)
        if not data and asked > 0:
            self._end()

    def _begin(self) -> None:
        self._begun = True
        if isinstance(self._connection, PacedSocket):
            self._connection.expect(self._patience)
            if self._continue:
                # gunicorn left it to us, see connection.PacedRequest.
                self._connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _receive(self, receive: Callable[[Any], Any], wanted: Any) -> Any:
        if not self._begun:
            self._begin()
        try:
            return receive(wanted)
        except TimeoutError:
            raise falcon.HTTPError(
                falcon.HTTP_408,
                description=f"the body stopped after {self._received} bytes; send it again",
            ) from None
        except (ParseException, OSError) as error:
            # A chunk that is not one, or the end of the connection in the middle of it.
            detail = str(error) or "the connection ended"
            raise falcon.HTTPBadRequest(
                description=f"the body is broken after {self._received} bytes: {detail}"
            ) from None

    def _end(self) -> None:
        if self.length is not None and self._received < self.length:
            raise falcon.HTTPBadRequest(
                description=f"the body ended after {self._received} of {self.length} bytes"
            )
        wrong = self._verifier.mismatch()
        if wrong is not None:
            raise DigestMismatchError(
                f"the {wrong} of the bytes received is not the one announced; send them again"
            )


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"the body of this request may have at most {limit} bytes; send less")


def _refuse_codings(req: falcon.Request) -> None:
    """Refuse what would make the stored bytes others than the client means."""
    if req.env.get("HTTP_TRANSFER_ENCODING", "chunked").strip().lower() != "chunked":
        raise falcon.HTTPBadRequest(description="of transfer codings, only chunked is known")
    if req.env.get("HTTP_CONTENT_ENCODING", "").strip().lower() not in ("", "identity"):
        raise falcon.HTTPUnsupportedMediaType(
            description="bytes are stored as they come; leave out Content-Encoding"
        )
    if "HTTP_CONTENT_RANGE" in req.env:
        # RFC 9110 section 14.5: partial PUT must not be taken for a whole one.
        raise falcon.HTTPBadRequest(description="a file is written whole; leave out Content-Range")


def announced_length(req: falcon.Request) -> int | None:
    """How many bytes the request's body has, None if chunked."""
    return None if "HTTP_TRANSFER_ENCODING" in req.env else req.content_length or 0


def announced_digests(req: falcon.Request) -> list[tuple[str, bytes]]:
    """The digests in Repr-Digest and Content-Digest (RFC 9530), of those known here.

    Raises:
        falcon.HTTPBadRequest: one of the headers cannot be read.
    """
    announced: list[tuple[str, bytes]] = []
    for header, key in _DIGEST_KEYS.items():
        value = req.env.get(key)
        if value is None:
            continue
        try:
            announced += digests.parse(value).items()
        except ValueError as error:
            raise falcon.HTTPBadRequest(description=f"{header} cannot be read: {error}") from None
    return list(dict.fromkeys(announced))


def essence(content_type: str | None) -> str:
    """A media type without its parameters, in lower case; empty where there is none."""
    return (content_type or "").partition(";")[0].strip().lower()


def media_type(value: str | None) -> str | None:
    """A Content-Type that can be kept with a file, or None where there is none.

    Raises:
        falcon.HTTPBadRequest: it is none.
    """
    if value is None or not value.strip():
        return None
    value = value.strip()
    try:
        check_content_type(value)
    except ValueError as error:
        raise falcon.HTTPBadRequest(description=str(error)) from None
    return value
