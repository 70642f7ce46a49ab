"""Uploads: files that arrive in parts, over many requests and through many processes.

All state is in memcached. An upload is a record that was added, a part an item that
was added; no two parts touch the same item, so they may land at once, in any order.
What a process remembers beside that only spares it questions.

A part that lands renews the record's lifetime; the parts have twice that lifetime,
and each process that takes parts touches all of them when half a lifetime has gone by
since it last did. So the record always goes first, and what is given up or left
behind is gone within two lifetimes.

How to build on it. Parts of a size that the client chooses, in any order: `put_part`
with what it sends. Bytes in order from an offset, cut anywhere: `append`, and `offset`
to go on after a break.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

from memchunk.appender import Appender
from memchunk.assembly import Assembler
from memchunk.backend import Backend
from memchunk.call import Call, Telling
from memchunk.deadline import Within
from memchunk.expiry import expiry
from memchunk.index import Index
from memchunk.manifest import FileInfo
from memchunk.mediatype import guess_content_type
from memchunk.names import check_name
from memchunk.parts import Parts
from memchunk.plan import LIFETIME_SECONDS, Landing, Upload, check
from memchunk.protocol import Buffer
from memchunk.reader import Reader
from memchunk.registry import (
    MAX_ATTEMPTS,
    Registration,
    Registry,
    incomplete,
    is_finished,
    no_upload,
    too_busy,
    under_way,
)
from memchunk.remembered import Memory
from memchunk.writer import Writer


class Uploads:
    """The uploads of a store. Made by `Store.uploads`; may be shared like the store itself.

    Every verb may raise `UnavailableError`, and `CorruptError` where the record of the
    upload is damaged; it can then be aborted, and created again.
    """

    def __init__(self, backend: Backend, index: Index, reader: Reader, writer: Writer) -> None:
        self._backend = backend
        self._index = index
        self._registry = Registry(backend)
        self._assembler = Assembler(index, reader, writer)
        self._memory = Memory(backend, self._registry)

    def create(
        self,
        name: str,
        size: int,
        part_size: int | None = None,
        sha256: str | None = None,
        *,
        content_type: str | None = None,
        ttl: int | float | None = None,
        replace: bool = False,
        lifetime: int = LIFETIME_SECONDS,
        upload_id: str | None = None,
        note: str = "",
    ) -> Upload:
        """Announce a file of `size` bytes that will come in parts of `part_size` bytes.

        By default each part fills a slot of memcached, as the chunks of files do: a full
        memcached has room for little else.

        Args:
            name: what to call the file.
            size: 0 to 52,428,800 bytes (50 MiB), in at most 262,144 parts.
            part_size: 1 to 1,047,552 bytes, or None; the last part is what is left.
            sha256: the digest (hex) that the bytes must have.
            content_type: the media type; by default what the name's ending stands for.
            ttl: the lifetime of the file in seconds, from when it is finished, or None.
            replace: whether an intact file of that name may be replaced.
            lifetime: the seconds that the upload waits for its next part.
            upload_id: what to call the upload, 1 to 64 of `A-Z a-z 0-9 _ -`; by default
                something that cannot be guessed.
            note: up to 4096 ASCII characters to find there again.

        Raises:
            AlreadyExistsError: an upload of that id is under way; or an intact file has the
                name, and `replace` is false.
            TooLargeError: more than 50 MiB.
            StorageFullError: memcached refused the record.
            InvalidNameError, TypeError, ValueError: an argument cannot be used.
        """
        check_name(name)
        now = time.time()
        expiry(ttl, now)
        generation = self._backend.new_generation(name)
        with Call(self._backend.observer, name, self._backend.deadline):
            if part_size is None:
                part_size = self._backend.server_of_chunks(generation).chunk_bytes
            upload = Upload(
                id=secrets.token_urlsafe(24) if upload_id is None else upload_id,
                name=name,
                size=size,
                part_size=part_size,
                sha256=sha256,
                content_type=guess_content_type(name) if content_type is None else content_type,
                ttl=ttl,
                replace=replace,
                lifetime=lifetime,
                generation=generation,
                created=int(now),
                note=note,
            )
            check(upload)
            self._register(upload)
        return upload

    def _register(self, upload: Upload) -> None:
        for _ in range(MAX_ATTEMPTS):
            seen = self._registry.look(upload.id)
            if seen is not None and seen.is_pending:
                raise under_way(upload)
            if not upload.replace:  # asked only now: a finished upload has left its file
                self._assembler.check_free(upload.name)
            if self._registry.put(upload, over=seen):
                return
        raise too_busy(upload.id)

    def get(self, upload_id: str) -> Upload:
        """What is known of an upload, under way or finished.

        Raises `NotFoundError`: never created, aborted, expired, or forgotten by memcached.
        """
        _, upload = self._registry.find(upload_id)
        return upload

    def recall(self, upload_id: str) -> Upload:
        """The same as this process last saw it, if it did: perhaps out of date, but for nothing."""
        return self._memory.recall(upload_id).upload

    def put_part(self, upload_id: str, index: int, data: Buffer) -> Landing:
        """Store part `index` (from 0), unless it is there. One round trip on one memcached.

        Raises:
            NotFoundError: there is no such upload.
            AlreadyExistsError: it is finished.
            TypeError, ValueError: there is no such part, or it has another length.
            StorageFullError: memcached refused the part.
            UnavailableError: as everywhere; the part may have been stored.
        """
        with memoryview(data) as given, given.cast("B") as view, Within(self._backend.deadline):
            return self._put_part(upload_id, index, view)

    def _put_part(self, upload_id: str, index: int, data: memoryview) -> Landing:
        for _ in range(MAX_ATTEMPTS):
            known = self._memory.recall(upload_id)
            misfit = known.upload.misfit(index, len(data))
            if misfit is not None and self._registry.still_has(known.record, upload_id):
                raise ValueError(misfit)
            landing = None if misfit is not None else known.land(index, data)
            if landing is not None:
                return landing
            self._memory.forget(upload_id)
        raise too_busy(upload_id)

    def is_complete(self, upload_id: str) -> bool:
        """Whether no part is missing, as far as can be told; quicker than `missing`.

        Raises `NotFoundError`, and `AlreadyExistsError` for a finished upload.
        """
        with Within(self._backend.deadline):
            return self._memory.recall_anew(upload_id).is_complete()

    def missing(self, upload_id: str) -> list[int]:
        """The indices of the parts that are still to come, or were lost, ascending.

        None for a finished upload. Renews the lifetime of the upload. `NotFoundError`.
        """
        with Within(self._backend.deadline):
            _, upload = self._registry.find(upload_id)
            if upload.finished:
                return []
            self._backend.exchange([self._registry.renewal(upload)])
            return Parts(self._backend, upload).missing()

    def offset(self, upload_id: str) -> int:
        """How many bytes are there without a gap: where to go on with `append`.

        Renews the lifetime of the upload. `NotFoundError`.
        """
        with Within(self._backend.deadline):
            _, upload = self._registry.find(upload_id)
            if upload.finished:
                return upload.size
            self._backend.exchange([self._registry.renewal(upload)])
            return self._appender(upload).offset()

    def append(self, upload_id: str, offset: int, source: Any, *, whole: bool = False) -> int:
        """Store bytes from `offset` on, which is where those that are there end.

        What came before `source` raised is kept: see `offset`. To try renews the lifetime of
        the upload.

        Args:
            upload_id: the upload.
            offset: the number of bytes that are there.
            source: a binary file with `readinto`, which is read to its end.
            whole: keep all that `source` gives, or nothing of it.

        Returns how many bytes are there now; where that is all, call `finish`.

        Raises:
            NotFoundError: there is no such upload.
            AlreadyExistsError: it is finished.
            LockedError: somebody else appends to it, or may have while `source` gave nothing
                for seconds; what they have stored stays.
            WrongOffsetError: it does not have `offset` bytes.
            TooLargeError: there are more bytes than it has room for; none of them is kept.
            StorageFullError: memcached refused a part; what came before it is kept.
            Anything that the source raises.
        """
        with Within(self._backend.deadline):
            _, upload = self._registry.find(upload_id)
            if upload.finished:
                raise is_finished(upload)
            self._backend.exchange([self._registry.renewal(upload)])
            return self._appender(upload).append(offset, source, whole=whole)

    def _appender(self, upload: Upload) -> Appender:
        return Appender(self._backend, upload, Parts(self._backend, upload), self.put_part)

    def finish(self, upload_id: str) -> FileInfo:
        """Make the file, once all parts are there, and free them. Again, it tells the same.

        Several at once make one file. After an exception the upload stands as before;
        `abort` it, or send what is missing.

        Raises:
            NotFoundError: there is no such upload, or what it made is gone.
            UploadIncompleteError: parts are missing. One that is found damaged is deleted,
                and is missing from then on.
            DigestMismatchError: the bytes do not have the announced sha256.
            AlreadyExistsError: another file has taken the name, and `replace` is false.
            StorageFullError: memcached has no room for the file beside its parts.
        """
        with Within(self._backend.deadline):
            for _ in range(MAX_ATTEMPTS):
                seen, upload = self._registry.find(upload_id)
                if upload.finished:
                    return self._index.find(upload.name).info()
                with Telling(self._backend.observer, upload.name):
                    info = self._finish(upload, seen)
                if info is not None:
                    return info
            raise too_busy(upload_id)

    def _finish(self, upload: Upload, seen: Registration) -> FileInfo | None:
        """Finish an upload; None where something changed meanwhile: look again."""
        parts = Parts(self._backend, upload)
        missing = parts.missing()
        info = None if missing else self._assembler.make(upload, parts)
        if info is not None:
            self._registry.finish(upload, over=seen)
            self._memory.forget(upload.id)
            parts.free()
        elif missing and self._registry.still_has(seen.record, upload.id):
            self._memory.forget(upload.id)  # parts were lost that it has seen
            raise incomplete(upload, missing)
        return info

    def abort(self, upload_id: str) -> None:
        """Give an upload up, and free its parts. The file of a finished one stays.

        Of several at once, one succeeds. Raises `NotFoundError`.
        """
        with Within(self._backend.deadline):
            for _ in range(MAX_ATTEMPTS):
                seen = self._registry.look(upload_id)
                if seen is None:
                    raise no_upload(upload_id)
                if self._registry.remove(upload_id, seen):
                    self._memory.forget(upload_id)
                    if seen.upload is not None and not seen.upload.finished:
                        Parts(self._backend, seen.upload).free()
                    return
            raise too_busy(upload_id)
