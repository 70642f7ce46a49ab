"""File contents that tell who wrote them, so that every wrong byte is recognised.

They begin with a tag, in plain text, and go on with bytes that follow from it.
"""

from __future__ import annotations

import hashlib
import re

_HEAD = re.compile(rb"<([^<>]{1,100}) (\d+)>")


def contents(tag: str, size: int) -> bytes:
    """The `size` bytes of a tag, or a few more where its name alone is longer."""
    head = f"<{tag} {size}>".encode()
    return head + hashlib.shake_128(head).digest(max(0, size - len(head)))


def expected(beginning: bytes) -> bytes:
    """The whole contents that begin so. Raises `AssertionError` where no contents do."""
    head = _HEAD.match(beginning)
    assert head is not None, f"nobody wrote {beginning[:40]!r}"
    return contents(head[1].decode(), int(head[2]))


def check(data: bytes) -> None:
    """Raise `AssertionError` unless these are whole contents, to the last byte."""
    whole = expected(data[:200])
    assert len(data) == len(whole), f"{len(data)} bytes of {whole[:40]!r}"
    assert data == whole, f"a wrong byte in {whole[:40]!r}"


def check_part(data: bytes, start: int, beginning: bytes) -> None:
    """The same for a part from `start` on of the contents that begin with `beginning`."""
    whole = expected(beginning)
    assert data == whole[start : start + len(data)], f"a wrong byte in {whole[:40]!r}"
