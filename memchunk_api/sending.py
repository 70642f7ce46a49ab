"""`send`: a file goes to a server, and it is made sure that the file there is the one that went.

One request for one file. What is sent is read elsewhere (`outgoing`), and so is what an
answer means (`exchange`).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from memchunk import (
    AlreadyExistsError,
    ChangedError,
    CorruptError,
    DigestMismatchError,
    EvictedError,
    FileInfo,
)
from memchunk.manifest import check_content_type
from memchunk_api import digests
from memchunk_api.description import entity_tags, location, metadata_location
from memchunk_api.exchange import Exchange
from memchunk_api.outgoing import Outgoing

# The server takes bodies of these types for forms.
FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be stored: the arguments of `Store.put` but the source, checked."""

    name: str
    replace: bool = False
    if_match: Collection[str] | None = None
    ttl: int | float | None = None
    content_type: str | None = None
    sha256: str | None = None


def check_type(content_type: str) -> None:
    """Raise `ValueError` unless a file of that media type can be sent."""
    check_content_type(content_type)
    if content_type.partition(";")[0].strip().lower() in FORM_TYPES:
        raise ValueError(f"{content_type} would be taken for a form; use another type")


def send(exchange: Exchange, order: Order, body: Outgoing) -> FileInfo:
    """Store a file on a server. Raises what `Store.put` raises."""
    if order.sha256 is not None and body.sha256 not in (None, order.sha256):
        raise DigestMismatchError("the bytes do not have the sha256 that was announced")
    try:
        info = exchange.ask_about(
            "POST" if not order.replace and order.if_match is None else "PUT",
            location(order.name),
            query={} if order.ttl is None else {"ttl": str(math.ceil(order.ttl))},
            headers=_headers(order, body),
            body=body,
        )
    except (AlreadyExistsError, ChangedError):
        stored = _stored_before(exchange, order, body)
        if stored is None:
            raise
        return stored
    if info.sha256 != body.sha256:
        tag = {"If-Match": entity_tags([info.sha256])}
        with exchange.ask("DELETE", location(order.name), headers=tag):
            pass
        raise DigestMismatchError("what the server got is not what was sent; send it again")
    return info


def _stored_before(exchange: Exchange, order: Order, body: Outgoing) -> FileInfo | None:
    """The file, where it is there because it was sent before, and the answer was a 503.

    Raises `NotFoundError` where there is none to match, which a 412 does not tell.
    """
    if order.if_match is None and body.times_sent < 2:
        return None
    with suppress(EvictedError, CorruptError):
        current = exchange.ask_about("GET", metadata_location(order.name))
        if body.times_sent > 1 and current.sha256 == body.sha256:
            return current
    return None


def _headers(order: Order, body: Outgoing) -> dict[str, str]:
    headers = {}
    if order.content_type is not None:
        headers["Content-Type"] = order.content_type
    announced = order.sha256 or body.sha256
    if announced is not None:
        headers["Repr-Digest"] = digests.format_sha256(announced)
    if order.if_match is not None:
        headers["If-Match"] = entity_tags(order.if_match)
    return headers
