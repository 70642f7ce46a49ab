"""How a size becomes chunks, and which chunk holds which byte.

memcached keeps items of like size together in slab classes, each with pages and an
LRU of its own. A class is true to its age only while the pages it owns fit what
comes: a chunk of odd size lands in a class of few pages, and is evicted long before
its file is old. Chunks that fill the largest slot (512 KiB by default) share one
class, which owns nearly all the memory, and age together.

So a file is cut into whole slots, and what is left over is padded with zeros to a slot
of its own. For a file of less than three slots that would be dear: there a small rest
is padded to a small slot, of which six go on a page, so that few pages hold what a
mixture of sizes brings. A file that is itself no larger than that stays as it is.
`benchmarks/retention.py` is where the rule comes from.
Pure: arithmetic only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

MAX_FILE_BYTES = 50 * 1024 * 1024

SLOT_BYTES = 512 * 1024  # memcached's slab_chunk_max by default
ITEM_OVERHEAD_BYTES = 1024  # more than an item's header and any key of ours
CHUNK_BYTES = SLOT_BYTES - ITEM_OVERHEAD_BYTES
MAX_CHUNK_BYTES = 1024 * 1024 - ITEM_OVERHEAD_BYTES  # a page; larger slots bring nothing
MIN_CHUNK_BYTES = 8 * 1024  # a file of smaller chunks would have too long a manifest

SMALL_REST_BYTES = 157 * 1024  # with its header, in a slot of 161,720 bytes: six to a page
FEW_SLOTS = 3


@dataclass(frozen=True, slots=True)
class Slice:
    """A run of file bytes within one chunk: `length` bytes from `start` of chunk `index`."""

    index: int
    start: int
    length: int


class Layout(NamedTuple):
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


class Rule(NamedTuple):
    """How files are laid out.

    Attributes:
        chunk_size: the number of bytes that fill a slot.
        compact: never pad. Saves memory where all files have much the same size; in a
            mixture, files are lost early.
    """

    chunk_size: int = CHUNK_BYTES
    compact: bool = False

    def lay_out(self, size: int) -> Layout:
        """The layout of a file of `size` bytes."""
        if size <= SMALL_REST_BYTES and size <= self.chunk_size:
            return Layout(size, self.chunk_size, 0)
        slots, rest = divmod(size, self.chunk_size)
        small = min(SMALL_REST_BYTES, self.chunk_size)
        if self.compact or not rest:
            padding = 0
        elif slots < FEW_SLOTS and rest <= small:
            padding = small - rest
        else:
            padding = self.chunk_size - rest
        return Layout(size, self.chunk_size, padding)


def chunk_bytes(slab_chunk_max: int, item_size_max: int) -> int:
    """The number of bytes of a file that fill the largest slot of a memcached.

    Args:
        slab_chunk_max: the largest slot, in bytes (`stats settings`).
        item_size_max: the largest item, in bytes (`-I`).
    """
    largest = min(slab_chunk_max, item_size_max) - ITEM_OVERHEAD_BYTES
    return max(MIN_CHUNK_BYTES, min(largest, MAX_CHUNK_BYTES))
