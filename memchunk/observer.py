"""What a store tells of its work to a program that wants to know: see `Observer`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

from memchunk.errors import MemchunkError, UnavailableError
from memchunk.manifest import FileInfo

log = logging.getLogger("memchunk")


class Exchange(NamedTuple):
    """Commands that went over one connection to a memcached, and what came back.

    Attributes:
        server: its address, as it was given to `connect`.
        commands: how many of each were sent, by their first word: `get`, `set`, ...
        bytes_sent: the bytes of the commands, with their values.
        bytes_received: the bytes of the replies.
        error: what ended it, or None where every reply came.
    """

    server: str
    commands: Mapping[str, int]
    bytes_sent: int
    bytes_received: int
    error: UnavailableError | None


class Observer:
    """Base of those who are told what a store does; each method here does nothing.

    They are called by the thread that does the work, by many of them at once, before the
    verb returns: be quick. What they raise is logged and changes nothing for the verb.
    """

    def exchanged(self, exchange: Exchange) -> None:
        """Commands were sent to a memcached and answered, or not."""

    def failed(self, error: MemchunkError) -> None:
        """A verb, or reading from what `open` returned, raises `error`.

        Its class tells losses apart: `NotFoundError`, `EvictedError`, `CorruptError`,
        `StorageFullError`, `UnavailableError`.
        """

    def wrote(self, info: FileInfo, *, healed: bool) -> None:
        """A file was stored; `healed` where it took the place of a damaged one unasked.

        A put with `replace` or `if_match` does not look whether what it replaces is damaged.
        """

    def read(self, info: FileInfo) -> None:
        """A whole file was read and verified. Reading from what `open` returned is not told."""


class Guarded(Observer):
    """Passes on to an observer, and keeps what it raises from whoever calls."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def exchanged(self, exchange: Exchange) -> None:
        """See `Observer`."""
        _tell(lambda: self._observer.exchanged(exchange))

    def failed(self, error: MemchunkError) -> None:
        """See `Observer`."""
        _tell(lambda: self._observer.failed(error))

    def wrote(self, info: FileInfo, *, healed: bool) -> None:
        """See `Observer`."""
        _tell(lambda: self._observer.wrote(info, healed=healed))

    def read(self, info: FileInfo) -> None:
        """See `Observer`."""
        _tell(lambda: self._observer.read(info))


def _tell(call: Callable[[], None]) -> None:
    try:
        call()
    except Exception:
        log.exception("the observer failed")
