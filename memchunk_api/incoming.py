"""A file on its way from a server: the whole of it, verified; or as a file that is read in parts.

Whatever bytes the client hands out have come through here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO

import httpx

from memchunk import MAX_FILE_BYTES, CorruptError, FileInfo, UnavailableError
from memchunk.draft import Progress
from memchunk.protocol import Buffer
from memchunk.seekable import SeekableFile
from memchunk_api import digests
from memchunk_api.conditional import ByteRange
from memchunk_api.exchange import no_memchunk

# About as much as the server verifies at a time, for every request costs it that.
READ_AHEAD_BYTES = 512 * 1024


class Incoming:
    """A whole file, block by block, in the answer to a GET.

    Attributes:
        size: its length in bytes.
    """

    def __init__(self, answer: httpx.Response) -> None:
        """Read the headers.

        Raises:
            UnexpectedAnswerError: they do not tell the file's size and digest.
        """
        self._answer = answer
        try:
            self.size = int(answer.headers["Content-Length"])
            self._digest = digests.parse(answer.headers["Repr-Digest"])["sha-256"]
        except (KeyError, ValueError):
            raise no_memchunk(answer) from None
        if answer.status_code != httpx.codes.OK or not 0 <= self.size <= MAX_FILE_BYTES:
            raise no_memchunk(answer)

    def blocks(self) -> Iterator[bytes]:
        """The bytes. They are worth something only once this has come to its end.

        Raises:
            CorruptError: they are not those that were stored.
        """
        sha256 = hashlib.sha256()
        for block in self._answer.iter_raw():
            sha256.update(block)
            yield block
        if sha256.digest() != self._digest:
            raise CorruptError("what arrived is not what was stored; get it again")

    def into(self, target: memoryview) -> int:
        """Fill `target`, which has room for it; the number of bytes. Raises `CorruptError`."""
        done = 0
        for block in self.blocks():
            target[done : done + len(block)] = block
            done += len(block)
        return done

    def write_to(self, target: BinaryIO, progress: Progress | None) -> int:
        """Write to `target` as it arrives; the number of bytes. Raises `CorruptError`."""
        done = 0
        for block in self.blocks():
            left = memoryview(block)
            while left:
                # Unbuffered files may take a part; some others do not say what they took.
                written = target.write(left)
                left = left[len(left) if written is None else written :]
            done += len(block)
            if progress is not None:
                progress(done, self.size)
        return done


class RemoteFile(SeekableFile):
    """A file on a server as a raw, seekable, read-only stream; each read is a request.

    The server verifies each chunk before it sends any of it. Reading raises `EvictedError`,
    `CorruptError`, `NotFoundError`, `UnavailableError`, and `ChangedError` where the file was
    replaced since it was opened.
    """

    def __init__(
        self,
        info: FileInfo,
        fetch: Callable[[FileInfo, ByteRange], AbstractContextManager[httpx.Response]],
    ) -> None:
        """`fetch` asks for a range of the file, if it is still the one of `info`."""
        super().__init__()
        self._info = info
        self._fetch = fetch

    @property
    def info(self) -> FileInfo:
        """What is known of the file that is being read."""
        return self._info

    def readinto(self, buffer: Buffer) -> int:  # type: ignore[override]
        """Read into `buffer` from the position on; the number of bytes, 0 at the file's end."""
        self._check_open()
        target = memoryview(buffer).cast("B")
        wanted = ByteRange(self._position, min(self._position + len(target), self._info.size))
        if wanted.start >= wanted.stop:
            return 0
        length, done = wanted.stop - wanted.start, 0
        try:
            with self._fetch(self._info, wanted) as answer:
                if answer.headers.get("Content-Range") != wanted.content_range(self._info.size):
                    raise no_memchunk(answer)
                for block in answer.iter_raw():
                    if done + len(block) > length:
                        raise no_memchunk(answer)
                    target[done : done + len(block)] = block
                    done += len(block)
                if done < length:
                    raise no_memchunk(answer)
        except UnavailableError:
            # What came is right. The next read asks for the rest, and is told what is wrong.
            if not done:
                raise
        self._position += done
        return done
