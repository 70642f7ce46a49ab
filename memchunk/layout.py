"""How a size becomes chunks, and which chunk holds which byte.

memcached keeps items of like size together in slab classes, each with an LRU of
its own. A chunk of odd size lands in a class that owns few pages and is evicted
long before its file is old; chunks that all fill the largest slot (512 KiB by
default) age together. So every chunk of a larger file fills one slot, and the last
one is padded with zeros up to it. Small files stay one chunk of their own size.
Pure: arithmetic only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MAX_FILE_BYTES = 50 * 1024 * 1024

SLOT_BYTES = 512 * 1024  # memcached's slab_chunk_max by default
CHUNK_BYTES = SLOT_BYTES - 1024  # what fits in a slot with the item header and any key of ours
PAD_ABOVE_BYTES = 128 * 1024  # below, padding to a slot would cost more than it saves


@dataclass(frozen=True, slots=True)
class Slice:
    """A run of file bytes within one chunk: `length` bytes from `start` of chunk `index`."""

    index: int
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the bytes of one file lie.

    Chunk i holds file bytes from `i * chunk_size` on; only the last may hold fewer,
    and is followed by `padding` zero bytes that belong to no file. All in bytes.
    An empty file has no chunks.
    """

    size: int
    chunk_size: int
    padding: int = 0

    @property
    def chunk_count(self) -> int:
        """The number of chunks."""
        return -(-self.size // self.chunk_size)

    def length(self, index: int) -> int:
        """The number of file bytes in chunk `index`."""
        return min(self.chunk_size, self.size - index * self.chunk_size)

    def padding_of(self, index: int) -> int:
        """The number of zero bytes behind the file bytes of chunk `index`."""
        return self.padding if index == self.chunk_count - 1 else 0

    def slices(self, start: int, stop: int) -> Iterator[Slice]:
        """The slices that make up the bytes from `start` up to `stop`, in order.

        What lies outside the file is left out.
        """
        start, stop = max(start, 0), min(stop, self.size)
        while start < stop:
            index, offset = divmod(start, self.chunk_size)
            length = min(self.length(index) - offset, stop - start)
            yield Slice(index, offset, length)
            start += length


def lay_out(size: int) -> Layout:
    """The layout of a file of `size` bytes."""
    padded = size > PAD_ABOVE_BYTES
    return Layout(size, CHUNK_BYTES, -size % CHUNK_BYTES if padded else 0)
