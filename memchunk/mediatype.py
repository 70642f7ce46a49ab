"""The media type of a file, where nobody says what it is."""

from __future__ import annotations

import mimetypes

DEFAULT_CONTENT_TYPE = "application/octet-stream"


def guess_content_type(name: str) -> str:
    """The media type that the ending of `name` stands for."""
    last = name.rpartition("/")[2]
    if "." not in last:
        return DEFAULT_CONTENT_TYPE
    guessed, encoding = mimetypes.guess_type("/" + last)
    return DEFAULT_CONTENT_TYPE if guessed is None or encoding is not None else guessed
