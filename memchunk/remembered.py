"""Uploads as this process last saw them. It spares questions; nothing depends on it."""

from __future__ import annotations

from memchunk.backend import Backend
from memchunk.parts import Parts
from memchunk.plan import Upload
from memchunk.registry import Registry, is_finished

MAX_REMEMBERED = 4096  # uploads


class Remembered:
    """What a process remembers of an upload that takes parts.

    Attributes:
        upload: the upload.
        record: its record, byte by byte; where memcached has another, all this is void.
        parts: its parts.
        watched: the last part that was missing when parts were last looked after.
    """

    def __init__(self, upload: Upload, record: bytes, parts: Parts) -> None:
        self.upload = upload
        self.record = record
        self.parts = parts
        self.watched = upload.part_count - 1
        self._renewed: float = upload.created

    def is_complete(self) -> bool:
        """Whether no part is missing; else another one is watched from now on.

        So each part is asked after about once, from the last to the first, and most parts
        that land find the watched one missing, and ask no further.
        """
        missing = self.parts.last_missing(self.watched + 1)
        if missing is not None:
            self.watched = missing
        return missing is None

    def renew(self, now: float) -> None:
        """Let all parts stay for another lifetime, where it is time for that."""
        if now - self._renewed >= self.upload.lifetime / 2:
            self._renewed = now
            self.parts.missing()


class Memory:
    """What a process remembers of the uploads that take parts. Shared between threads."""

    def __init__(self, backend: Backend, registry: Registry) -> None:
        self._backend = backend
        self._registry = registry
        self._known: dict[str, Remembered] = {}

    def recall(self, upload_id: str) -> Remembered:
        """An upload as it was last seen, if it was, or as it is now.

        Raises `NotFoundError` and `AlreadyExistsError` for one that takes no parts.
        """
        known = self._known.get(upload_id)
        if known is None:
            seen, upload = self._registry.find(upload_id)
            if upload.finished:
                raise is_finished(upload)
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            known = Remembered(upload, seen.record, Parts(self._backend, upload))
            self._known[upload_id] = known
        return known

    def recall_anew(self, upload_id: str) -> Remembered:
        """An upload as it is now. Raises what `recall` raises."""
        known = self.recall(upload_id)
        if self._registry.still_has(known.record, upload_id):
            return known
        self.forget(upload_id)
        return self.recall(upload_id)

    def forget(self, upload_id: str) -> None:
        """Look anew the next time."""
        self._known.pop(upload_id, None)
