from __future__ import annotations

import hashlib
import os
import sys
import threading

import pytest

from memchunk import Store
from memchunk.digest import Sha256

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the system places its threads")
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


def processors() -> set[int]:
    """The processors that the thread which hashes may run on."""
    [thread] = [each for each in threading.enumerate() if each.name == "memchunk-sha256"]
    assert thread.native_id is not None
    return os.sched_getaffinity(thread.native_id)


@LINUX
@pytest.mark.parametrize("away_from", [0, 100_000, None])
def test_its_thread_keeps_off_one_processor(away_from: int | None) -> None:
    here = os.sched_getaffinity(0)
    with Sha256(away_from=away_from) as sha256:
        sha256.update(bytes(500_000))
        sha256.wait()
        assert processors() == ((here - {away_from}) or here)
    assert os.sched_getaffinity(0) == here


@LINUX
def test_files_are_hashed_on_other_processors_than_memcached_answers_on(store: Store) -> None:
    here = os.sched_getaffinity(0)
    if len(here) == 1:
        pytest.skip("there is but one processor")
    seen = []
    store.put("f", bytes(2_000_000), progress=lambda *_: seen.append(processors()))
    assert all(each < here for each in seen)
    assert len(seen) == 4
