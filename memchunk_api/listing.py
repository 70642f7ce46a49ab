"""GET /files: which files there are, as JSON in pages or as plain lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from urllib.parse import urlencode

import falcon

from memchunk import FileInfo, Store
from memchunk_api import description, parameters
from memchunk_api.downloads import cut_off

DEFAULT_LIMIT = 100
MOST_LIMIT = 1000

_LIMIT = re.compile(r"[0-9]{1,4}")


class Listing:
    """One request for a list."""

    def __init__(self, store: Store, req: falcon.Request, resp: falcon.Response) -> None:
        """Read the request.

        Raises:
            falcon.HTTPBadRequest: its query cannot be read.
        """
        self._store = store
        self._req = req
        self._resp = resp
        self._query = parameters.read(req, known={"prefix", "after", "limit"})
        self._limit = read_limit(self._query.get("limit"))

    def send(self) -> None:
        """Answer in what the client prefers: JSON, or plain lines.

        Raises:
            InvalidNameError: no name can begin as the query says.
            UnavailableError: there is no telling which files there are.
            falcon.HTTPNotAcceptable: the client wants something else.
        """
        self._resp.set_header("Vary", "Accept")
        self._resp.set_header("Cache-Control", "no-cache")
        preferred = self._req.client_prefers(("application/json", "text/plain"))
        if preferred is None:
            raise falcon.HTTPNotAcceptable(
                description="a list is application/json or text/plain; say so in Accept"
            )
        if preferred == "application/json":
            files, following = self._page(self._limit or DEFAULT_LIMIT)
            listed = [description.as_json(info) for info in files]
            self._resp.media = {"files": listed, "next": following}
            return
        self._resp.content_type = falcon.MEDIA_TEXT
        if self._limit is not None:
            files, _ = self._page(self._limit)
            self._resp.data = _lines(files)
        else:
            self._stream()

    def _list(self, most: int | None) -> Iterator[FileInfo]:
        return self._store.list(
            self._query.get("prefix", ""), after=self._query.get("after"), limit=most
        )

    def _page(self, most: int) -> tuple[list[FileInfo], str | None]:
        """The next files, `most` at most, and the name to go on after, if there are more."""
        files = list(self._list(most + 1))
        if len(files) <= most:
            return files, None
        following = files[most - 1].name
        target = "/files?" + urlencode(self._query | {"after": following})
        self._resp.append_link(target, "next")
        return files[:most], following

    def _stream(self) -> None:
        """All names, some at a time; the first before the status is sent."""
        files = self._list(None)
        blocks = iter(lambda: _lines(islice(files, MOST_LIMIT)), b"")
        first = next(blocks, b"")
        if self._req.env.get("SERVER_PROTOCOL") == "HTTP/1.0":
            # Without chunks a list that breaks off would look like one that ends.
            self._resp.data = first + b"".join(blocks)
        else:
            self._resp.stream = cut_off(first, blocks, "the list of files")


def read_limit(value: str | None) -> int | None:
    """How many files a `limit` parameter asks for; None where there is none.

    Raises:
        falcon.HTTPBadRequest: it is not a whole number from 1 to 1000.
    """
    if value is None:
        return None
    if not _LIMIT.fullmatch(value) or not 1 <= int(value) <= MOST_LIMIT:
        raise falcon.HTTPBadRequest(description=f"limit is a whole number from 1 to {MOST_LIMIT}")
    return int(value)


def _lines(files: Iterable[FileInfo]) -> bytes:
    """One name per line; a name has no line break in it."""
    return "".join(f"{info.name}\n" for info in files).encode()
