"""`send`: a file goes to a server, and it is made sure that the file there is the one that went.

One request for one file, or for a large one as many as it takes (`resuming`). What is sent is
read elsewhere (`outgoing`), and so is what an answer means (`exchange`).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace as changed_copy

from memchunk import (
    AlreadyExistsError,
    ChangedError,
    CorruptError,
    DigestMismatchError,
    EvictedError,
    FileInfo,
    NotFoundError,
    UnavailableError,
)
from memchunk.manifest import check_content_type
from memchunk_api import digests
from memchunk_api.description import entity_tags, location, metadata_location
from memchunk_api.exchange import Exchange
from memchunk_api.outgoing import Outgoing
from memchunk_api.resuming import Patience, deliver

# The server takes bodies of these types for forms.
FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")


# What is larger goes on after a break. What is smaller is sent again sooner than asked for.
ONE_REQUEST_BYTES = 8 * 1024 * 1024


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
    resumably = body.size is not None and body.size > ONE_REQUEST_BYTES and order.if_match is None
    try:
        return (_send_resumably if resumably else _send_at_once)(exchange, order, body)
    except (AlreadyExistsError, ChangedError):
        stored = _stored_before(exchange, order, body)
        if stored is None:
            raise
        return stored


def _send_at_once(exchange: Exchange, order: Order, body: Outgoing) -> FileInfo:
    info = exchange.ask_about(
        "POST" if not order.replace and order.if_match is None else "PUT",
        location(order.name),
        query={} if order.ttl is None else {"ttl": str(math.ceil(order.ttl))},
        headers=_headers(order, body),
        body=body,
    )
    if info.sha256 != body.sha256:
        tag = {"If-Match": entity_tags([info.sha256])}
        with exchange.ask("DELETE", location(order.name), headers=tag):
            pass
        raise DigestMismatchError("what the server got is not what was sent; send it again")
    return info


def _send_resumably(exchange: Exchange, order: Order, body: Outgoing) -> FileInfo:
    replaced = order.replace and _is_there(exchange, order.name)
    deliver(exchange, _metadata(order, body), body)
    info = _look(exchange, order.name)
    if info.sha256 != body.sha256:  # which the server has seen to
        raise ChangedError("it was stored, and somebody else has replaced it since")
    return changed_copy(info, replaced=replaced)


def _look(exchange: Exchange, name: str) -> FileInfo:
    """What the server knows of a file, which is there also where the server is away just now."""
    patience = Patience()
    while True:
        try:
            return exchange.ask_about("GET", metadata_location(name))
        except UnavailableError as error:
            patience.wait(error)


def _is_there(exchange: Exchange, name: str) -> bool:
    """Whether there is a file of that name, whole or not."""
    try:
        exchange.ask_about("GET", metadata_location(name))
    except NotFoundError:
        return False
    except (EvictedError, CorruptError):
        pass
    return True


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


def _metadata(order: Order, body: Outgoing) -> dict[str, str]:
    """The same for `deliver`."""
    metadata = {"name": order.name, "sha256": body.sha256 or ""}
    if order.replace:
        metadata["replace"] = "true"
    if order.ttl is not None:
        metadata["ttl"] = str(math.ceil(order.ttl))
    if order.content_type is not None:
        metadata["filetype"] = order.content_type
    return metadata
