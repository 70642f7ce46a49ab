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

from memchunk import MAX_FILE_BYTES, WRITE_BUFFER_BYTES, Store, TooLargeError, Upload
from memchunk.plan import LIFETIME_SECONDS
from memchunk_api import description, parameters, tusheaders
from memchunk_api.access import facts_of
from memchunk_api.body import Body, announced_length, essence
from memchunk_api.buffers import Budget
from memchunk_api.settings import Settings
from memchunk_api.tusheaders import Checked, Metadata

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,expiration,checksum,termination"
PART_BYTES = 64 * 1024  # what a PATCH holds; of a slow one, what is written again each time
MEDIA_TYPE = "application/offset+octet-stream"


class Tus:
    """What both resources have in common."""

    def __init__(self, store: Store, budget: Budget, settings: Settings) -> None:
        self._store = store
        self._budget = budget
        self._settings = settings

    def on_options(self, req: falcon.Request, resp: falcon.Response, **_: str) -> None:
        """Tell what is supported."""
        resp.set_headers(
            {
                "Tus-Resumable": VERSION,
                "Tus-Version": VERSION,
                "Tus-Extension": EXTENSIONS,
                "Tus-Max-Size": str(MAX_FILE_BYTES),
                "Tus-Checksum-Algorithm": ",".join(tusheaders.ALGORITHMS),
            }
        )
        resp.status = falcon.HTTP_204

    def _greet(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Raise a 412 unless client and server speak the same version."""
        resp.set_header("Tus-Resumable", VERSION)
        resp.set_header("Cache-Control", "no-store")
        if req.get_header("Tus-Resumable") != VERSION:
            resp.set_header("Tus-Version", VERSION)
            raise falcon.HTTPPreconditionFailed(
                description=f"this server speaks tus {VERSION}; send Tus-Resumable: {VERSION}"
            )

    def _append(self, req: falcon.Request, upload: Upload, offset: int) -> int:
        """Store the body of the request, from `offset` on; how many bytes are there then."""
        checksum = tusheaders.checksum(req.get_header("Upload-Checksum"))
        room = upload.size - offset
        if (announced_length(req) or 0) > room:
            raise TooLargeError(
                f"{announced_length(req)} bytes from {offset} on are more than the {upload.size} "
                "that were announced",
                name=upload.name,
            )
        # One byte more than fits is let through, for the library to refuse.
        body = Body(req, patience=self._settings.body_timeout, limit=max(room, 0) + 1)
        source = Checked(body, checksum) if checksum is not None else body
        return self._store.uploads.append(upload.id, offset, source, whole=checksum is not None)

    def _finish(self, upload: Upload, resp: falcon.Response) -> None:
        """Make the file, all of whose bytes are there, and tell where it is."""
        with self._budget.reserve(min(WRITE_BUFFER_BYTES, upload.size)):
            info = self._store.uploads.finish(upload.id)
        resp.set_header("Content-Location", description.location(info.name))
        resp.set_header("ETag", description.entity_tag(info))

    def _tell(self, upload: Upload, offset: int, resp: falcon.Response) -> None:
        resp.set_header("Upload-Offset", str(offset))
        if not upload.finished and offset < upload.size:
            gone = datetime.now(UTC) + timedelta(seconds=upload.lifetime)
            resp.set_header("Upload-Expires", description.http_date(gone))


class Uploads(Tus):
    """/uploads: where uploads begin."""

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Create an upload; with a body, its first bytes are stored at once."""
        self._greet(req, resp)
        tusheaders.refuse_extensions(req.headers)
        size = tusheaders.length(req.get_header("Upload-Length"))
        raw = req.get_header("Upload-Metadata") or ""
        metadata = Metadata.read(raw)
        name = metadata.name or description.invented_name(
            secrets.token_hex(16), metadata.content_type
        )
        facts_of(req.env).name = name
        has_body = announced_length(req) != 0
        if has_body:
            _check_media_type(req)
        upload = self._store.uploads.create(
            name,
            size,
            PART_BYTES,
            metadata.sha256,
            content_type=metadata.content_type,
            ttl=parameters.lifetime(metadata.ttl, self._settings.default_ttl),
            replace=metadata.replace,
            lifetime=LIFETIME_SECONDS,
            note=raw,
        )
        resp.status = falcon.HTTP_201
        resp.location = f"/uploads/{upload.id}"
        offset = self._append(req, upload, 0) if has_body else 0
        self._tell(upload, offset, resp)
        if offset == size:
            self._finish(upload, resp)


class OneUpload(Tus):
    """/uploads/{id}: one upload."""

    def on_head(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        """Tell how many bytes are there."""
        self._greet(req, resp)
        upload = self._find(req, upload_id)
        offset = self._store.uploads.offset(upload_id)
        if upload.note:
            resp.set_header("Upload-Metadata", upload.note)
        resp.set_header("Upload-Length", str(upload.size))
        self._tell(upload, offset, resp)
        if upload.finished:
            resp.location = description.location(upload.name)
        elif offset == upload.size:
            # Whoever brought the last byte did not get as far.
            self._finish(upload, resp)
            resp.location = description.location(upload.name)

    def on_patch(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        """Store the bytes of the body from `Upload-Offset` on."""
        self._greet(req, resp)
        _check_media_type(req)
        offset = tusheaders.offset(req.get_header("Upload-Offset"))
        upload = self._find(req, upload_id)
        if not upload.finished or offset != upload.size or announced_length(req) != 0:
            offset = self._append(req, upload, offset)
        self._tell(upload, offset, resp)
        resp.status = falcon.HTTP_204
        if offset == upload.size:
            self._finish(upload, resp)
            resp.location = description.location(upload.name)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        """Give the upload up. A file that it has become stays."""
        self._greet(req, resp)
        self._find(req, upload_id)
        self._store.uploads.abort(upload_id)
        resp.status = falcon.HTTP_204

    def on_post(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        """Do what X-HTTP-Method-Override says, for those who can only send POST."""
        methods: dict[str, Callable[..., None]] = {
            "HEAD": self.on_head,
            "PATCH": self.on_patch,
            "DELETE": self.on_delete,
        }
        method = methods.get((req.get_header("X-HTTP-Method-Override") or "").upper())
        if method is None:
            self._greet(req, resp)
            raise falcon.HTTPBadRequest(
                description="a POST here says in X-HTTP-Method-Override what it means: "
                "HEAD, PATCH or DELETE"
            )
        method(req, resp, upload_id)

    def _find(self, req: falcon.Request, upload_id: str) -> Upload:
        upload = self._store.uploads.get(upload_id)
        facts_of(req.env).name = upload.name
        return upload


def _check_media_type(req: falcon.Request) -> None:
    if essence(req.content_type) != MEDIA_TYPE:
        raise falcon.HTTPUnsupportedMediaType(
            description=f"the bytes of an upload are sent as Content-Type: {MEDIA_TYPE}"
        )
