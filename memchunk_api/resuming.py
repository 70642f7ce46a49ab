"""`deliver`: a file goes to a server by tus, and after a break goes on where it was.

The server may be started anew meanwhile: what it has got is in memcached. What the file is
called, and what becomes of it, is the business of `sending`.
"""

from __future__ import annotations

import base64
import logging
import math
import re
import time
from collections.abc import Mapping
from contextlib import suppress

import httpx

from memchunk import (
    LockedError,
    MemchunkError,
    NotFoundError,
    UnavailableError,
    WrongOffsetError,
)
from memchunk_api.exchange import FIRST_PAUSE_SECONDS, Exchange, no_memchunk
from memchunk_api.outgoing import Outgoing, Rest

log = logging.getLogger("memchunk_api")

# A server that is started anew is back by then, and the lock of one that was killed is gone.
PATIENCE_SECONDS = 45.0
LONGEST_PAUSE_SECONDS = 4.0

_TUS = {"Tus-Resumable": "1.0.0"}
_LOCATION = re.compile(r"(?:.*/)?uploads/([A-Za-z0-9_-]{1,64})")

# After these it may go on, for the server has kept what came.
_BREAKS = (UnavailableError, LockedError, WrongOffsetError)


class Patience:
    """Waits after each failure, longer each time, until it has an end."""

    def __init__(self) -> None:
        self._pause = FIRST_PAUSE_SECONDS
        self._end = math.inf

    def wait(self, error: MemchunkError) -> None:
        """Wait before it is tried again; raises `error` after `PATIENCE_SECONDS` of failures."""
        now = time.monotonic()
        self._end = min(self._end, now + PATIENCE_SECONDS)
        if now + self._pause > self._end:
            raise error
        log.info("%s; going on in %g s", error, self._pause)
        time.sleep(self._pause)
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)


def deliver(exchange: Exchange, metadata: Mapping[str, str], body: Outgoing) -> None:
    """Make a file of a `body` whose size is known.

    Begins anew once, where the server has forgotten what it had; goes on after each break as
    long as some bytes more arrive within `PATIENCE_SECONDS`.

    Args:
        exchange: the server.
        metadata: what the server is told of the file.
        body: the bytes.

    Raises:
        UnavailableError: patience had an end.
        LockedError: so it had with somebody else, who sends the same upload.
        MemchunkError: whatever else the server says, which then has nothing of it.
    """
    try:
        _send(exchange, _create(exchange, metadata, body), body)
    except NotFoundError:
        _send(exchange, _create(exchange, metadata, body), body)


def _create(exchange: Exchange, metadata: Mapping[str, str], body: Outgoing) -> str:
    """Announce an upload; its path."""
    pairs = (f"{key} {_base64(value)}" for key, value in metadata.items())
    headers = {**_TUS, "Upload-Length": str(body.size), "Upload-Metadata": ",".join(pairs)}
    with exchange.ask("POST", "/uploads", headers=headers) as answer:
        found = _LOCATION.fullmatch(answer.headers.get("Location", ""))
        if found is None:
            raise no_memchunk(answer)
        return f"/uploads/{found[1]}"


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _send(exchange: Exchange, path: str, body: Outgoing) -> None:
    """Send all of it, or give the upload up. `NotFoundError`: the server has forgotten it."""
    try:
        _insist(exchange, path, body)
    except (*_BREAKS, NotFoundError):
        raise  # nobody there would listen, or knows it; it expires by itself
    except BaseException:
        with suppress(MemchunkError), exchange.ask("DELETE", path, headers=_TUS):
            pass
        raise


def _insist(exchange: Exchange, path: str, body: Outgoing) -> None:
    patience = Patience()
    most = 0
    offset: int | None = 0  # None where only the server knows
    while offset != body.size:
        try:
            if offset is None:
                offset = _ask_offset(exchange, path)
            else:
                offset = _send_from(offset, exchange, path, body)
        except _BREAKS as error:
            patience.wait(error)
            offset = None
        else:
            if offset > most:
                most, patience = offset, Patience()


def _ask_offset(exchange: Exchange, path: str) -> int:
    # The answer to a HEAD could not say what is wrong.
    headers = {**_TUS, "X-HTTP-Method-Override": "HEAD"}
    with exchange.ask("POST", path, headers=headers) as answer:
        return _offset(answer)


def _send_from(offset: int, exchange: Exchange, path: str, body: Outgoing) -> int:
    headers = {
        **_TUS,
        "Upload-Offset": str(offset),
        "Content-Type": "application/offset+octet-stream",
    }
    rest = Rest(body, offset)
    with exchange.ask("PATCH", path, headers=headers, body=rest) as answer:
        return _offset(answer)


def _offset(answer: httpx.Response) -> int:
    value = answer.headers.get("Upload-Offset", "")
    if not (value.isascii() and value.isdigit()):
        raise no_memchunk(answer)
    return int(value)
