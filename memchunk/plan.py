"""An upload: a file on its way in, cut into parts that arrive in any order.

Which part holds which byte, whether a part fits, the limits, and the record that
stands for the upload in memcached. A record never changes but once, when the upload is
finished; which parts are there is not in it, so that parts can land at once from
many processes.
Pure: the clock and the random bits are passed in.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import NamedTuple

from memchunk.errors import CorruptError, TooLargeError
from memchunk.expiry import LATEST_SECOND, MAX_RELATIVE_SECONDS
from memchunk.layout import MAX_CHUNK_BYTES, MAX_FILE_BYTES
from memchunk.manifest import check_content_type, check_sha256
from memchunk.names import check_name
from memchunk.record import seal, unseal

VERSION = 1
MAX_NOTE_CHARS = 4096
MAX_RECORD_BYTES = 32 * 1024  # JSON has up to six bytes for a character of a note

MAX_PARTS = 262_144
MAX_PART_BYTES = MAX_CHUNK_BYTES  # a part is one item of memcached's

LIFETIME_SECONDS = 3600
PART_LIFETIMES = 2  # how many lifetimes of the upload a part is stored for: see `uploads`
MAX_LIFETIME_SECONDS = MAX_RELATIVE_SECONDS // PART_LIFETIMES

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RANDOM_BITS = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Upload:
    """A file on its way in: what is known of it from the start.

    Part i holds the bytes from `i * part_size` on; only the last may hold fewer. An
    empty file has no parts.

    Attributes:
        id: what it is called, 1 to 64 of `A-Z a-z 0-9 _ -`.
        name: the name that the file will have.
        size: the number of its bytes.
        part_size: the number of bytes in each part but the last.
        sha256: the digest (hex) that the bytes must have, or None.
        content_type: the media type that the file will have.
        ttl: the lifetime of the file in seconds, from when it is finished, or None.
        replace: whether an intact file of that name may be replaced.
        lifetime: how many seconds after its latest part the upload is given up.
        generation: 128 random bits as 32 hex digits; the keys of the parts bear it, so
            that none of an earlier upload of the same id is taken for one of this.
        created: when it was created, in seconds since 1970.
        note: what whoever created it wants to find there again.
        finished: whether the file is stored. Then there are no parts any more.
    """

    id: str
    name: str
    size: int
    part_size: int
    sha256: str | None
    content_type: str
    ttl: int | float | None
    replace: bool
    lifetime: int
    generation: str
    created: int
    note: str = ""
    finished: bool = False

    @property
    def part_count(self) -> int:
        """The number of parts."""
        return -(-self.size // self.part_size)

    @property
    def part_lifetime(self) -> int:
        """For how many seconds a part is stored, from when it was last touched."""
        return PART_LIFETIMES * self.lifetime

    def length(self, index: int) -> int:
        """The number of bytes in part `index`."""
        return min(self.part_size, self.size - index * self.part_size)

    def misfit(self, index: int, length: int) -> str | None:
        """Why a part `index` of `length` bytes cannot be part of this upload, or None.

        Raises `TypeError` for an index that is no `int`.
        """
        if type(index) is not int:
            raise TypeError(f"the index of a part is an int, not {type(index).__name__}")
        if not 0 <= index < self.part_count:
            return f"the upload has {self.part_count} parts, numbered from 0; there is no {index}"
        if length != self.length(index):
            return f"part {index} has {self.length(index)} bytes, not {length}"
        return None


class Landing(NamedTuple):
    """What became of a part.

    Attributes:
        stored: False where the upload has this part already, and keeps that one.
        complete: no part is missing any more, as far as can be told: call `finish`.
            Of the calls that bring the last parts, at least one says so.
    """

    stored: bool
    complete: bool


def is_id(upload_id: str) -> bool:
    """Whether an upload could have this id."""
    return _ID.fullmatch(upload_id) is not None


def check(upload: Upload) -> None:
    """Raise unless `upload` keeps every limit, before anything is allocated for it.

    `InvalidNameError` for the name, `TooLargeError` for the size, `TypeError` for a note that
    is no text, else `ValueError`.
    """
    if not is_id(upload.id):
        raise ValueError("the id of an upload is 1 to 64 of A-Z a-z 0-9 _ -")
    check_name(upload.name)
    if isinstance(upload.size, int) and upload.size > MAX_FILE_BYTES:
        raise TooLargeError(
            f"a file has at most {MAX_FILE_BYTES} bytes (50 MiB); split it, or keep it elsewhere"
        )
    _check_int("size", upload.size, 0, MAX_FILE_BYTES)
    _check_int("part size", upload.part_size, 1, MAX_PART_BYTES)
    if upload.part_count > MAX_PARTS:
        raise ValueError(
            f"an upload has at most {MAX_PARTS} parts, not {upload.part_count}; use larger ones"
        )
    _check_int("lifetime", upload.lifetime, 1, MAX_LIFETIME_SECONDS)
    if upload.sha256 is not None:
        check_sha256(upload.sha256)
    check_content_type(upload.content_type)
    if not isinstance(upload.note, str):
        raise TypeError(f"a note is a str, not {type(upload.note).__name__}; leave it out for none")
    if not (upload.note.isascii() and len(upload.note) <= MAX_NOTE_CHARS):
        raise ValueError(f"a note is ASCII text of at most {MAX_NOTE_CHARS} characters")


def encode(upload: Upload) -> bytes:
    """The record of an upload as the value of a memcached item."""
    return seal({"upload": VERSION, **asdict(upload)})


def decode(value: bytes, upload_id: str) -> Upload:
    """The upload in an item's value, which must be the one called `upload_id`.

    Raises `CorruptError` for anything that `encode` does not write.
    """
    try:
        fields = unseal(value)
        if fields.pop("upload", None) != VERSION:
            raise ValueError("it has a version that is not known here")
        upload = Upload(**fields)
        check(upload)
        _check_int("creation", upload.created, 0, LATEST_SECOND)
        if not _RANDOM_BITS.fullmatch(upload.generation):
            raise ValueError("its generation is not 32 hex digits")
        if upload.id != upload_id:
            raise ValueError("it is the record of another upload")
    except (ValueError, TypeError, RecursionError) as error:
        raise CorruptError(
            f"the record of upload {upload_id!r} is damaged ({error}); create the upload again"
        ) from None
    return upload


def _check_int(what: str, value: int, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"the {what} is a whole number from {least} to {most}")
