"""New memory for a whole file, in huge pages where the system has them.

Memory that was never touched costs a page fault every 4 KiB, which for a large file
takes as long as its transfer; a huge page covers 2 MiB.
"""

from __future__ import annotations

import ctypes
import functools
import io
import mmap
from collections.abc import Callable

HUGE_PAGE_BYTES = 2 * 1024 * 1024
WORTH_IT_BYTES = 4 * HUGE_PAGE_BYTES  # below, too little of the memory is whole huge pages


class FreshBytes:
    """Room for a `bytes` object that is filled in place and then taken without a copy.

    Attributes:
        view: the room, writable; of no use once the bytes are taken.
    """

    def __init__(self, size: int) -> None:
        self._holder = io.BytesIO(bytes(size))
        self.view = self._holder.getbuffer()
        if size >= WORTH_IT_BYTES:
            _advise_huge_pages(self.view)

    def take(self) -> bytes:
        """The bytes as they are now."""
        self.view.release()
        return self._holder.getvalue()


def _advise_huge_pages(view: memoryview) -> None:
    madvise = _madvise()
    if madvise is None:
        return
    start = ctypes.addressof(ctypes.c_char.from_buffer(view))
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    # advice only: where it is refused, pages stay as they are
    madvise(first, start + len(view) - first, mmap.MADV_HUGEPAGE)


@functools.cache
def _madvise() -> Callable[[int, int, int], int] | None:
    """The C library's madvise, or None where there are no huge pages to ask for."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return madvise
