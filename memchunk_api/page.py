"""The page: GET / and what it loads from /static, all of it shipped in the package.

Read once, when the application is made, so that a request touches no file system
and a path can name nothing else. What the page does is written in `static/`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import falcon

from memchunk_api import preconditions

DIRECTORY = Path(__file__).parent / "static"

# Not asked of the system, whose tables differ. What has no type here is not sent.
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

HEADERS = {
    # A browser keeps it and asks each time whether it is still this one: a new
    # version of the page must never run with a script of the old one.
    "Cache-Control": "no-cache",
    # Nothing runs, loads or is sent but from here and to here, and no text becomes HTML.
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            "connect-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that the page consists of.

    Attributes:
        content: its bytes.
        content_type: its media type.
        tag: the value of its entity tag, without quotes.
    """

    content: bytes
    content_type: str
    tag: str

    @classmethod
    def load(cls, path: Path) -> Asset:
        """Read one; its name's ending says what it is."""
        content = path.read_bytes()
        return cls(content, MEDIA_TYPES[path.suffix], hashlib.sha256(content).hexdigest())

    def answer(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Send it, or 304 to who has it."""
        known = preconditions.read(req).if_none_match
        resp.set_headers({**HEADERS, "ETag": f'"{self.tag}"'})
        if known is not None and (known.any or self.tag in known.weak_values()):
            resp.status = falcon.HTTP_304
            return
        resp.content_type = self.content_type
        resp.data = self.content


class Page:
    """/: the page itself."""

    def __init__(self) -> None:
        self._index = Asset.load(DIRECTORY / "index.html")

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Send the page."""
        self._index.answer(req, resp)

    on_head = on_get


class Static:
    """/static/{file}: its style, its scripts and its icon."""

    def __init__(self) -> None:
        self._assets = {
            path.name: Asset.load(path)
            for path in DIRECTORY.iterdir()
            if path.suffix in MEDIA_TYPES
        }

    def on_get(self, req: falcon.Request, resp: falcon.Response, file: str) -> None:
        """Send one of them.

        Raises:
            falcon.HTTPNotFound: there is none of this name.
        """
        if file not in self._assets:
            raise falcon.HTTPNotFound
        self._assets[file].answer(req, resp)

    on_head = on_get
