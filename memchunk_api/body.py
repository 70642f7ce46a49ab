"""A request body as a source for `Store.put`: raw, chunked or multipart, streamed.

`receive` says what is being uploaded; reading from its source moves the bytes,
with no temporary file and no copy of the whole. The end of the source is only
reported once everything is known to be right, so that a body which is cut short,
malformed or not what its digest says is never mistaken for a shorter file.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import falcon
from falcon.media.multipart import MultipartFormHandler, MultipartParseOptions
from falcon.util import BufferedReader
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]

from memchunk import MAX_FILE_BYTES, DigestMismatchError, TooLargeError
from memchunk.manifest import check_content_type
from memchunk_api import digests
from memchunk_api.buffers import SMALL_BYTES
from memchunk_api.connection import LengthBody, PacedSocket

# What may surround the file in a multipart body: boundaries, headers, other fields.
FORM_OVERHEAD_BYTES = 64 * 1024
MOST_FORM_PARTS = 64

# For multipart bodies whose length is unknown: falcon's reader wants a number.
_UNKNOWN_LENGTH = 2**62

# curl's --data-binary says so of any bytes, and HTML forms are not what comes here.
_MEANS_UNKNOWN = "application/x-www-form-urlencoded"


class Source(Protocol):
    """What `Store.put` reads from."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none once the file has ended as it should."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file on its way in.

    Attributes:
        source: the bytes; what it raises is an HTTP or a library error.
        length: how many bytes the client announced for the body, None if chunked.
        filename: the last segment of the name the client has for it, or None.
        content_type: what the client says it is; None where it does not say.
        sha256: the announced digest in hex, for the library to verify, or None.
        is_small: it is small, and the client waits for no word of ours to send it.
    """

    source: Source
    length: int | None
    filename: str | None = None
    content_type: str | None = None
    sha256: str | None = None
    is_small: bool = False


def receive(req: falcon.Request, *, patience: float) -> Upload:
    """The upload in a request, multipart or not; of a raw body nothing is read yet.

    It is given up after `patience` seconds without a byte.

    Raises:
        falcon.HTTPError: the headers, or what came of a form, cannot be used.
        TooLargeError: the body is announced as larger than any file.
    """
    _refuse_codings(req)
    announced = _announced_digests(req)
    content_type = _media_type(req.content_type)
    is_form = content_type is not None and _essence(content_type) == "multipart/form-data"
    length = None if "HTTP_TRANSFER_ENCODING" in req.env else req.content_length or 0
    limit = MAX_FILE_BYTES + (FORM_OVERHEAD_BYTES if is_form else 0)
    if length is not None and length > limit:
        raise TooLargeError(f"a file has at most {MAX_FILE_BYTES} bytes (50 MiB), not {length}")
    is_small = length is not None and length <= SMALL_BYTES and "HTTP_EXPECT" not in req.env
    if is_form:
        body = Body(req, length, patience=patience, limit=limit, announced=announced)
        form = FormFile(body, str(content_type))
        return Upload(form, length, form.filename, form.content_type, is_small=is_small)
    if content_type is not None and _essence(content_type) == _MEANS_UNKNOWN:
        content_type = None
    # The library hashes with sha256 in any case; other digests are verified here.
    sha256 = next((digest for name, digest in announced if name == "sha-256"), None)
    others = [pair for pair in announced if pair != ("sha-256", sha256)]
    body = Body(req, length, patience=patience, limit=limit, announced=others)
    hexdigest = sha256.hex() if sha256 is not None else None
    return Upload(body, length, None, content_type, hexdigest, is_small)


class Body:
    """The bytes of a request body as they come, counted, timed and verified."""

    def __init__(
        self,
        req: falcon.Request,
        length: int | None,
        *,
        patience: float,
        limit: int,
        announced: Iterable[tuple[str, bytes]],
    ) -> None:
        self._stream = req.env["wsgi.input"]
        self._connection: socket.socket | None = req.env.get("gunicorn.socket")
        # RFC 9110 section 10.1.1: a client of HTTP/1.0 would take the 100 for the answer.
        self._continue = (
            req.env.get("HTTP_EXPECT", "").lower() == "100-continue"
            and req.env.get("SERVER_PROTOCOL") != "HTTP/1.0"
        )
        self._length = length
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
            TooLargeError: more than any file, or form with a file, may have.
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

    def _most(self) -> int:
        # One byte beyond the limit, to tell a body that ends there from one that goes on.
        return self._limit + 1 - self._received

    def _take(self, data: bytes | memoryview, *, asked: int) -> None:
        """Count and hash what came; look whether all is right where that is nothing."""
        self._received += len(data)
        if self._received > self._limit:
            raise TooLargeError(f"a file has at most {MAX_FILE_BYTES} bytes (50 MiB)")
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
        if self._length is not None and self._received < self._length:
            raise falcon.HTTPBadRequest(
                description=f"the body ended after {self._received} of {self._length} bytes"
            )
        wrong = self._verifier.mismatch()
        if wrong is not None:
            raise DigestMismatchError(
                f"the {wrong} of the bytes received is not the one announced; send them again"
            )


class FormFile:
    """The one part called `file` of a multipart form (RFC 7578), as a source.

    Attributes:
        filename: the last segment of the client's name for it, or None.
        content_type: the part's own, or None.
    """

    def __init__(self, body: Body, content_type: str) -> None:
        """Read the form up to the file's first byte.

        Raises:
            falcon.HTTPError: it is not a form, or has no such part.
        """
        self._body = body
        options = MultipartParseOptions()
        options.max_body_part_count = MOST_FORM_PARTS
        reader = BufferedReader(body.read, _UNKNOWN_LENGTH)
        form: Any = MultipartFormHandler(options).deserialize(reader, content_type, None)
        self._reader = reader
        self._parts = iter(form)
        part = self._next_file()
        if part is None:
            raise falcon.HTTPBadRequest(description="the form has no part called 'file'")
        self._file = part.stream
        self.filename = last_segment(part.filename)
        declared = part._headers.get(b"content-type")
        self.content_type = _media_type(declared.decode("latin-1") if declared else None)

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes of the file; none once the whole form has proved right."""
        data = bytes(self._file.read(size))
        if not data and size > 0:
            # The parser takes a file that ends with the body for a whole one; only
            # the boundary, found by going on, tells them apart.
            if self._next_file() is not None:
                raise falcon.HTTPBadRequest(description="the form has two parts called 'file'")
            while self._reader.read(FORM_OVERHEAD_BYTES):
                pass  # what follows the form means nothing, but has to arrive
        return data

    def _next_file(self) -> Any:
        """The next part called `file`, or None at the form's proper end."""
        try:
            for part in self._parts:
                if part.name == "file":
                    part.filename  # noqa: B018 - decoded now, while an error can still be told
                    return part
        except UnicodeDecodeError:
            raise falcon.HTTPBadRequest(
                description="a part's headers are not UTF-8; encode the filename in it"
            ) from None
        return None


def last_segment(filename: str | None) -> str | None:
    """What a client's filename names, without the directories it may come with."""
    if filename is None:
        return None
    return re.split(r"[/\\]", filename)[-1] or None


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


def _announced_digests(req: falcon.Request) -> list[tuple[str, bytes]]:
    announced: list[tuple[str, bytes]] = []
    for header in ("Repr-Digest", "Content-Digest"):
        value = req.get_header(header)
        if value is None:
            continue
        try:
            announced += digests.parse(value).items()
        except ValueError as error:
            raise falcon.HTTPBadRequest(description=f"{header} cannot be read: {error}") from None
    return list(dict.fromkeys(announced))


def _essence(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _media_type(value: str | None) -> str | None:
    if value is None or not value.strip():
        return None
    value = value.strip()
    try:
        check_content_type(value)
    except ValueError as error:
        raise falcon.HTTPBadRequest(description=str(error)) from None
    return value
