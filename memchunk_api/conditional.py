"""Conditional requests and byte ranges as RFC 9110 has them, sections 13 and 14.

Pure: header values and the facts of one file go in, a verdict comes out. No
falcon, no clock, no I/O. Header values are `str` as WSGI gives them (latin-1).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# RFC 9110 section 8.8.3: etagc is any visible character but the double quote.
_ENTITY_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_LIST_GAP = re.compile(r"[ \t]*(?:,[ \t]*)*")
_RANGE_SPEC = re.compile(r"([0-9]+)-([0-9]*)|-([0-9]+)")

# What `Preconditions.parse` looks at.
CONDITIONS = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")

# No file has a position of more digits; a longer number is merely "past the end".
_MOST_DIGITS = 18


class Verdict(enum.Enum):
    """What a request's preconditions make of the file as it is."""

    PROCEED = "proceed"
    NOT_MODIFIED = "not modified"  # 304
    FAILED = "failed"  # 412


class UnsatisfiableRangeError(Exception):
    """A well-formed byte range that begins past the end of the file (416)."""


@dataclass(frozen=True, slots=True)
class EntityTag:
    """One entity tag. Ours are always strong: the sha256 of the bytes."""

    value: str
    weak: bool = False

    def __str__(self) -> str:
        return f'{"W/" if self.weak else ""}"{self.value}"'


@dataclass(frozen=True, slots=True)
class TagList:
    """The value of If-Match or If-None-Match: `*` (`any`), or entity tags."""

    tags: tuple[EntityTag, ...] = ()
    any: bool = False

    @classmethod
    def parse(cls, value: str) -> TagList:
        """Read a header value; repeated headers come joined with commas.

        Raises:
            ValueError: it is neither `*` nor a list of quoted entity tags.
        """
        value = value.strip(" \t")
        if value == "*":
            return cls(any=True)
        tags = []
        position = _skip_gap(value, 0)
        while position < len(value):
            match = _ENTITY_TAG.match(value, position)
            if match is None:
                raise ValueError('entity tags are written in double quotes, as in "abc", or are *')
            tags.append(EntityTag(match[2], weak=match[1] is not None))
            end = match.end()
            position = _skip_gap(value, end)
            if position < len(value) and "," not in value[end:position]:
                raise ValueError("entity tags are separated by commas")
        if not tags:
            raise ValueError("an entity tag, or *, is expected")
        return cls(tuple(tags))

    def strong_values(self) -> frozenset[str]:
        """What If-Match can match: the strong comparison knows no weak tag."""
        return frozenset(tag.value for tag in self.tags if not tag.weak)

    def weak_values(self) -> frozenset[str]:
        """What If-None-Match matches: the weak comparison ignores the mark."""
        return frozenset(tag.value for tag in self.tags)


@dataclass(frozen=True, slots=True)
class Validators:
    """What a file is compared by: its entity tag's value, and when it was stored."""

    etag: str
    last_modified: datetime


@dataclass(frozen=True, slots=True)
class Preconditions:
    """The conditional headers of one request, parsed."""

    if_match: TagList | None = None
    if_none_match: TagList | None = None
    if_modified_since: datetime | None = None
    if_unmodified_since: datetime | None = None

    @classmethod
    def parse(cls, headers: Mapping[str, str]) -> Preconditions:
        """Read them from lower-case header names to values.

        Dates that are none are ignored, as RFC 9110 section 13.1.3 demands; a
        malformed list of tags is not, for ignoring If-Match would lose an update.

        Raises:
            ValueError: a list of entity tags is malformed; the text names the header.
        """
        return cls(
            if_match=_tag_list(headers, "If-Match"),
            if_none_match=_tag_list(headers, "If-None-Match"),
            if_modified_since=parse_date(headers.get("if-modified-since")),
            if_unmodified_since=parse_date(headers.get("if-unmodified-since")),
        )

    def __bool__(self) -> bool:
        return self != UNCONDITIONAL

    def evaluate(self, current: Validators | None, *, reading: bool) -> Verdict:
        """The verdict on the file as it is, in the order of RFC 9110 section 13.2.2.

        Args:
            current: the file's validators; None where there is no file.
            reading: the method is GET or HEAD.
        """
        if self.if_match is not None:
            if not _matches(self.if_match, self.if_match.strong_values(), current):
                return Verdict.FAILED
        elif self.if_unmodified_since is not None and (
            current is None or whole_second(current.last_modified) > self.if_unmodified_since
        ):
            return Verdict.FAILED
        if self.if_none_match is not None:
            if _matches(self.if_none_match, self.if_none_match.weak_values(), current):
                return Verdict.NOT_MODIFIED if reading else Verdict.FAILED
        elif (
            reading
            and current is not None
            and self.if_modified_since is not None
            and whole_second(current.last_modified) <= self.if_modified_since
        ):
            return Verdict.NOT_MODIFIED
        return Verdict.PROCEED


UNCONDITIONAL = Preconditions()


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes `start` up to, not including, `stop` of a file; never empty."""

    start: int
    stop: int

    def content_range(self, size: int) -> str:
        """The Content-Range of a 206 (RFC 9110 section 14.4)."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def parse_range(value: str | None, size: int) -> ByteRange | None:
    """The single byte range that a Range header asks of a file of `size` bytes.

    None means the whole file: no header, another unit, a malformed value, or
    several ranges, which RFC 9110 section 14.2 lets a server ignore.

    Raises:
        UnsatisfiableRangeError: the range begins past the end.
    """
    unit, separator, specs = (value or "").partition("=")
    if not separator or unit.strip(" \t").lower() != "bytes":
        return None
    listed = [spec for spec in (part.strip(" \t") for part in specs.split(",")) if spec]
    match = _RANGE_SPEC.fullmatch(listed[0]) if len(listed) == 1 else None
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        length = min(_number(suffix), size)
        if length == 0:
            if size == 0:
                return None  # the last n bytes of nothing: all of it
            raise UnsatisfiableRangeError
        return ByteRange(size - length, size)
    start = _number(first)
    stop = min(_number(last) + 1, size) if last else size
    if last and _number(last) < start:
        return None
    if start >= size:
        raise UnsatisfiableRangeError
    return ByteRange(start, stop)


def if_range_holds(value: str | None, current: Validators) -> bool:
    """Whether a Range may be honoured: no If-Range, or one that names this very file.

    Only a strong entity tag can say so. A date cannot: two files stored within
    one second share it, and RFC 9110 sections 13.1.5 and 8.8.2.2 then have the
    whole file sent, which is right in any case.
    """
    if value is None:
        return True
    match = _ENTITY_TAG.fullmatch(value.strip(" \t"))
    return match is not None and match[1] is None and match[2] == current.etag


def parse_date(value: str | None) -> datetime | None:
    """An HTTP date (RFC 9110 section 5.6.7) as aware UTC; None where it is none."""
    if value is None:
        return None
    try:
        date = parsedate_to_datetime(value)
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def whole_second(moment: datetime) -> datetime:
    """What of a moment an HTTP date can hold."""
    return moment.replace(microsecond=0)


def _tag_list(headers: Mapping[str, str], name: str) -> TagList | None:
    value = headers.get(name.lower())
    if value is None:
        return None
    try:
        return TagList.parse(value)
    except ValueError as error:
        raise ValueError(f"{name} cannot be read: {error}") from None


def _matches(tags: TagList, values: frozenset[str], current: Validators | None) -> bool:
    return current is not None and (tags.any or current.etag in values)


def _skip_gap(value: str, position: int) -> int:
    match = _LIST_GAP.match(value, position)
    return match.end() if match is not None else position


def _number(digits: str) -> int:
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS
