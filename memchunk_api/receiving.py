"""What a request brings to be stored, and storing it.

`Writer.receive` says what is being uploaded, raw or in a form; `Writer.put` hands it to
the store, which moves its bytes: no temporary file, no copy of the whole.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Collection, Iterable, Iterator
from functools import partial
from typing import NamedTuple
from urllib.parse import quote

import falcon

from memchunk import (
    MAX_FILE_BYTES,
    WRITE_BUFFER_BYTES,
    ChangedError,
    FileInfo,
    MemchunkError,
    NotFoundError,
    Store,
)
from memchunk_api import parameters
from memchunk_api.body import (
    Body,
    Source,
    announced_digests,
    announced_length,
    essence,
    media_type,
)
from memchunk_api.buffers import SMALL_BYTES, Budget
from memchunk_api.forms import FORM_OVERHEAD_BYTES, MOST_FORM_PARTS, Form
from memchunk_api.settings import Settings
from memchunk_api.turns import moving

log = logging.getLogger("memchunk_api")

# All files of a form together: as much as a memcached of the default size could hold.
MOST_FORM_BYTES = 1024 * 1024 * 1024

# curl's --data and --data-binary say so of any bytes.
URLENCODED = "application/x-www-form-urlencoded"

# A name of 512 bytes takes 1536 where every byte is escaped.
MOST_FIELDS_BYTES = 8 * 1024


class Upload(NamedTuple):
    """A file on its way in.

    Attributes:
        source: the bytes; what it raises is an HTTP or a library error.
        length: how many bytes the client announced for the body, None if chunked.
        filename: the last segment of the name the client has for it, or None.
        content_type: what the client says it is; None where it does not say.
        sha256: the announced digest in hex, for the library to verify, or None.
        is_small: it is small, and the client waits for no word of ours to send it.
        form: the form that it is part of, or None.
    """

    source: Source
    length: int | None
    filename: str | None = None
    content_type: str | None = None
    sha256: str | None = None
    is_small: bool = False
    form: Form | None = None

    @classmethod
    def of_bytes(cls, data: bytes) -> Upload:
        """A file that has come already, and is small."""
        return cls(io.BytesIO(data), len(data), is_small=True)


class Writer:
    """Puts the files that a request brings into the store."""

    def __init__(self, store: Store, budget: Budget, settings: Settings) -> None:
        self._store = store
        self._budget = budget
        self._settings = settings

    def receive(self, req: falcon.Request) -> Upload:
        """The one file in a request; of a raw body nothing is read yet.

        Raises:
            falcon.HTTPError: the headers, or what came of a form, cannot be used.
            TooLargeError: the body is announced as larger than any file.
        """
        if is_form(req):
            return next(self._receive_form(req, MAX_FILE_BYTES + FORM_OVERHEAD_BYTES, most_files=1))
        content_type = media_type(req.content_type)
        # The library hashes with sha256 in any case; other digests are verified by the body.
        announced = announced_digests(req)
        sha256 = next((digest for name, digest in announced if name == "sha-256"), None)
        others = [pair for pair in announced if pair != ("sha-256", sha256)]
        body = self._body(req, MAX_FILE_BYTES, others)
        return Upload(
            body,
            body.length,
            content_type=content_type if essence(content_type) != URLENCODED else None,
            sha256=sha256.hex() if sha256 is not None else None,
            is_small=_is_small(req, body),
        )

    def receive_fields(self, req: falcon.Request) -> bytes | None:
        """The whole body, if it could be a small urlencoded form; else None, and nothing is read.

        Raises:
            falcon.HTTPError: the headers cannot be used, or the body does not arrive.
            DigestMismatchError: it is not what was announced.
        """
        if essence(req.content_type) != URLENCODED:
            return None
        length = announced_length(req)
        if length is None or length > MOST_FIELDS_BYTES:
            return None
        return self._body(req, MOST_FIELDS_BYTES, announced_digests(req)).read_whole()

    def receive_several(self, req: falcon.Request) -> Iterator[Upload]:
        """The files in a request, each once the one before has been put. Raises as `receive`."""
        if is_form(req):
            return self._receive_form(req, MOST_FORM_BYTES, most_files=MOST_FORM_PARTS)
        return iter([self.receive(req)])

    def _receive_form(
        self, req: falcon.Request, limit: int, *, most_files: int
    ) -> Iterator[Upload]:
        body = self._body(req, limit, announced_digests(req))
        form = Form(body, str(media_type(req.content_type)), most_files=most_files)
        while (file := form.next_file()) is not None:
            yield Upload(
                file,
                body.length,
                file.filename,
                file.content_type,
                is_small=_is_small(req, body),
                form=form,
            )

    def _body(
        self, req: falcon.Request, limit: int, announced: Iterable[tuple[str, bytes]]
    ) -> Body:
        return Body(req, patience=self._settings.body_timeout, limit=limit, announced=announced)

    def put(
        self,
        name: str,
        upload: Upload,
        *,
        ttl: str | None,
        replace: bool = False,
        if_match: Collection[str] | None = None,
    ) -> FileInfo:
        """Store an upload, in as much memory as the budget has for it: see `Store.put`."""
        store = partial(
            self._store.put,
            name,
            replace=replace,
            if_match=if_match,
            ttl=parameters.lifetime(ttl, self._settings.default_ttl),
            content_type=upload.content_type,
            sha256=upload.sha256,
        )
        if upload.is_small:
            # In memory, it travels together with the question what stands under the name.
            return store(b"".join(iter(lambda: upload.source.read(SMALL_BYTES), b"")))
        needed = WRITE_BUFFER_BYTES
        if upload.length is not None:
            needed = min(needed, upload.length)
        with self._budget.reserve(needed), moving(needed):
            return store(upload.source)

    def take_back(self, stored: Iterable[FileInfo]) -> list[str]:
        """Delete what was just created; the names of those that could not be deleted."""
        remaining: list[str] = []
        for info in stored:
            try:
                self._store.delete(info.name, if_match={info.sha256})
            except (NotFoundError, ChangedError):
                pass  # it is somebody else's by now
            except MemchunkError as error:
                log.warning("cannot take back %s: %s", quote(info.name), error)
                remaining.append(info.name)
        return remaining


def is_form(req: falcon.Request) -> bool:
    """Whether the request's body is a multipart form."""
    return essence(req.content_type) == "multipart/form-data"


def _is_small(req: falcon.Request, body: Body) -> bool:
    length = body.length
    return length is not None and length <= SMALL_BYTES and "HTTP_EXPECT" not in req.env
