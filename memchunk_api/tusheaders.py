"""The headers of tus, read strictly: numbers, metadata, checksums.

Pure but for `Checked`, which hashes what it passes on.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import falcon

from memchunk import MAX_FILE_BYTES, TooLargeError
from memchunk.checksum import crc32
from memchunk.manifest import check_content_type, check_sha256
from memchunk.names import check_name
from memchunk.plan import MAX_NOTE_CHARS
from memchunk_api.forms import last_segment

CHECKSUM_MISMATCH = "460 Checksum Mismatch"
ALGORITHMS = ("sha1", "sha256", "crc32")

_KNOWN = frozenset({"name", "filename", "filetype", "ttl", "sha256", "replace"})
_NUMBER = re.compile(r"[0-9]{1,19}")
# "filename ZGF0YQ==,is_public": a key without spaces and commas, a value in base64 if any
_PAIR = re.compile(r"([!-+\--~]+)(?: ([A-Za-z0-9+/]*={0,2}))?")


def refuse_extensions(headers: Mapping[str, str]) -> None:
    """Raise a 400 for an upload that is only a part of a file, or whose length is not known yet.

    Without the extension, a part would become a file.
    """
    for header in ("UPLOAD-CONCAT", "UPLOAD-DEFER-LENGTH"):
        if header in headers:
            raise falcon.HTTPBadRequest(
                description=f"{header.title()} is not supported: announce one whole file, with "
                "its Upload-Length"
            )


def length(value: str | None) -> int:
    """What Upload-Length says. Raises a 400, and `TooLargeError` for more than 50 MiB."""
    size = _number("Upload-Length", value)
    if size > MAX_FILE_BYTES:
        raise TooLargeError(f"a file has at most {MAX_FILE_BYTES} bytes (50 MiB), not {size}")
    return size


def offset(value: str | None) -> int:
    """What Upload-Offset says. Raises a 400."""
    return _number("Upload-Offset", value)


def _number(header: str, value: str | None) -> int:
    if value is None or not _NUMBER.fullmatch(value):
        raise falcon.HTTPBadRequest(description=f"{header} is a whole number of bytes; send it")
    return int(value)


@dataclass(frozen=True, slots=True)
class Metadata:
    """What Upload-Metadata says of a file; keys that are not known here are only kept.

    Attributes:
        name: from `name`, which is taken as it is, or else the last segment of `filename`.
        content_type: from `filetype`; None where it is empty or missing.
        ttl: seconds, as text.
        sha256: the digest that the bytes must have, in hex.
        replace: whether a file of that name may be replaced: `replace`, empty or "true".
    """

    name: str | None = None
    content_type: str | None = None
    ttl: str | None = None
    sha256: str | None = None
    replace: bool = False

    @classmethod
    def read(cls, value: str) -> Metadata:
        """Raises a 400, and `InvalidNameError` for a name that cannot be."""
        pairs = {key: _text(key, pair) for key, pair in _pairs(value).items() if key in _KNOWN}
        name = pairs.get("name") or last_segment(pairs.get("filename"))
        if name is not None:
            check_name(name)
        content_type = pairs.get("filetype") or None
        sha256 = pairs.get("sha256")
        try:
            if content_type is not None:
                check_content_type(content_type)
            if sha256 is not None:
                check_sha256(sha256)
        except ValueError as error:
            raise falcon.HTTPBadRequest(description=str(error)) from None
        replace = pairs.get("replace", "false")
        if replace not in ("", "true", "false"):
            raise falcon.HTTPBadRequest(description="replace is true or false")
        return cls(name, content_type, pairs.get("ttl"), sha256, replace != "false")


def _pairs(value: str) -> dict[str, bytes]:
    if len(value) > MAX_NOTE_CHARS:
        raise falcon.HTTPBadRequest(
            description=f"Upload-Metadata has at most {MAX_NOTE_CHARS} characters"
        )
    pairs: dict[str, bytes] = {}
    for item in value.split(",") if value.strip() else []:
        match = _PAIR.fullmatch(item.strip())
        if match is None or match[1] in pairs:
            raise falcon.HTTPBadRequest(
                description="Upload-Metadata is a list of keys, each once, and values in base64"
            )
        try:
            pairs[match[1]] = base64.b64decode(match[2] or "", validate=True)
        except binascii.Error:
            raise falcon.HTTPBadRequest(
                description=f"the metadata value of {match[1]!r:.60} is not base64"
            ) from None
    return pairs


def _text(key: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise falcon.HTTPBadRequest(
            description=f"the metadata value of {key!r} is not UTF-8"
        ) from None


def checksum(value: str | None) -> tuple[str, bytes] | None:
    """The algorithm and the digest in Upload-Checksum, or None. Raises a 400."""
    if value is None:
        return None
    algorithm, _, encoded = value.strip().partition(" ")
    if algorithm not in ALGORITHMS:
        raise falcon.HTTPBadRequest(
            description=f"checksums are made by {', '.join(ALGORITHMS)}, not by {algorithm!r:.40}"
        )
    try:
        digest = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        digest = b""
    if not digest:
        raise falcon.HTTPBadRequest(
            description="Upload-Checksum is an algorithm, a space and a digest in base64"
        )
    return algorithm, digest


class Readable(Protocol):
    """A source that fills a buffer."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill some of it; 0 after the last byte."""


class Checked:
    """A source whose end is only reported where its bytes have the checksum announced."""

    def __init__(self, source: Readable, announced: tuple[str, bytes]) -> None:
        self._source = source
        self._algorithm, self._expected = announced
        self._hash: Any = _Crc32() if self._algorithm == "crc32" else hashlib.new(self._algorithm)

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill some of it; 0 after the last byte. Raises a 460."""
        count = self._source.readinto(buffer)
        self._hash.update(buffer[:count])
        if not count and self._hash.digest() != self._expected:
            raise falcon.HTTPError(
                CHECKSUM_MISMATCH,
                description=f"the {self._algorithm} of the bytes is not the one announced; "
                "send them again",
            )
        return count


class _Crc32:
    """A crc32 with the methods of hashlib's objects."""

    def __init__(self) -> None:
        self._crc = 0

    def update(self, data: memoryview) -> None:
        self._crc = crc32(data, self._crc)

    def digest(self) -> bytes:
        return self._crc.to_bytes(4, "big")
