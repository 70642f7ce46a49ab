"""A file in memcached that was opened: read piece by piece, each chunk verified as it comes."""

from __future__ import annotations

import io

from memchunk.call import Telling
from memchunk.errors import ChangedError
from memchunk.layout import Slice
from memchunk.manifest import FileInfo, Manifest
from memchunk.protocol import Buffer
from memchunk.reader import Reader
from memchunk.seekable import SeekableFile


class StoredFile(SeekableFile):
    """A file in memcached as a raw, seekable, read-only stream; one chunk is held at a time.

    A chunk is fetched when it is first touched, and checked before any of it is
    handed out. Reading raises `EvictedError`, `CorruptError`, `NotFoundError`,
    `UnavailableError`, and `ChangedError` where the file was replaced after some of
    it was handed out or sought in; before that, the new file is read.
    """

    def __init__(self, reader: Reader, manifest: Manifest) -> None:
        super().__init__()
        self._reader = reader
        self._manifest = manifest
        self._untouched = True
        self._held = -1
        self._chunk = bytearray()

    @property
    def info(self) -> FileInfo:
        """What is known of the file that is being read."""
        return self._manifest.info()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position, which may lie past the end; the new position."""
        before = self._position
        if super().seek(offset, whence) != before:
            self._untouched = False
        return self._position

    def readinto(self, buffer: Buffer) -> int:  # type: ignore[override]
        """Read into `buffer`, up to the end of the chunk at the position; the number of bytes."""
        self._check_open()
        target = memoryview(buffer).cast("B")
        piece = self._next_piece(len(target))
        if piece is None:
            return 0
        held = memoryview(self._chunk)
        target[: piece.length] = held[piece.start : piece.start + piece.length]
        self._position += piece.length
        self._untouched = False
        return piece.length

    def readall(self) -> bytes:
        """The bytes from the position to the end."""
        self._check_open()
        self._next_piece(1)  # once a chunk is held the file cannot become another one
        return super().readall()

    def _next_piece(self, length: int) -> Slice | None:
        """What comes next, of at most `length` bytes, with its chunk held; None at the end."""
        while True:
            stop = self._position + length
            piece = next(self._manifest.layout.slices(self._position, stop), None)
            with Telling(self._reader.observer, self._manifest.name):
                if piece is None or self._hold(piece.index):
                    return piece

    def _hold(self, index: int) -> bool:
        """Hold chunk `index`; False where the file was replaced, and is to be read anew."""
        if index == self._held:
            return True
        self._held = -1
        if len(self._chunk) != self._manifest.layout.length(index):
            self._chunk = bytearray(self._manifest.layout.length(index))
        if self._reader.load_chunk(self._manifest, index, memoryview(self._chunk)):
            self._held = index
            return True
        missing = self._reader.missing(self._manifest) or [index]
        successor = self._reader.successor(self._manifest, missing)
        if not self._untouched:
            raise ChangedError(
                f"{self._manifest.name!r} was replaced while being read; open it again",
                name=self._manifest.name,
            )
        self._manifest = successor
        return False
