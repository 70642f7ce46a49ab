"""The rules for names, and every memcached key the library uses.

Keys hold no user text: a name is hashed, and stands in full only in the manifest.
The marks `{...}` and `|#|` tell twemproxy and mcrouter which part of a key routes
it, so that all chunks of a file go to one server through a proxy too.
Pure: no clock, no socket.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

from memchunk.errors import InvalidNameError

MAX_NAME_BYTES = 512
MAX_NAMESPACE_CHARS = 64
KEYS_REMEMBERED = 1024

_CHUNKS = ":c"

_CHUNK_KEY = re.compile(r"[A-Za-z0-9._-]+:c\{([0-9a-f]{32})\}\|#\|([0-9]{1,6})")
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # Unicode's category Cc
_NO_SEGMENTS = frozenset(("", ".", ".."))
_NAMESPACE = re.compile(r"[A-Za-z0-9._-]{1,64}")


def check_name(name: str) -> None:
    """Raise `InvalidNameError` unless `name` can name a file.

    A name is 1 to 512 bytes of UTF-8, without control characters, its segments
    divided by `/`; no segment is empty, `.` or `..`.
    """
    if not isinstance(name, str):
        raise InvalidNameError(f"a name is a str, not {type(name).__name__}")
    if not name:
        raise InvalidNameError("the name is empty; give the file a name", name=name)
    if len(name) > MAX_NAME_BYTES:  # a character is at least a byte: never encode a huge name
        raise InvalidNameError(f"the name is longer than {MAX_NAME_BYTES} bytes; shorten it")
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        raise InvalidNameError("the name is not valid Unicode text; use UTF-8") from None
    if len(encoded) > MAX_NAME_BYTES:
        raise InvalidNameError(f"the name is longer than {MAX_NAME_BYTES} bytes; shorten it")
    if _CONTROL_CHARACTER.search(name):
        raise InvalidNameError("the name has a control character; leave it out", name=name)
    if not _NO_SEGMENTS.isdisjoint(name.split("/")):
        raise InvalidNameError(
            "the name has an empty, '.' or '..' segment; write it as 'a/b/c'", name=name
        )


def check_prefix(prefix: str) -> None:
    """Raise `InvalidNameError` unless some name can begin with `prefix`, or come after it."""
    if not isinstance(prefix, str):
        raise InvalidNameError(f"a prefix is a str, not {type(prefix).__name__}")
    try:
        # a character is at least a byte: a huge one is never encoded
        is_long = len(prefix) > MAX_NAME_BYTES or len(prefix.encode()) > MAX_NAME_BYTES
    except UnicodeEncodeError:
        raise InvalidNameError("the prefix is not valid Unicode text; use UTF-8") from None
    if is_long or _CONTROL_CHARACTER.search(prefix):
        raise InvalidNameError("no name is so long, or has a control character; shorten the prefix")


def check_namespace(namespace: str) -> None:
    """Raise `ValueError` unless `namespace` can begin a memcached key."""
    if not isinstance(namespace, str) or not _NAMESPACE.fullmatch(namespace):
        raise ValueError(
            f"a namespace is 1 to {MAX_NAMESPACE_CHARS} of A-Z a-z 0-9 . _ -, not {namespace!r}"
        )


def manifest_prefix(namespace: str) -> str:
    """What the keys of all manifests begin with."""
    return f"{namespace}:m:"


@lru_cache(KEYS_REMEMBERED)  # a put asks four times for the same
def manifest_key(namespace: str, name: str) -> str:
    """The key of the manifest of `name`."""
    return manifest_prefix(namespace) + hashlib.sha256(name.encode()).hexdigest()


def chunk_key(namespace: str, generation: str, index: int) -> str:
    """The key of chunk `index` (from 0) of a generation (32 hex digits)."""
    return f"{namespace}{_CHUNKS}{{{generation}}}|#|{index}"


def chunk_prefix(namespace: str) -> str:
    """What the keys of all chunks begin with."""
    return namespace + _CHUNKS


def generation_of(key: str) -> tuple[str, int] | None:
    """The generation and the index in the key of a chunk; None where it is none."""
    found = _CHUNK_KEY.fullmatch(key)
    return None if found is None else (found[1], int(found[2]))


def journal_key(namespace: str, shard: int, segment: int) -> str:
    """The key of a segment (from 0) of a shard of the journal (from 0)."""
    return f"{namespace}:j:{shard}:{segment}"


def upload_key(namespace: str, upload_id: str) -> str:
    """The key of the record of an upload."""
    return f"{namespace}:u:{upload_id}"


def part_key(namespace: str, generation: str, index: int) -> str:
    """The key of part `index` (from 0) of an upload's generation (32 hex digits)."""
    return f"{namespace}:p{{{generation}}}|#|{index}"


def tail_key(namespace: str, generation: str) -> str:
    """The key of what there is of a part that an append has begun."""
    return f"{namespace}:p{{{generation}}}|#|tail"


def lock_key(namespace: str, generation: str) -> str:
    """The key of the item that whoever appends to an upload holds."""
    return f"{namespace}:p{{{generation}}}|#|lock"


def canary_key(namespace: str, nonce: str) -> str:
    """The key of the item that a health check stores, reads and deletes."""
    return f"{namespace}:h:{nonce}"
