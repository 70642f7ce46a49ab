"""/files: requests become calls of the store, results become answers.

What a request brings is read elsewhere (`receiving`, `conditional`, `parameters`), and
so is what an error looks like (`problems`).
"""

from __future__ import annotations

import secrets

import falcon

from memchunk import ChangedError, FileInfo, NotFoundError, Store
from memchunk.names import check_name
from memchunk_api import description, parameters, preconditions, problems
from memchunk_api.access import facts_of
from memchunk_api.buffers import Budget
from memchunk_api.changes import Change
from memchunk_api.downloads import Download
from memchunk_api.listing import Listing
from memchunk_api.metadata import amend, answer_amended, lasting
from memchunk_api.receiving import Upload, Writer
from memchunk_api.replacing import Replacement


class Files:
    """/files: files whose name is not in the path."""

    def __init__(self, store: Store, writer: Writer) -> None:
        self._store = store
        self._writer = writer

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List the files whose names begin with `?prefix=` and come after `?after=`.

        As JSON, `?limit=` of them (100 by default, 1000 at most) and the `next` name to go
        on after; as text/plain, one name per line, all of them or `limit`. Where a page is
        not the last, a Link header with rel="next" (RFC 8288) leads on.
        """
        Listing(self._store, req, resp).send()

    on_head = on_get

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Create a file called `?name=`, or as its form says, or anything.

        A form may bring several files, and without `?name=` all of them are created, one
        after the other: the answer lists them. Where one fails, those before it are
        deleted again.
        """
        query = parameters.read(req, known={"name", "ttl"})
        ttl = query.get("ttl")
        if "name" in query:
            facts_of(req.env).name = query["name"]
            info = self._writer.put(query["name"], self._writer.receive(req), ttl=ttl)
            answer_stored(resp, info)
            return
        stored: list[FileInfo] = []
        try:
            for upload in self._writer.receive_several(req):
                name = upload.filename
                if name is None:
                    name = description.invented_name(secrets.token_hex(16), upload.content_type)
                facts_of(req.env).name = name
                stored.append(self._writer.put(name, upload, ttl=ttl))
        except BaseException:
            problems.tell_stored(resp, self._writer.take_back(stored))
            raise
        if len(stored) == 1:
            answer_stored(resp, stored[0])
        else:
            resp.status = falcon.HTTP_201
            resp.media = {"files": [description.as_json(info) for info in stored]}


class File:
    """/files/{name}: one file."""

    def __init__(self, store: Store, budget: Budget, writer: Writer) -> None:
        self._store = store
        self._budget = budget
        self._writer = writer

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Send the file, or a range of it."""
        Download(self._store, self._budget, req, resp).send(name)

    def on_head(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Send what GET would send before the file."""
        Download(self._store, self._budget, req, resp).describe(name)

    def on_post(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Create the file; 409 where there is one."""
        query = parameters.read(req, known={"ttl"})
        check_name(name)
        preconditions.judge(self._store, name, preconditions.read(req))
        info = self._writer.put(name, self._writer.receive(req), ttl=query.get("ttl"))
        answer_stored(resp, info)

    def on_put(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Create the file, or replace the one there is; or rename it and change its type.

        An urlencoded body that was announced, has 8 KiB at most and is a form of nothing
        but `file_name`, `file_type` and `file_size_bytes` changes the name and the type of
        the file that is there; the size is only compared. Any other body is a file, though
        curl's --data-binary calls it urlencoded.

        In a multipart form a field `file_name` renames the file in the same step: the
        new content is stored under the path's name, and that is renamed.
        """
        query = parameters.read(req, known={"ttl"})
        ttl = query.get("ttl")
        check_name(name)
        conditions = preconditions.read(req)
        fields = self._writer.receive_fields(req)
        change = Change.from_form(fields) if fields is not None else None
        if change is not None:
            change = lasting(change, ttl)
            answer_amended(resp, name, amend(self._store, name, change, conditions))
            return
        replacement = Replacement(self._store, self._writer, name, conditions)
        upload = self._writer.receive(req) if fields is None else Upload.of_bytes(fields)
        info = replacement.put(upload, ttl=ttl)
        try:
            info = replacement.rename(info, upload)
        except (ChangedError, NotFoundError):
            raise  # nothing is left of it: somebody else has replaced or deleted it
        except BaseException:
            problems.tell_stored(resp, [name])
            raise
        answer_stored(resp, info)
        if info.name != name:
            resp.location = description.location(info.name)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Delete the file."""
        expected = preconditions.expectation(self._store, name, preconditions.read(req))
        self._store.delete(name, if_match=expected)
        resp.status = falcon.HTTP_204


def answer_stored(resp: falcon.Response, info: FileInfo) -> None:
    """201 with the new file's address, or 200 for one that replaced another."""
    resp.status = falcon.HTTP_200 if info.replaced else falcon.HTTP_201
    if not info.replaced:
        resp.location = description.location(info.name)
    resp.set_header("ETag", description.entity_tag(info))
    resp.media = description.as_json(info)
