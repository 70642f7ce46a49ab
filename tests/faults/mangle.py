"""Bytes that are nearly right."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

ODD = [b"\r\n", b"\n", b"\0", b" ", b"-1", b"VALUE ", b"END\r\n", b"99999999999", b"\xff\xfe", b"{"]

Mangling = Callable[[random.Random, bytes], bytes]


def _cut(chance: random.Random, data: bytes) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _flip(chance: random.Random, data: bytes) -> bytes:
    if not data:
        return data
    position = chance.randrange(len(data))
    return data[:position] + bytes([chance.randrange(256)]) + data[position + 1 :]


def _insert(chance: random.Random, data: bytes) -> bytes:
    position = chance.randrange(len(data) + 1)
    return data[:position] + chance.choice(ODD) + data[position:]


def _drop(chance: random.Random, data: bytes) -> bytes:
    start = chance.randrange(len(data) + 1)
    return data[:start] + data[start + chance.randrange(8) :]


def _repeat(chance: random.Random, data: bytes) -> bytes:
    start = chance.randrange(len(data) + 1)
    end = start + chance.randrange(40)
    return data[:end] + data[start:]


MANGLINGS: list[Mangling] = [_cut, _flip, _flip, _insert, _insert, _drop, _repeat]


def mangled(chance: random.Random, originals: Sequence[bytes]) -> bytes:
    """One of `originals`, or two of them joined, spoiled in one to four places."""
    data = chance.choice(originals)
    if chance.random() < 0.2:
        data += chance.choice(originals)
    for _ in range(chance.randint(1, 4)):
        data = chance.choice(MANGLINGS)(chance, data)
    return data
