"""Which record stands under the id of an upload: look it up, put one there, take it away.

A record is only ever put by `add` or by `cas` against the one seen before, and only
taken away by `cas`, as manifests are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace as changed_copy

from memchunk import plan, protocol
from memchunk.backend import Backend
from memchunk.errors import (
    AlreadyExistsError,
    ChangedError,
    CorruptError,
    NotFoundError,
    UploadIncompleteError,
    WrongOffsetError,
)
from memchunk.names import upload_key
from memchunk.plan import MAX_RECORD_BYTES, Upload
from memchunk.protocol import Command

MAX_ATTEMPTS = 100


@dataclass(frozen=True, slots=True)
class Registration:
    """What stands under an id at one moment.

    Attributes:
        cas: the unique number of that state of the item.
        record: the record, byte by byte.
        upload: the upload that it describes, or None where it is damaged.
        damage: how it is damaged, or None.
    """

    cas: bytes
    record: bytes
    upload: Upload | None
    damage: CorruptError | None

    @property
    def is_pending(self) -> bool:
        """Whether it is an upload that takes parts."""
        return self.upload is not None and not self.upload.finished


class Registry:
    """The records of the uploads in a namespace."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def _key(self, upload_id: str) -> str:
        if not plan.is_id(upload_id):  # it may come from anywhere, and be no part of a key
            raise no_upload(upload_id)
        return upload_key(self._backend.namespace, upload_id)

    def question(self, upload_id: str) -> Command:
        """Ask for the record of an upload."""
        return protocol.gets(self._key(upload_id), MAX_RECORD_BYTES)

    def renewal(self, upload: Upload) -> Command:
        """Let the record stay for another lifetime."""
        return protocol.touch(self._key(upload.id), upload.lifetime)

    def look(self, upload_id: str) -> Registration | None:
        """What stands under an id, or None."""
        [reply] = self._backend.exchange([self.question(upload_id)])
        if reply.word == "END":
            return None
        try:
            upload = plan.decode(reply.value, upload_id)
        except CorruptError as damage:
            return Registration(reply.cas, reply.value, None, damage)
        return Registration(reply.cas, reply.value, upload, None)

    def find(self, upload_id: str) -> tuple[Registration, Upload]:
        """What stands under an id, and the upload. Raises `NotFoundError` and `CorruptError`."""
        seen = self.look(upload_id)
        if seen is None:
            raise no_upload(upload_id)
        if seen.upload is None:
            assert seen.damage is not None
            raise seen.damage
        return seen, seen.upload

    def still_has(self, record: bytes, upload_id: str) -> bool:
        """Whether the record of an upload is still this very one."""
        seen = self.look(upload_id)
        return seen is not None and seen.record == record

    def put(self, upload: Upload, over: Registration | None) -> bool:
        """Put the record of a new upload in place if what stands there is still `over`.

        Returns whether it was. Raises `StorageFullError`.
        """
        command = self._store(upload, over)
        [reply] = self._backend.exchange([command])
        return self._backend.insist(command, reply).word == "STORED"

    def finish(self, upload: Upload, over: Registration) -> None:
        """Mark an upload as finished, if it still stands as it was seen.

        Where it does not, or memcached has no room for the mark, it is not: the file is
        there all the same.
        """
        finished = changed_copy(upload, finished=True)
        seen: Registration | None = over
        for _ in range(MAX_ATTEMPTS):
            if seen is None or seen.record != over.record:
                return
            [reply] = self._backend.exchange([self._store(finished, seen)])
            if reply.word != "EXISTS":
                return
            seen = self.look(upload.id)  # the connection may only have been too young for a cas

    def remove(self, upload_id: str, seen: Registration) -> bool:
        """Take the record away if it is still the one `seen`; whether it was."""
        return self._backend.remove(self._key(upload_id), seen.cas)

    def _store(self, upload: Upload, over: Registration | None) -> Command:
        return protocol.store(
            "add" if over is None else "cas",
            self._key(upload.id),
            upload.lifetime,
            plan.encode(upload),
            cas=b"" if over is None else over.cas,
        )


def no_upload(upload_id: str) -> NotFoundError:
    """The error for an id that has no upload."""
    return NotFoundError(
        f"there is no upload {upload_id!r:.80}; it was never created, it is over, or memcached has "
        "forgotten it: create it again"
    )


def under_way(upload: Upload) -> AlreadyExistsError:
    """The error for an id that an upload has which is not finished."""
    return AlreadyExistsError(
        f"upload {upload.id!r} is under way; send what is missing, or abort it", name=upload.name
    )


def is_finished(upload: Upload) -> AlreadyExistsError:
    """The error for a part of an upload that takes no more."""
    return AlreadyExistsError(
        f"upload {upload.id!r} is finished: it is the file {upload.name!r} now", name=upload.name
    )


def incomplete(upload: Upload, missing: list[int]) -> UploadIncompleteError:
    """The error for an upload of which parts are missing."""
    return UploadIncompleteError(
        f"{len(missing)} of the {upload.part_count} parts of upload {upload.id!r} are missing; "
        "send them, then finish it",
        name=upload.name,
        missing=missing,
    )


def wrong_offset(upload: Upload, here: int, asked: int) -> WrongOffsetError:
    """The error for bytes from `asked` on, for an upload that has bytes up to `here`."""
    return WrongOffsetError(
        f"the upload has {here} bytes; go on from there, not from {asked}",
        name=upload.name,
        offset=here,
    )


def too_busy(upload_id: str) -> ChangedError:
    """The error for an upload that others change all the time."""
    return ChangedError(
        f"upload {upload_id!r} was changed {MAX_ATTEMPTS} times by others meanwhile, or the "
        "connection was lost as often; try again"
    )
