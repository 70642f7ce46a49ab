"""JSON documents that clients send: read strictly, so that none is taken for another.

What their members mean is for the caller to judge.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any, NoReturn

import falcon

from memchunk_api.body import Body, announced_digests, essence

MEDIA_TYPES = ("application/json",)


def receive(
    req: falcon.Request,
    *,
    known: Collection[str],
    limit: int,
    patience: float,
    media_types: Sequence[str] = MEDIA_TYPES,
) -> dict[str, Any]:
    """The members of the JSON object in a request: each at most once, and all of them known.

    Args:
        req: the request.
        known: the members it may have.
        limit: the most bytes it may have.
        patience: seconds without a byte after which it is given up.
        media_types: what its Content-Type may be.

    Raises:
        falcon.HTTPUnsupportedMediaType: its Content-Type is another, or there is none.
        falcon.HTTPBadRequest: it is not such an object.
        TooLargeError: it has more than `limit` bytes.
        Anything else that `Body.read` raises.
    """
    if essence(req.content_type) not in media_types:
        raise falcon.HTTPUnsupportedMediaType(
            description=f"send JSON, with Content-Type: {media_types[0]}"
        )
    body = Body(req, patience=patience, limit=limit, announced=announced_digests(req))
    return parse(body.read_whole(), known=known)


def parse(data: bytes, *, known: Collection[str]) -> dict[str, Any]:
    """The members of a JSON object in UTF-8 (RFC 8259). Raises `falcon.HTTPBadRequest`."""
    try:
        document = _DECODER.decode(data.decode())
    except RecursionError:
        raise falcon.HTTPBadRequest(description="the JSON is nested too deeply") from None
    except ValueError as error:  # UnicodeDecodeError is one
        raise falcon.HTTPBadRequest(description=f"the JSON cannot be read: {error}") from None
    if not isinstance(document, dict):
        raise falcon.HTTPBadRequest(description="a JSON object is expected, as in {...}")
    for member in document:
        if member not in known:
            raise falcon.HTTPBadRequest(
                description=f"there is no member {member!a:.60}; known: {', '.join(sorted(known))}"
            )
    return document


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is given twice")
    return members


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number in JSON")


# made once: to make it takes longer than to read a small document
_DECODER = json.JSONDecoder(object_pairs_hook=_without_repeats, parse_constant=_refuse_constant)
