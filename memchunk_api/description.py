"""A file described: its headers, its JSON (both ways), its address.

Pure: a FileInfo and the time go in, text comes out. No falcon, no I/O.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Collection
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from memchunk import FileInfo
from memchunk_api import digests

# RFC 5987 section 3.2.1: what stands unescaped in an extended value.
_ATTR_CHARS = "!#$&+-.^_`|~"

# The headers of files that are asked for again and again are made once.
_remembered = lru_cache(1024)

# RFC 3986 section 3.3: what stands unescaped in a path, beside letters and digits.
_PATH_CHARS = "/!$&'()*+,;=:@-._~"


def location(name: str) -> str:
    """The path under which a file is found, percent-encoded."""
    return f"/files/{quote(name, safe=_PATH_CHARS)}"


def metadata_location(name: str) -> str:
    """The path under which what is known of a file is found, percent-encoded."""
    return f"/metadata/{quote(name, safe=_PATH_CHARS)}"


def entity_tag(info: FileInfo) -> str:
    """The ETag: strong, for the sha256 stands for the bytes themselves."""
    return f'"{info.sha256}"'


def entity_tags(sha256s: Collection[str]) -> str:
    """The value of an If-Match that only files with one of these sha256s meet."""
    if isinstance(sha256s, str):  # one, and no collection of letters
        sha256s = [sha256s]
    # Of none it must not be left out, nor be empty; and no file has an empty tag.
    return ", ".join(f'"{sha256}"' for sha256 in sha256s) or '""'


def repr_digest(info: FileInfo) -> str:
    """The Repr-Digest: of the whole file, also where only a range of it is sent."""
    return digests.format_sha256(info.sha256)


def as_json(info: FileInfo) -> dict[str, object]:
    """What GET /metadata and every write answer with; times in ISO 8601, UTC."""
    return {
        "name": info.name,
        "size": info.size,
        "sha256": info.sha256,
        "chunk_count": info.chunk_count,
        "chunk_size": info.chunk_size,
        "content_type": info.content_type,
        "created_at": info.created_at.isoformat(),
        "expires_at": info.expires_at.isoformat() if info.expires_at is not None else None,
    }


def from_json(document: Any) -> FileInfo:
    """The file that `as_json` described. Members that are not known here are passed over.

    Raises:
        ValueError: it is no such description.
    """
    try:
        expires_at = document["expires_at"]
        return FileInfo(
            name=str(document["name"]),
            size=int(document["size"]),
            sha256=str(document["sha256"]),
            chunk_count=int(document["chunk_count"]),
            chunk_size=int(document["chunk_size"]),
            content_type=str(document["content_type"]),
            created_at=datetime.fromisoformat(document["created_at"]),
            expires_at=None if expires_at is None else datetime.fromisoformat(expires_at),
        )
    except (TypeError, KeyError) as error:
        raise ValueError(f"this describes no file: {error!r}") from None


def validators(info: FileInfo, now: datetime) -> dict[str, str]:
    """The headers that a 304 repeats (RFC 9110 section 15.4.5)."""
    headers = {"ETag": entity_tag(info), "Last-Modified": http_date(info.created_at)}
    if info.expires_at is None:
        # It may be replaced at any time: keep it, but ask whether it is still this one.
        headers["Cache-Control"] = "no-cache"
    else:
        left = max(0, int((info.expires_at - now).total_seconds()))
        headers["Cache-Control"] = f"max-age={left}"
        headers["Expires"] = http_date(info.expires_at)
    return headers


def representation(info: FileInfo, now: datetime) -> dict[str, str]:
    """The headers of every answer that carries the file, or part of it, or would (HEAD)."""
    return validators(info, now) | {
        "Content-Type": info.content_type,
        "Accept-Ranges": "bytes",
        "Repr-Digest": repr_digest(info),
        # What users stored must not run as a page of this site.
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox",
        "Content-Disposition": disposition(info.name),
        "Cross-Origin-Resource-Policy": "same-origin",
    }


@_remembered
def disposition(name: str) -> str:
    """`attachment` with the name's last segment, in ASCII and in full (RFC 6266)."""
    filename = name.rpartition("/")[2]
    plain = re.sub(r'[^\x20-\x7e]|["\\%]', "_", filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe=_ATTR_CHARS)}"


@_remembered
def http_date(moment: datetime) -> str:
    """A moment in UTC as an HTTP date (RFC 9110 section 5.6.7)."""
    return format_datetime(moment, usegmt=True)


def invented_name(random_hex: str, content_type: str | None) -> str:
    """A name for a file that came without one; its ending tells the type where it can."""
    essence = (content_type or "").partition(";")[0].strip().lower()
    return f"{random_hex}{mimetypes.guess_extension(essence) or ''}"
