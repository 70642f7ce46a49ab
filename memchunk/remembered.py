"""Uploads as this process last saw them, and the parts that land in them.

What is remembered spares questions; nothing depends on it.
"""

from __future__ import annotations

import time

from memchunk.backend import Backend
from memchunk.parts import Parts
from memchunk.plan import Landing, Upload
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

    def __init__(self, backend: Backend, registry: Registry, upload: Upload, record: bytes) -> None:
        self._backend = backend
        self._registry = registry
        self.upload = upload
        self.record = record
        self.parts = Parts(backend, upload)
        self.watched = upload.part_count - 1
        self._renewed: float = upload.created

    def land(self, index: int, data: memoryview) -> Landing | None:
        """Store a part that fits; None, and nothing stored, where the record is another one."""
        add = self.parts.add(index, data)
        # in this order: after the part is there, what else is missing, and whether the
        # upload is still the one it was meant for
        stored, watched, record, _ = self._backend.exchange(
            [
                add,
                self.parts.touch(self.watched),
                self._registry.question(self.upload.id),
                self._registry.renewal(self.upload),
            ]
        )
        if record.value != self.record:
            if stored.word == "STORED":
                self.parts.discard(index)
            return None
        refused = stored.word == "REFUSED"
        stored = self._backend.insist(add, stored)
        complete = (refused or watched.word == "TOUCHED") and self.is_complete()
        self._renew(time.time())
        return Landing(stored.word == "STORED", complete)

    def is_complete(self) -> bool:
        """Whether no part is missing; else another one is watched from now on.

        So each part is asked after about once, from the last to the first, and most parts
        that land find the watched one missing, and ask no further.
        """
        missing = self.parts.last_missing(self.watched + 1)
        if missing is not None:
            self.watched = missing
        return missing is None

    def _renew(self, now: float) -> None:
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
            known = Remembered(self._backend, self._registry, upload, seen.record)
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
