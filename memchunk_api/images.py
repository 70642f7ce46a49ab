"""/image: the ASCII-image protocol, in which a client announces a text and sends it in chunks.

An image is an upload whose id is its sha256, and then a file like any other, called
`image/` and the sha256. The chunk that completes it finishes it, before it is answered;
where that was not possible, whoever asks for the image finishes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import falcon

from memchunk import (
    MAX_FILE_BYTES,
    WRITE_BUFFER_BYTES,
    AlreadyExistsError,
    CorruptError,
    DigestMismatchError,
    EvictedError,
    FileInfo,
    Landing,
    NotFoundError,
    Store,
    TooLargeError,
    Upload,
    UploadIncompleteError,
)
from memchunk.plan import MAX_PART_BYTES, MAX_PARTS
from memchunk_api import documents, parameters
from memchunk_api.body import announced_length
from memchunk_api.buffers import SMALL_BYTES, Budget
from memchunk_api.downloads import Download
from memchunk_api.settings import Settings

CONTENT_TYPE = "text/plain; charset=utf-8"
MOST_REGISTRATION_BYTES = 4 * 1024

# A byte of text takes six where it is written as \u0061. Beside the data there are the
# other members, and white space.
ESCAPED_BYTES = 6
MOST_BYTES_BESIDE = 1024

# A large body is there three times at one moment: as it came, as text, and as UTF-8.
COPIES = 3

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Images:
    """/image."""

    def __init__(self, store: Store, budget: Budget, settings: Settings) -> None:
        self._store = store
        self._budget = budget
        self._settings = settings

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Announce an image: its `sha256`, its `size` in bytes of UTF-8, its `chunk_size`."""
        query = parameters.read(req, known={"ttl"})
        members = documents.receive(
            req,
            known=("sha256", "size", "chunk_size"),
            limit=MOST_REGISTRATION_BYTES,
            patience=self._settings.body_timeout,
        )
        sha256 = members.get("sha256")
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256.lower()):
            raise falcon.HTTPBadRequest(description="sha256 is a string of 64 hex digits")
        sha256 = sha256.lower()
        if type(members.get("size")) is int and members["size"] > MAX_FILE_BYTES:
            raise TooLargeError(f"an image has at most {MAX_FILE_BYTES} bytes (50 MiB)")
        try:
            upload = self._store.uploads.create(
                _name(sha256),
                _integer(members, "size", 0, MAX_FILE_BYTES),
                _integer(members, "chunk_size", 1, MAX_PART_BYTES),
                sha256,
                content_type=CONTENT_TYPE,
                ttl=parameters.lifetime(query.get("ttl"), self._settings.default_ttl),
                upload_id=sha256,
            )
        except AlreadyExistsError:
            _check_room(self._store, sha256)
            raise AlreadyExistsError(
                f"image {sha256} is registered already; send its chunks, or get it"
            ) from None
        except ValueError as error:
            raise falcon.HTTPBadRequest(description=str(error)) from None
        if not upload.part_count:
            _finish(self._store, self._budget, upload)
        resp.status = falcon.HTTP_201
        resp.location = f"/image/{sha256}"
        resp.media = {
            "sha256": sha256,
            "size": upload.size,
            "chunk_size": upload.part_size,
            "chunk_count": upload.part_count,
        }


class Chunks:
    """/image/{sha256}/chunks."""

    def __init__(self, store: Store, budget: Budget, settings: Settings) -> None:
        self._store = store
        self._budget = budget
        self._settings = settings

    def on_post(self, req: falcon.Request, resp: falcon.Response, sha256: str) -> None:
        """Store a chunk: its `id` from 0, its `size` in bytes of UTF-8, its `data`."""
        parameters.read(req, known=())
        sha256 = sha256.lower()
        try:
            upload = self._store.uploads.recall(sha256)
            length = announced_length(req) or 0
            if length > _most_bytes(upload):  # unless it has been registered anew
                upload = self._store.uploads.get(sha256)
            if length <= SMALL_BYTES:
                index, landing = self._receive(req, upload)
            else:
                with self._budget.reserve(COPIES * min(length, _most_bytes(upload))):
                    index, landing = self._receive(req, upload)
        except (NotFoundError, AlreadyExistsError):
            raise self._over(sha256) from None
        if landing.complete:
            _finish(self._store, self._budget, upload)
        if not landing.stored:
            raise AlreadyExistsError(f"chunk {index} of image {sha256} is there already")
        resp.status = falcon.HTTP_201
        resp.data = b'{"id": %d}' % index

    def _receive(self, req: falcon.Request, upload: Upload) -> tuple[int, Landing]:
        """Read a chunk and store it: its index, and what became of it."""
        members = documents.receive(
            req,
            known=("id", "size", "data"),
            limit=_most_bytes(upload),
            patience=self._settings.body_timeout,
        )
        index = _integer(members, "id", 0, MAX_PARTS - 1)
        size = _integer(members, "size", 1, MAX_PART_BYTES)
        text = members.get("data")
        if not isinstance(text, str):
            raise falcon.HTTPBadRequest(description="data is a string")
        try:
            data = text.encode()
        except UnicodeEncodeError:
            raise falcon.HTTPBadRequest(
                description="data has half of a surrogate pair, which is no text"
            ) from None
        if len(data) != size:
            raise falcon.HTTPBadRequest(
                description=f"size is {size}, but data has {len(data)} bytes in UTF-8"
            )
        try:
            return index, self._store.uploads.put_part(upload.id, index, data)
        except ValueError as error:
            raise falcon.HTTPBadRequest(description=str(error)) from None

    def _over(self, sha256: str) -> AlreadyExistsError | NotFoundError:
        """The error for a chunk of an image that takes none: it is there, or is not known.

        Raises:
            AlreadyExistsError: another file stands in its place.
        """
        _check_room(self._store, sha256)
        if _name(sha256) in self._store:
            return AlreadyExistsError(f"image {sha256} is complete; get it")
        return NotFoundError(f"image {sha256} is not registered; register it (POST /image)")


class Image:
    """/image/{sha256}."""

    def __init__(self, store: Store, budget: Budget) -> None:
        self._store = store
        self._budget = budget

    def on_get(self, req: falcon.Request, resp: falcon.Response, sha256: str) -> None:
        """Send the image."""
        self._answer(req, resp, sha256.lower(), ImageDownload.send)

    def on_head(self, req: falcon.Request, resp: falcon.Response, sha256: str) -> None:
        """Send what GET would send before the image."""
        self._answer(req, resp, sha256.lower(), ImageDownload.describe)

    def _answer(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        sha256: str,
        answer: Callable[[ImageDownload, str], None],
    ) -> None:
        download = ImageDownload(self._store, self._budget, req, resp)
        try:
            answer(download, _name(sha256))
        except (NotFoundError, EvictedError, CorruptError):
            if not self._complete(sha256):
                raise
            answer(download, _name(sha256))
        resp.content_type = CONTENT_TYPE

    def _complete(self, sha256: str) -> bool:
        """Finish an image whose chunks are all there; False where none is under way.

        Raises:
            NotFoundError: chunks are missing.
            DigestMismatchError: they are not the image. It is no longer registered, and
                nobody else is told.
        """
        uploads = self._store.uploads
        try:
            upload = uploads.get(sha256)
        except (NotFoundError, CorruptError):
            return False
        try:
            if not upload.finished and not uploads.is_complete(sha256):
                raise _incomplete(sha256)
            with self._budget.reserve(min(upload.size, WRITE_BUFFER_BYTES)):
                uploads.finish(sha256)
        except AlreadyExistsError:
            pass  # it has just been finished, or some other file has its name
        except UploadIncompleteError:
            raise _incomplete(sha256) from None
        except DigestMismatchError:
            uploads.abort(sha256)
            raise DigestMismatchError(
                f"the chunks do not have the sha256 {sha256}; register the image again, "
                "and send them anew"
            ) from None
        return True


class ImageDownload(Download):
    """A download of nothing but the bytes that the sha256 in its name stands for."""

    def _check(self, info: FileInfo) -> None:
        if info.name != _name(info.sha256):
            raise NotFoundError(f"{info.name!r} is a file, but not that image")
        super()._check(info)


def _name(sha256: str) -> str:
    """The name that an image has as a file."""
    return f"image/{sha256}"


def _integer(members: dict[str, Any], member: str, least: int, most: int) -> int:
    value = members.get(member)
    if type(value) is not int or not least <= value <= most:
        raise falcon.HTTPBadRequest(
            description=f"{member} is a whole number from {least} to {most}"
        )
    return value


def _most_bytes(upload: Upload) -> int:
    """How large the body of a request with a chunk may be."""
    return ESCAPED_BYTES * min(upload.part_size, upload.size) + MOST_BYTES_BESIDE


def _incomplete(sha256: str) -> NotFoundError:
    return NotFoundError(f"image {sha256} is not complete; send the chunks that are missing")


def _finish(store: Store, budget: Budget, upload: Upload) -> None:
    """Make the image a file.

    A wrong sha256 is for the one who asks for the image to hear; and where memcached lost
    a chunk in the last moment, it can be sent again.

    Raises:
        AlreadyExistsError: another file stands in its place.
    """
    try:
        with budget.reserve(min(upload.size, WRITE_BUFFER_BYTES)):
            store.uploads.finish(upload.id)
    except (DigestMismatchError, UploadIncompleteError, NotFoundError):
        pass
    except AlreadyExistsError:
        _check_room(store, upload.id)


def _check_room(store: Store, sha256: str) -> None:
    """Raise an `AlreadyExistsError` where a file has the name of an image that it is not."""
    name = _name(sha256)
    with suppress(NotFoundError, EvictedError, CorruptError):
        if store.stat(name).sha256 != sha256:
            raise AlreadyExistsError(
                f"another file is called {name!r}, as the image would be; "
                f"delete it (DELETE /files/{name}), then try again",
                name=name,
            )
