"""A JSON object that vouches for itself: it ends with a crc32 of all the bytes before.

JSON, so that a person can read it in memcached; the crc32, so that one flipped bit is
noticed wherever it is.
Pure: bytes and dicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from json import JSONDecoder, JSONEncoder
from typing import Any

from memchunk.checksum import crc32

_DECODER = JSONDecoder()
to_json = JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_CHECK_BYTES = len(b',"crc32":"01234567"}')


def seal(fields: Mapping[str, Any]) -> bytes:
    """The object as the value of a memcached item. It must have a field."""
    return sealed(to_json(fields)[:-1])


def sealed(text: str) -> bytes:
    """The same of an object's text, without its last brace."""
    body = text.encode()
    return body + _check(body)


def unseal(value: bytes) -> dict[str, Any]:
    """The object in an item's value.

    Raises `ValueError` or `RecursionError` for anything that `seal` does not write.
    """
    body = value[:-_CHECK_BYTES]
    if value[-_CHECK_BYTES:] != _check(body):
        raise ValueError("its crc32 does not match")
    text = body.decode() + "}"
    fields, end = _DECODER.raw_decode(text)
    if end < len(text) or not isinstance(fields, dict):
        raise ValueError("it is not a JSON object")
    return fields


def _check(body: bytes) -> bytes:
    return b',"crc32":"%08x"}' % crc32(body)
