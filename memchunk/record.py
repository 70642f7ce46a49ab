"""A JSON object that vouches for itself: it ends with a crc32 of all the bytes before.

JSON, so that a person can read it in memcached; the crc32, so that one flipped bit is
noticed wherever it is.
Pure: bytes and dicts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from memchunk.checksum import crc32

_DECODER = json.JSONDecoder()
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
_CHECK = re.compile(rb',"crc32":"([0-9a-f]{8})"}')
_CHECK_BYTES = len(b',"crc32":"01234567"}')


def seal(fields: Mapping[str, Any]) -> bytes:
    """The object as the value of a memcached item. It must have a field."""
    body = _ENCODER.encode(fields).encode()[:-1]
    return b'%b,"crc32":"%08x"}' % (body, crc32(body))


def unseal(value: bytes) -> dict[str, Any]:
    """The object in an item's value.

    Raises `ValueError` or `RecursionError` for anything that `seal` does not write.
    """
    check = _CHECK.fullmatch(value[-_CHECK_BYTES:])
    body = value[:-_CHECK_BYTES]
    if check is None or int(check[1], 16) != crc32(body):
        raise ValueError("its crc32 does not match")
    fields = _DECODER.decode((body + b"}").decode())
    if not isinstance(fields, dict):
        raise ValueError("it is not a JSON object")
    return fields
