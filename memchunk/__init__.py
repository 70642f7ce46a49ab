"""memchunk stores whole files of 0 to 50 MiB in memcached, in chunks with a manifest.

It never hands back bytes that it cannot vouch for: `connect()` gives a `Store`, whose
verbs return the complete bytes of one write or raise one of the errors below.

The errors are here at once; the rest is imported when it is first asked for, so that a
program that only might need memchunk starts no later for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from memchunk.errors import (
    AlreadyExistsError,
    ChangedError,
    CorruptError,
    DigestMismatchError,
    EvictedError,
    InvalidNameError,
    LockedError,
    MemchunkError,
    NotFoundError,
    StorageFullError,
    TooLargeError,
    UnavailableError,
    UploadIncompleteError,
    WrongOffsetError,
)

if TYPE_CHECKING:
    from memchunk.expiry import KEEP
    from memchunk.factory import connect
    from memchunk.layout import MAX_FILE_BYTES
    from memchunk.manifest import FileInfo
    from memchunk.observer import Exchange, Observer
    from memchunk.plan import Landing, Upload
    from memchunk.store import Store
    from memchunk.writer import WRITE_BUFFER_BYTES

__version__ = "0.1.0"

_HOMES = {
    "KEEP": "expiry",
    "MAX_FILE_BYTES": "layout",
    "WRITE_BUFFER_BYTES": "writer",
    "Exchange": "observer",
    "FileInfo": "manifest",
    "Landing": "plan",
    "Observer": "observer",
    "Store": "store",
    "Upload": "plan",
    "connect": "factory",
}

__all__ = [
    "KEEP",
    "MAX_FILE_BYTES",
    "WRITE_BUFFER_BYTES",
    "AlreadyExistsError",
    "ChangedError",
    "CorruptError",
    "DigestMismatchError",
    "EvictedError",
    "Exchange",
    "FileInfo",
    "InvalidNameError",
    "Landing",
    "LockedError",
    "MemchunkError",
    "NotFoundError",
    "Observer",
    "StorageFullError",
    "Store",
    "TooLargeError",
    "UnavailableError",
    "Upload",
    "UploadIncompleteError",
    "WrongOffsetError",
    "connect",
]

if not TYPE_CHECKING:  # to mypy, every name would exist

    def __getattr__(name: str) -> object:
        """Import what is not here yet (PEP 562)."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        return value
