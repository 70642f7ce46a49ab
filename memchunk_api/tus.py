"""/uploads: resumable uploads as tus 1.0 has them (https://tus.io/protocols/resumable-upload).

Core, and the extensions creation, creation-with-upload, expiration, checksum and
termination. What headers mean is read in `tusheaders`; the bytes are the library's
`uploads.append`. A finished upload is a file under /files.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import falcon

from memchunk import (
    MAX_FILE_BYTES,
    WRITE_BUFFER_BYTES,
    StorageFullError,
    Store,
    TooLargeError,
    Upload,
    UploadIncompleteError,
)
from memchunk.plan import LIFETIME_SECONDS
from memchunk.registry import wrong_offset
from memchunk_api import description, parameters, tusheaders
from memchunk_api.access import facts_of
from memchunk_api.body import Body, announced_length, essence
from memchunk_api.buffers import Budget
from memchunk_api.settings import Settings
from memchunk_api.tusheaders import Checked, Metadata

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,expiration,checksum,termination"
MEDIA_TYPE = "application/offset+octet-stream"


class Greeting:
    """Falcon middleware: each answer about uploads tells the version, be it a 401 or a 405."""

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Tell it before anything can go wrong."""
        if f"{req.path}/".startswith("/uploads/"):
            resp.set_header("Tus-Resumable", VERSION)


class Tus:
    """What both resources have in common."""

    acts: tuple[str, ...]  # the methods that mean something

    def __init__(self, store: Store, budget: Budget, settings: Settings) -> None:
        self._store = store
        self._budget = budget
        self._settings = settings

    def on_request(self, req: falcon.Request, resp: falcon.Response, **which: str) -> None:
        """Do what X-HTTP-Method-Override says; without it, what the method says."""
        method = (req.get_header("X-HTTP-Method-Override") or req.method).upper()
        if method not in self.acts:
            self._greet(req, resp)
            raise falcon.HTTPBadRequest(
                description="the method, or X-HTTP-Method-Override in its place, is one of "
                f"{', '.join(self.acts)} here, not {method:.20}"
            )
        act: Callable[..., None] = getattr(self, f"_{method.lower()}")
        act(req, resp, **which)

    def _options(self, req: falcon.Request, resp: falcon.Response, **_: str) -> None:
        """Tell what is supported."""
        resp.set_headers(
            {
                "Tus-Version": VERSION,
                "Tus-Extension": EXTENSIONS,
                "Tus-Max-Size": str(MAX_FILE_BYTES),
                "Tus-Checksum-Algorithm": ",".join(tusheaders.ALGORITHMS),
            }
        )
        resp.status = falcon.HTTP_204

    def _greet(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Raise a 412 unless client and server speak the same version."""
        resp.set_header("Cache-Control", "no-store")
        if req.get_header("Tus-Resumable") != VERSION:
            resp.set_header("Tus-Version", VERSION)
            raise falcon.HTTPPreconditionFailed(
                description=f"this server speaks tus {VERSION}; send Tus-Resumable: {VERSION}"
            )

    def _body(self, req: falcon.Request, name: str, size: int, offset: int = 0) -> Body | Checked:
        """The bytes from `offset` on, of `size` that were announced; none of them is read yet.

        Raises a 400, a 415, and `TooLargeError` for more than there is room for.
        """
        checksum = tusheaders.checksum(req.get_header("Upload-Checksum"))
        room = size - offset
        if (announced_length(req) or 0) > room:
            raise TooLargeError(
                f"{announced_length(req)} bytes from {offset} on are more than the {size} that "
                "were announced",
                name=name,
            )
        # One byte more than fits is let through, for the library to refuse.
        body = Body(req, patience=self._settings.body_timeout, limit=max(room, 0) + 1)
        return Checked(body, checksum) if checksum is not None else body

    def _append(
        self, upload: Upload, offset: int, body: Body | Checked, resp: falcon.Response
    ) -> int:
        """Store the body, from `offset` on; how many bytes are there then."""
        _tell_expiry(upload, resp)  # which is as late where this fails
        whole = isinstance(body, Checked)
        # the part that is being filled, and the one that is held back until all is right
        needed = min(upload.part_size * (2 if whole else 1), upload.size)
        with self._budget.reserve(needed):
            return self._store.uploads.append(upload.id, offset, body, whole=whole)

    def _finish(self, upload: Upload, resp: falcon.Response) -> None:
        """Make the file, all of whose bytes are there, and tell where it is."""
        try:
            with self._budget.reserve(min(WRITE_BUFFER_BYTES, upload.size)):
                info = self._store.uploads.finish(upload.id)
        except UploadIncompleteError as error:
            resp.delete_header("Upload-Offset")  # not any more
            raise StorageFullError(
                f"memcached evicted parts of {upload.name!r} before it was a file; "
                "give it more memory (-m)",
                name=upload.name,
            ) from error
        resp.set_header("Content-Location", description.location(info.name))
        resp.set_header("ETag", description.entity_tag(info))
        resp.delete_header("Upload-Expires")


class Uploads(Tus):
    """/uploads: where uploads begin."""

    acts = ("POST", "OPTIONS")
    on_post = on_options = Tus.on_request

    def _post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Create an upload; with a body, its first bytes are stored at once."""
        self._greet(req, resp)
        query = parameters.read(req, known={"ttl"})
        tusheaders.refuse_extensions(req.headers)
        size = tusheaders.length(req.get_header("Upload-Length"))
        raw = req.get_header("Upload-Metadata") or ""
        metadata = Metadata.read(raw)
        if "ttl" in query and metadata.ttl is not None:
            raise falcon.HTTPBadRequest(
                description="ttl is given twice, in the query and in Upload-Metadata"
            )
        name = metadata.name or description.invented_name(
            secrets.token_hex(16), metadata.content_type
        )
        facts_of(req.env).name = name
        has_body = announced_length(req) != 0
        if has_body:
            _check_media_type(req)
        body = self._body(req, name, size)
        upload = self._store.uploads.create(
            name,
            size,
            sha256=metadata.sha256,
            content_type=metadata.content_type,
            ttl=parameters.lifetime(query.get("ttl", metadata.ttl), self._settings.default_ttl),
            replace=metadata.replace,
            lifetime=LIFETIME_SECONDS,
            note=raw,
        )
        resp.status = falcon.HTTP_201
        resp.location = f"/uploads/{upload.id}"
        _tell_expiry(upload, resp)
        offset = self._append(upload, 0, body, resp) if has_body else 0
        resp.set_header("Upload-Offset", str(offset))
        if offset == size:
            self._finish(upload, resp)


class OneUpload(Tus):
    """/uploads/{id}: one upload."""

    acts = ("HEAD", "PATCH", "DELETE", "OPTIONS")
    # a client that can only send POST says in X-HTTP-Method-Override what it means
    on_head = on_patch = on_delete = on_options = on_post = Tus.on_request

    def _head(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        """Tell how many bytes are there."""
        self._greet(req, resp)
        upload = self._find(req, upload_id)
        offset = self._store.uploads.offset(upload_id)
        if upload.note:
            resp.set_header("Upload-Metadata", upload.note)
        resp.set_header("Upload-Length", str(upload.size))
        resp.set_header("Upload-Offset", str(offset))
        if not upload.finished:
            _tell_expiry(upload, resp)
            if offset == upload.size:  # whoever brought the last byte did not get as far
                self._finish(upload, resp)
        if offset == upload.size:
            resp.location = description.location(upload.name)

    def _patch(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        """Store the bytes of the body from `Upload-Offset` on."""
        self._greet(req, resp)
        parameters.read(req, known=())
        _check_media_type(req)
        offset = tusheaders.offset(req.get_header("Upload-Offset"))
        upload = self._find(req, upload_id)
        if (announced_length(req) or 0) > upload.size - offset:
            self._check_offset(upload, offset, resp)
        body = self._body(req, upload.name, upload.size, offset)
        if not upload.finished or offset != upload.size or announced_length(req) != 0:
            offset = self._append(upload, offset, body, resp)
        resp.set_header("Upload-Offset", str(offset))
        resp.status = falcon.HTTP_204
        if offset == upload.size:
            self._finish(upload, resp)
            resp.location = description.location(upload.name)

    def _delete(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        """Give the upload up. A file that it has become stays."""
        self._greet(req, resp)
        self._find(req, upload_id)
        self._store.uploads.abort(upload_id)
        resp.status = falcon.HTTP_204

    def _check_offset(self, upload: Upload, offset: int, resp: falcon.Response) -> None:
        """Raise a 409 for bytes that would go elsewhere: it comes before one for their number."""
        here = self._store.uploads.offset(upload.id)
        if offset != here:
            if not upload.finished:
                _tell_expiry(upload, resp)
            raise wrong_offset(upload, here, offset)

    def _find(self, req: falcon.Request, upload_id: str) -> Upload:
        upload = self._store.uploads.get(upload_id)
        facts_of(req.env).name = upload.name
        return upload


def _tell_expiry(upload: Upload, resp: falcon.Response) -> None:
    gone = datetime.now(UTC) + timedelta(seconds=upload.lifetime)
    resp.set_header("Upload-Expires", description.http_date(gone))


def _check_media_type(req: falcon.Request) -> None:
    if essence(req.content_type) != MEDIA_TYPE:
        raise falcon.HTTPUnsupportedMediaType(
            description=f"the bytes of an upload are sent as Content-Type: {MEDIA_TYPE}"
        )
