"""/files and /metadata: requests become calls of the store, results become answers.

What a request brings is read elsewhere (`receiving`, `conditional`, `parameters`), and
so is what an error looks like (`problems`).
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from contextlib import suppress

import falcon

from memchunk import (
    AlreadyExistsError,
    CorruptError,
    EvictedError,
    FileInfo,
    NotFoundError,
    Store,
)
from memchunk.names import check_name
from memchunk_api import description, parameters, problems
from memchunk_api.buffers import Budget
from memchunk_api.conditional import Preconditions, Verdict
from memchunk_api.downloads import Download, failed, preconditions, validators
from memchunk_api.receiving import Writer


class Files:
    """/files: files whose name is not in the path."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Create a file called `?name=`, or as its form says, or anything.

        A form may bring several files, and without `?name=` all of them are created, one
        after the other: the answer lists them. Where one fails, those before it are
        deleted again.
        """
        query = parameters.read(req, known={"name", "ttl"})
        ttl = query.get("ttl")
        if "name" in query:
            info = self._writer.put(query["name"], self._writer.receive(req), ttl=ttl)
            answer_stored(resp, info)
            return
        stored: list[FileInfo] = []
        try:
            for upload in self._writer.receive_several(req):
                name = upload.filename
                if name is None:
                    name = description.invented_name(secrets.token_hex(16), upload.content_type)
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
        self._judge(name, preconditions(req))
        info = self._writer.put(name, self._writer.receive(req), ttl=query.get("ttl"))
        answer_stored(resp, info)

    def on_put(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Create the file, or replace the one there is."""
        query = parameters.read(req, known={"ttl"})
        check_name(name)
        conditions = preconditions(req)
        current = self._judge(name, conditions)
        upload = self._writer.receive(req)
        ttl = query.get("ttl")
        if not conditions:
            info = self._writer.put(name, upload, ttl=ttl, replace=True)
        else:
            # The verdict was on `current`: it has to be what is replaced, or nothing is.
            expected = {current.sha256} if current is not None else None
            try:
                info = self._writer.put(name, upload, ttl=ttl, if_match=expected)
            except (AlreadyExistsError, NotFoundError):
                raise failed(name) from None
        answer_stored(resp, info)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Delete the file."""
        conditions = preconditions(req)
        expected: Collection[str] | None = None
        tags = conditions.if_match
        if tags is not None and not tags.any and conditions == Preconditions(if_match=tags):
            # Also for a file that lost chunks, which `stat` would not describe.
            expected = tags.strong_values()
        elif conditions:
            info = self._store.stat(name)
            if conditions.evaluate(validators(info), reading=False) is Verdict.FAILED:
                raise failed(name)
            expected = {info.sha256}
        self._store.delete(name, if_match=expected)
        resp.status = falcon.HTTP_204

    def _judge(self, name: str, conditions: Preconditions) -> FileInfo | None:
        """The file that a write would replace, if its preconditions hold on it.

        Without preconditions nothing is looked up. A damaged file counts as none, so
        that storing it again "if there is none" heals it.

        Raises:
            ChangedError: they do not hold.
        """
        if not conditions:
            return None
        current: FileInfo | None = None
        with suppress(NotFoundError, EvictedError, CorruptError):
            current = self._store.stat(name)
        known = validators(current) if current is not None else None
        if conditions.evaluate(known, reading=False) is Verdict.FAILED:
            raise failed(name)
        return current


class Metadata:
    """/metadata/{name}: what is known of a file."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """The file's facts, as JSON."""
        resp.media = description.as_json(self._store.stat(name))
        resp.set_header("Cache-Control", "no-cache")

    on_head = on_get


def answer_stored(resp: falcon.Response, info: FileInfo) -> None:
    """201 with the new file's address, or 200 for one that replaced another."""
    resp.status = falcon.HTTP_200 if info.replaced else falcon.HTTP_201
    if not info.replaced:
        resp.location = description.location(info.name)
    resp.set_header("ETag", description.entity_tag(info))
    resp.media = description.as_json(info)
