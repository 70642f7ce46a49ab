"""Every error memchunk raises.

Each loss has a class of its own, each class a stable `code`, and each message
says what to do next. Nothing here knows of HTTP or of pymemcache.
"""

from __future__ import annotations

from collections.abc import Iterable


class MemchunkError(Exception):
    """Base of all errors of memchunk.

    Attributes:
        name: the file's name, or None where the error is not about one file.
        code: a stable word for the kind of error, for programs to compare.
    """

    code = "error"

    def __init__(self, message: str = "", *, name: str | None = None) -> None:
        super().__init__(message)
        self.name = name

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class InvalidNameError(MemchunkError, ValueError):
    """The name cannot be used: see `memchunk.names.check_name` for the rules."""

    code = "invalid_name"


class TooLargeError(MemchunkError, ValueError):
    """The file is larger than 50 MiB (52,428,800 bytes is allowed)."""

    code = "too_large"


class NotFoundError(MemchunkError, LookupError):
    """No file has this name: never stored, deleted, expired, or its manifest evicted."""

    code = "not_found"


class AlreadyExistsError(MemchunkError):
    """An intact file has this name, and `replace` was not asked for."""

    code = "already_exists"


class ChangedError(MemchunkError):
    """The name holds another file than the one expected.

    Raised where `if_match` names no sha256 of the present file, and by a reader
    from `open()` whose file was replaced after some of it was handed out.
    """

    code = "changed"


class EvictedError(MemchunkError):
    """The manifest is there, chunks are not: memcached needed the room.

    Attributes:
        missing: the indices of the missing chunks, ascending, from 0.
    """

    code = "evicted"

    def __init__(
        self, message: str = "", *, name: str | None = None, missing: Iterable[int] = ()
    ) -> None:
        super().__init__(message, name=name)
        self.missing = tuple(missing)


class CorruptError(MemchunkError):
    """Bytes came back that are not those that were stored."""

    code = "corrupt"


class DigestMismatchError(CorruptError):
    """The bytes sent are not those that the sender announced."""

    code = "digest_mismatch"


class UploadIncompleteError(MemchunkError):
    """An upload cannot be finished yet.

    Attributes:
        missing: the indices of the missing parts, ascending, from 0.
    """

    code = "upload_incomplete"

    def __init__(
        self, message: str = "", *, name: str | None = None, missing: Iterable[int] = ()
    ) -> None:
        super().__init__(message, name=name)
        self.missing = tuple(missing)


class LockedError(MemchunkError):
    """Somebody else appends to the upload at this moment."""

    code = "locked"


class WrongOffsetError(MemchunkError):
    """Bytes for an upload do not begin where those that are there end.

    Attributes:
        offset: the number of bytes that are there.
    """

    code = "wrong_offset"

    def __init__(self, message: str = "", *, name: str | None = None, offset: int = 0) -> None:
        super().__init__(message, name=name)
        self.offset = offset


class StorageFullError(MemchunkError):
    """memcached refused the write, or evicted its beginning before its end came."""

    code = "storage_full"


class UnavailableError(MemchunkError):
    """A server could not be reached, or did not answer in time.

    Attributes:
        server: the address of that server, as it was given to `connect`.
    """

    code = "unavailable"

    def __init__(
        self, message: str = "", *, name: str | None = None, server: str | None = None
    ) -> None:
        super().__init__(message, name=name)
        self.server = server
