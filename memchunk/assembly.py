"""The parts of an upload become a file, through the writer that makes all files."""

from __future__ import annotations

from memchunk.bulk import CHUNKS_IN_FLIGHT
from memchunk.draft import Order
from memchunk.errors import AlreadyExistsError, ChangedError, NotFoundError
from memchunk.index import Index, already_exists
from memchunk.manifest import FileInfo
from memchunk.parts import PartLostError, Parts, PartsFile
from memchunk.plan import Upload
from memchunk.reader import Reader
from memchunk.sources import Stream
from memchunk.writer import Writer


class Assembler:
    """Makes files of an index."""

    def __init__(self, index: Index, reader: Reader, writer: Writer) -> None:
        self._index = index
        self._reader = reader
        self._writer = writer

    def check_free(self, name: str) -> None:
        """Raise `AlreadyExistsError` where an intact file has the name."""
        seen, _ = self._index.look(name)
        if seen is not None and self._reader.is_worth_keeping(seen):
            raise already_exists(name)

    def make(self, upload: Upload, parts: Parts) -> FileInfo | None:
        """Store the file; None where a part is gone or the name has changed hands: look again.

        Where somebody else makes the same file at the same time, it is made once. Raises
        `DigestMismatchError`, `AlreadyExistsError`, `StorageFullError`, `UnavailableError`.
        """
        file = PartsFile(parts, upload)
        order = Order(
            upload.name,
            upload.content_type,
            if_match=self._expected(upload),
            ttl=upload.ttl,
            sha256=upload.sha256,
        )
        try:
            try:
                return self._writer.write(order, Stream(file, CHUNKS_IN_FLIGHT, upload.size))
            except (AlreadyExistsError, ChangedError, NotFoundError):
                return self._adopt(upload, file.hexdigest())
        except PartLostError:
            return None

    def _expected(self, upload: Upload) -> set[str] | None:
        """The sha256 of the file to be replaced, or None.

        Only what is there now, while the upload is still under way, may be replaced: not
        what comes after another process has finished it.
        """
        if not upload.replace:
            return None
        seen, _ = self._index.look(upload.name)
        return None if seen is None or seen.manifest is None else {seen.manifest.sha256}

    def _adopt(self, upload: Upload, sha256: str) -> FileInfo | None:
        """The file that has taken the name, if it is the same; None to look again.

        Raises `AlreadyExistsError`.
        """
        seen, _ = self._index.look(upload.name)
        if seen is None or not self._reader.is_worth_keeping(seen):
            return None
        there = seen.manifest  # None where a later version wrote it: not for us to judge
        if there is not None and there.sha256 == sha256:
            return there.info()
        if there is not None and upload.replace:
            return None
        raise already_exists(upload.name)
