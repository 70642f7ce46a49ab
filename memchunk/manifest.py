"""The manifest: the record that makes a set of chunks a file. Its codec and checks.

A sealed record (`record.py`). Every field is checked when it is read, and versions not
known here are refused.
Pure: the clock and the random bits are passed in.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from memchunk.errors import CorruptError, InvalidNameError
from memchunk.expiry import LATEST_SECOND
from memchunk.layout import MAX_FILE_BYTES, Layout
from memchunk.names import check_name
from memchunk.record import sealed, to_json, unseal

VERSION = 1
MAX_MANIFEST_BYTES = 64 * 1024
MAX_CONTENT_TYPE_CHARS = 255
LATEST_MS = 253_402_300_799_999  # the last that a datetime can be, at the end of the year 9999

_SHA256 = re.compile(r"[0-9a-f]{64}")
_RANDOM_BITS = re.compile(r"[0-9a-f]{32}")
_CRC32S = re.compile(r"([0-9a-f]{8})*")
# type "/" subtype, then parameters (RFC 9110, section 8.3.1); visible ASCII and spaces only
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_CONTENT_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}( *;[ -~]*)?")


class UnknownVersionError(CorruptError):
    """The manifest is whole, but of a version that is not known here."""


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What memchunk knows of a file.

    Attributes:
        name: its name.
        size: its length in bytes.
        sha256: the digest of its bytes, 64 hex digits.
        chunk_count: the number of memcached items that hold it.
        chunk_size: the number of bytes in each of them but the last.
        content_type: its media type.
        created_at: when it was stored (UTC).
        expires_at: when it expires (UTC), or None for never.
        replaced: True only on what `put` and `rename` return, where an earlier file (whole
            or damaged) stood under the name.
    """

    name: str
    size: int
    sha256: str
    chunk_count: int
    chunk_size: int
    content_type: str
    created_at: datetime
    expires_at: datetime | None
    replaced: bool = field(default=False, compare=False)


# A tuple, as is most of what a put makes anew: a frozen dataclass takes three times as long.
class Manifest(NamedTuple):
    """One write of one file: all that is needed to find its bytes and to vouch for them.

    Attributes:
        generation: 128 random bits as 32 hex digits; the chunk keys bear it.
        created_ms: when it was stored, in milliseconds since 1970.
        expires: when it expires, in seconds since 1970, or None for never.
        crc32s: the crc32 of each chunk's file bytes, padding left out.
        move: which rename it is part of, 32 hex digits, or None: see `memchunk.amend`.
        moved_from: the name that it had before that rename, or None.
        moving_to: the name that it will have after it, or None.
        moving_since: when `moving_to` was set, in seconds since 1970.
    """

    name: str
    sha256: str
    layout: Layout
    generation: str
    content_type: str
    created_ms: int
    expires: int | None
    crc32s: tuple[int, ...]
    move: str | None = None
    moved_from: str | None = None
    moving_to: str | None = None
    moving_since: int = 0

    def info(self, *, replaced: bool = False) -> FileInfo:
        """The part of the manifest that users see."""
        return FileInfo(
            name=self.name,
            size=self.layout.size,
            sha256=self.sha256,
            chunk_count=self.layout.chunk_count,
            chunk_size=self.layout.chunk_size,
            content_type=self.content_type,
            created_at=datetime.fromtimestamp(self.created_ms / 1000, UTC),
            expires_at=None if self.expires is None else datetime.fromtimestamp(self.expires, UTC),
            replaced=replaced,
        )


def encode(manifest: Manifest) -> bytes:
    """The manifest as the value of a memcached item.

    A `ValueError` says that it would be larger than 64 KiB.
    """
    size, chunk_size, padding = manifest.layout
    expires = "null" if manifest.expires is None else manifest.expires
    crc32s = struct.pack(f">{len(manifest.crc32s)}I", *manifest.crc32s).hex()
    text = (
        f'{{"memchunk":{VERSION},"name":{to_json(manifest.name)},"size":{size},'
        f'"sha256":"{manifest.sha256}","content_type":{to_json(manifest.content_type)},'
        f'"created_ms":{manifest.created_ms},"expires":{expires},'
        f'"generation":"{manifest.generation}","chunk_size":{chunk_size},"padding":{padding},'
        f'"crc32s":"{crc32s}"'
    )
    if manifest.move is not None:
        text += (
            f',"move":"{manifest.move}","moved_from":{to_json(manifest.moved_from)},'
            f'"moving_to":{to_json(manifest.moving_to)},"moving_since":{manifest.moving_since}'
        )
    value = sealed(text)
    if len(value) > MAX_MANIFEST_BYTES:
        raise ValueError(f"a manifest of {len(value)} bytes; {MAX_MANIFEST_BYTES} is the limit")
    return value


def decode(value: bytes, name: str | None) -> Manifest:
    """The manifest in an item's value, which must be the one of `name`, if that is given.

    Raises `CorruptError` for anything that `encode` does not write.
    """
    try:
        record = _record(value)
        if record.pop("memchunk", None) != VERSION:
            raise UnknownVersionError(
                f"the manifest of {name!r} has a version that is not known here; "
                "upgrade memchunk to read it",
                name=name,
            )
        manifest = _manifest(**record)
        if name is None:
            check_name(manifest.name)
        elif manifest.name != name:
            raise ValueError("it is the manifest of another name")
    except (ValueError, TypeError, RecursionError, InvalidNameError) as error:
        raise CorruptError(
            f"the manifest of {name!r} is damaged ({error}); store the file again", name=name
        ) from None
    return manifest


def _record(value: bytes) -> dict[str, Any]:
    if len(value) > MAX_MANIFEST_BYTES:
        raise ValueError(f"{len(value)} bytes, more than a manifest has")
    return unseal(value)


def _manifest(
    *,
    name: str,
    size: int,
    sha256: str,
    content_type: str,
    created_ms: int,
    expires: int | None,
    generation: str,
    chunk_size: int,
    padding: int,
    crc32s: str,
    move: str | None = None,
    moved_from: str | None = None,
    moving_to: str | None = None,
    moving_since: int = 0,
) -> Manifest:
    for other in (moved_from, moving_to):
        if other is not None:
            check_name(other)
    for number in (size, chunk_size, padding, created_ms, moving_since):
        if type(number) is not int:  # nor a bool
            raise ValueError("it has something else where a whole number belongs")
    if not (expires is None or (type(expires) is int and 0 <= expires <= LATEST_SECOND)):
        raise ValueError("its expires is neither null nor a time")
    if not (
        0 <= size <= MAX_FILE_BYTES
        and 0 <= padding < chunk_size <= MAX_FILE_BYTES
        and 0 <= created_ms <= LATEST_MS
        and 0 <= moving_since <= 2**53
    ):
        raise ValueError("one of its numbers is out of range")
    check_sha256(sha256)
    check_content_type(content_type)
    _check_random_bits("generation", generation)
    if move is not None:
        _check_random_bits("move", move)
    if not (isinstance(crc32s, str) and _CRC32S.fullmatch(crc32s)):
        raise ValueError("its crc32s are not hex digits")
    layout = Layout(size, chunk_size, padding)
    if len(crc32s) != 8 * layout.chunk_count:
        raise ValueError("it does not have a crc32 for each chunk")
    if padding and (not size or layout.length(layout.chunk_count - 1) + padding > chunk_size):
        raise ValueError("it pads a chunk past its size")
    return Manifest(
        name=name,
        sha256=sha256,
        layout=layout,
        generation=generation,
        content_type=content_type,
        created_ms=created_ms,
        expires=expires,
        crc32s=struct.unpack(f">{layout.chunk_count}I", bytes.fromhex(crc32s)),
        move=move,
        moved_from=moved_from,
        moving_to=moving_to,
        moving_since=moving_since,
    )


def _check_random_bits(what: str, value: str) -> None:
    if not (isinstance(value, str) and _RANDOM_BITS.fullmatch(value)):
        raise ValueError(f"its {what} is not 32 hex digits")


def check_sha256(sha256: str) -> None:
    """Raise `ValueError` unless `sha256` is 64 lower-case hex digits."""
    if not (isinstance(sha256, str) and _SHA256.fullmatch(sha256)):
        raise ValueError("a sha256 is 64 lower-case hex digits")


def check_content_type(content_type: str) -> None:
    """Raise `ValueError` unless `content_type` reads like `type/subtype; parameters`."""
    if not (
        isinstance(content_type, str)
        and len(content_type) <= MAX_CONTENT_TYPE_CHARS
        and _CONTENT_TYPE.fullmatch(content_type)
    ):
        raise ValueError(
            "a content type is 'type/subtype', with parameters if need be, "
            f"of at most {MAX_CONTENT_TYPE_CHARS} ASCII characters"
        )
