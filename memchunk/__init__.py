"""memchunk stores whole files of 0 to 50 MiB in memcached, in chunks with a manifest.

It never hands back bytes that it cannot vouch for: `connect()` gives a `Store`, whose
verbs return the complete bytes of one write or raise one of the errors below.
"""

from memchunk.errors import (
    AlreadyExistsError,
    ChangedError,
    CorruptError,
    DigestMismatchError,
    EvictedError,
    InvalidNameError,
    MemchunkError,
    NotFoundError,
    StorageFullError,
    TooLargeError,
    UnavailableError,
    UploadIncompleteError,
)
from memchunk.expiry import KEEP
from memchunk.factory import connect
from memchunk.layout import MAX_FILE_BYTES
from memchunk.manifest import FileInfo
from memchunk.observer import Exchange, Observer
from memchunk.plan import Landing, Upload
from memchunk.store import Store
from memchunk.writer import WRITE_BUFFER_BYTES

__version__ = "0.1.0"

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
    "MemchunkError",
    "NotFoundError",
    "Observer",
    "StorageFullError",
    "Store",
    "TooLargeError",
    "UnavailableError",
    "Upload",
    "UploadIncompleteError",
    "connect",
]
