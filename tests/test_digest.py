from __future__ import annotations

import hashlib
import os
import threading

import pytest

from memchunk.digest import Sha256

BLOCKS = [os.urandom(size) for size in (10, 500_000, 10, 500_000, 0)]


def test_blocks_in_order_large_or_small() -> None:
    with Sha256() as sha256:
        for block in BLOCKS:
            sha256.update(block)
        assert sha256.hexdigest() == hashlib.sha256(b"".join(BLOCKS)).hexdigest()


def test_a_block_may_change_once_it_was_waited_for() -> None:
    blocks = [bytearray(500_000) for _ in range(3)]
    with Sha256() as sha256:
        for turn in range(30):
            sha256.wait(under_way=2)
            block = blocks[turn % 3]
            block[:] = bytes([turn]) * len(block)
            sha256.update(block)
        expected = hashlib.sha256(b"".join(bytes([turn]) * 500_000 for turn in range(30)))
        assert sha256.hexdigest() == expected.hexdigest()


def test_its_thread_ends_with_it() -> None:
    with Sha256() as sha256:
        sha256.update(bytes(500_000))
        assert any(thread.name == "memchunk-sha256" for thread in threading.enumerate())
    assert not any(thread.name == "memchunk-sha256" for thread in threading.enumerate())


def test_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    test_blocks_in_order_large_or_small()
