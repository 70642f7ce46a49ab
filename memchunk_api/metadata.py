"""/metadata/{name}: what is known of a file, and changing it.

`amend` is the one way to change it, also for forms that come to /files.
"""

from __future__ import annotations

from dataclasses import replace as changed_copy

import falcon

from memchunk import KEEP, FileInfo, Store
from memchunk.names import check_name
from memchunk_api import description, documents, parameters, preconditions
from memchunk_api.changes import MEMBERS, Change
from memchunk_api.conditional import Preconditions
from memchunk_api.settings import Settings

# RFC 7396. With plain JSON it means the same.
MERGE_PATCH = "application/merge-patch+json"
MEDIA_TYPES = ("application/json", MERGE_PATCH)

# A name of 512 bytes takes 3072 where every character is escaped.
MOST_PATCH_BYTES = 8 * 1024


class Metadata:
    """/metadata/{name}."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._patience = settings.body_timeout

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """The file's facts, as JSON."""
        resp.media = description.as_json(self._store.stat(name))
        resp.set_header("Cache-Control", "no-cache")

    on_head = on_get

    def on_patch(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Change the file's `name`, `content_type` or `ttl`, all in one step.

        `ttl` counts from now, in seconds; null makes the file stay. With `replace`, it may
        take the place of another file that is called `name`. Preconditions are
        about the file, as they are for /files.
        """
        query = parameters.read(req, known={"ttl"})
        check_name(name)
        conditions = preconditions.read(req)
        try:
            members = documents.receive(
                req,
                known=MEMBERS,
                limit=MOST_PATCH_BYTES,
                patience=self._patience,
                media_types=MEDIA_TYPES,
            )
        except falcon.HTTPUnsupportedMediaType:
            resp.set_header("Accept-Patch", ", ".join(MEDIA_TYPES))  # RFC 5789 section 2.2
            raise
        change = lasting(Change.from_members(members), query.get("ttl"))
        answer_amended(resp, name, amend(self._store, name, change, conditions))


def amend(store: Store, name: str, change: Change, conditions: Preconditions) -> FileInfo:
    """Make a change in one step, if the preconditions of its request hold.

    Raises:
        falcon.HTTPBadRequest: the file has not the size that `change` says.
        MemchunkError: see `Store.update`; `ChangedError` where a precondition fails.
    """
    expected = preconditions.expectation(store, name, conditions)
    if change.size is not None:
        info = store.stat(name)
        if info.size != change.size:
            raise falcon.HTTPBadRequest(
                description=f"{name!r} has {info.size} bytes, not {change.size}; "
                "to change them, send the whole file"
            )
        expected = {info.sha256} if expected is None else {info.sha256}.intersection(expected)
    return store.update(
        name,
        new_name=change.new_name,
        content_type=change.content_type,
        ttl=change.ttl,
        replace=change.replace,
        if_match=expected,
    )


def lasting(change: Change, ttl: str | None) -> Change:
    """The change, with the lifetime that a query asks for, if it does.

    Raises:
        falcon.HTTPBadRequest: it is none, or the change has one already.
    """
    if ttl is None:
        return change
    if change.ttl is not KEEP:
        raise falcon.HTTPBadRequest(description="ttl is given twice, in the query and in the body")
    return changed_copy(change, ttl=parameters.lifetime(ttl, None))


def answer_amended(resp: falcon.Response, name: str, info: FileInfo) -> None:
    """200, and where the file called `name` is now if it is called otherwise."""
    resp.media = description.as_json(info)
    if info.name != name:
        resp.location = description.location(info.name)
        # RFC 9110 section 8.7: what the answer holds is what a GET of this would.
        resp.set_header("Content-Location", description.metadata_location(info.name))
