"""Multipart forms (RFC 7578): the files and the name that they bring, as they come.

A part called `file` is a file, and the text of a part called `file_name` a name; what
else a page may send along is skipped. Nothing is kept of a file: reading from its source
moves its bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import falcon
from falcon.media.multipart import MultipartFormHandler, MultipartParseOptions
from falcon.util import BufferedReader

from memchunk_api.body import Body, media_type

# What may surround the file in a form: boundaries, headers, other fields.
FORM_OVERHEAD_BYTES = 64 * 1024
MOST_FORM_PARTS = 64

# A name has 512 bytes at most. These are more, so that who sends a longer one is told
# that of the name, and not something of the form.
_MOST_FIELD_BYTES = 16 * 1024
_MOST_HEADER_BYTES = 16 * 1024

# For bodies whose length is unknown: falcon's reader wants a number.
_UNKNOWN_LENGTH = 2**62


class Form:
    """A form, read part by part.

    Attributes:
        file_name: the text of the part called so, once it has come by; else None. It may
            stand before or after the file, and has surely come by when the last file has
            ended.
        at_end: called when all has come, and before the last file is known to have ended:
            what it raises goes to who reads that.
    """

    def __init__(self, body: Body, content_type: str, *, most_files: int) -> None:
        """Read the form up to the first byte of its first file.

        Raises:
            falcon.HTTPError: it is not a form, or has no file.
        """
        options = MultipartParseOptions()
        options.max_body_part_count = MOST_FORM_PARTS
        options.max_body_part_buffer_size = _MOST_FIELD_BYTES
        options.max_body_part_headers_size = _MOST_HEADER_BYTES
        self._reader = BufferedReader(body.read, _UNKNOWN_LENGTH)
        parts: Any = MultipartFormHandler(options).deserialize(self._reader, content_type, None)
        self._parts = iter(parts)
        self._most_files = most_files
        self._files = 0
        self.file_name: str | None = None
        self.at_end: Callable[[], object] = lambda: None
        self._upcoming = self._find_file()
        if self._upcoming is None:
            raise falcon.HTTPBadRequest(
                description="the form has no part called 'file'; send the file as one"
            )

    def next_file(self) -> FormFile | None:
        """The next file, or None after the last; the one before must have ended."""
        upcoming, self._upcoming = self._upcoming, None
        return FormFile(self, upcoming) if upcoming is not None else None

    def go_on(self) -> None:
        """Read up to the next file, or to the form's end and the body's.

        Raises:
            falcon.HTTPError: what comes is not the rest of a form, or is a file too many.
        """
        self._upcoming = self._find_file()
        if self._upcoming is None:
            while self._reader.read(FORM_OVERHEAD_BYTES):
                pass  # what follows the form means nothing, but has to arrive
            self.at_end()

    def _find_file(self) -> Any:
        """The next part called `file`, or None at the form's proper end."""
        try:
            for part in self._parts:
                if part.name == "file":
                    part.filename  # noqa: B018 - decoded now, while an error can still be told
                    self._files += 1
                    if self._files > self._most_files:
                        raise falcon.HTTPBadRequest(
                            description="the form has two parts called 'file'; one is wanted here"
                        )
                    return part
                if part.name == "file_name":
                    if self.file_name is not None:
                        raise falcon.HTTPBadRequest(description="the form has two 'file_name's")
                    self.file_name = part.get_data().decode()
        except UnicodeDecodeError:
            raise falcon.HTTPBadRequest(
                description="a name in the form is not UTF-8; encode it so"
            ) from None
        return None


class FormFile:
    """One file of a form, as a source.

    Attributes:
        filename: the last segment of the client's name for it, or None.
        content_type: the part's own, or None.
    """

    def __init__(self, form: Form, part: Any) -> None:
        self._form = form
        self._stream = part.stream
        self._has_ended = False
        self.filename = last_segment(_filename(part))
        declared = part._headers.get(b"content-type")
        self.content_type = media_type(declared.decode("latin-1") if declared else None)

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none once it is known that the file ends there.

        Raises what `Body.read` and `Form.go_on` raise.
        """
        if self._has_ended:
            return b""
        data = bytes(self._stream.read(size))
        if not data and size > 0:
            # The parser takes a file that ends with the body for a whole one; only
            # the boundary, found by going on, tells them apart.
            self._form.go_on()
            self._has_ended = True
        return data


def _filename(part: Any) -> str | None:
    filename: str | None = part.filename
    if filename is None or b"filename*" in part._headers[b"content-disposition"]:
        return filename
    # How browsers and curl write a quote (HTML, section 4.10.21.8, "multipart/form-data").
    # They leave a % as it is, so that a name with %22 in it cannot be told from one with ".
    return filename.replace("%22", '"')


def last_segment(filename: str | None) -> str | None:
    """What a client's filename names, without the directories it may come with."""
    if filename is None:
        return None
    return re.split(r"[/\\]", filename)[-1] or None
