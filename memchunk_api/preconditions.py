"""The preconditions of a request, held against the store.

What they mean is decided in `conditional`; here the file is looked up that they are about.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

import falcon

from memchunk import ChangedError, CorruptError, EvictedError, FileInfo, NotFoundError, Store
from memchunk_api.conditional import (
    CONDITIONS,
    UNCONDITIONAL,
    Preconditions,
    Validators,
    Verdict,
)

# Where WSGI has these headers (PEP 3333): to look there is quicker than falcon's `get_header`.
_KEYS = {header: "HTTP_" + header.upper().replace("-", "_") for header in CONDITIONS}


def read(req: falcon.Request) -> Preconditions:
    """The conditional headers of a request.

    Raises:
        falcon.HTTPBadRequest: one of them is malformed.
    """
    given = {header: req.env[key] for header, key in _KEYS.items() if key in req.env}
    if not given:
        return UNCONDITIONAL
    try:
        return Preconditions.parse(given)
    except ValueError as error:
        raise falcon.HTTPBadRequest(description=str(error)) from None


def validators(info: FileInfo) -> Validators:
    """What the conditional headers compare a file by."""
    return Validators(info.sha256, info.created_at)


def failed(name: str) -> ChangedError:
    """The error for a precondition that does not hold (412)."""
    return ChangedError(f"a precondition of the request does not hold for {name!r}", name=name)


def judge(store: Store, name: str, conditions: Preconditions) -> FileInfo | None:
    """The file that a write would replace, if its preconditions hold on it.

    Without preconditions nothing is looked up. A damaged file counts as none, so
    that storing it again "if there is none" heals it.

    Raises:
        ChangedError: they do not hold.
    """
    if not conditions:
        return None
    current: FileInfo | None = None
    with suppress(NotFoundError, EvictedError, CorruptError):
        current = store.stat(name)
    known = validators(current) if current is not None else None
    if conditions.evaluate(known, reading=False) is Verdict.FAILED:
        raise failed(name)
    return current


def only_tags(conditions: Preconditions) -> Collection[str] | None:
    """What the sha256 of a file must be one of, where nothing else is asked; else None.

    The store compares it also for a file that lost chunks, which `stat` would not describe.
    """
    tags = conditions.if_match
    if tags is None or tags.any or conditions != Preconditions(if_match=tags):
        return None
    return tags.strong_values()


def expectation(store: Store, name: str, conditions: Preconditions) -> Collection[str] | None:
    """What the sha256 of a file must be one of for preconditions to hold; None for any.

    Raises:
        ChangedError: they do not hold.
        MemchunkError: see `Store.stat`, which is asked where they are more than If-Match.
    """
    tags = only_tags(conditions)
    if tags is not None:
        return tags
    if not conditions:
        return None
    info = store.stat(name)
    if conditions.evaluate(validators(info), reading=False) is Verdict.FAILED:
        raise failed(name)
    return {info.sha256}
