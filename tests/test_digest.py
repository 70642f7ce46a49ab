from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
import zlib
from pathlib import Path

import pytest

from memchunk import Store, digest, protocol, wire
from memchunk.digest import Checksums, ChecksumsInOne, Sha256
from memchunk.embedded import Memcached
from memchunk.server import Server
from memchunk.wire import Terms
from tests.servers import free_port

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


class Interrupt(BaseException):
    """What the handler of a signal raises."""


@pytest.mark.parametrize("has_begun", [False, True])
def test_an_interrupt_while_its_thread_is_started(
    has_begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start
    threads: list[threading.Thread] = []

    def interrupted(thread: threading.Thread) -> None:
        if has_begun:
            start(thread)
            threads.append(thread)
        raise Interrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(Interrupt), Sha256() as sha256:
        sha256.update(bytes(500_000))
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()


def test_what_is_to_be_done_then_is_done_where_the_block_is_hashed() -> None:
    done: list[str] = []
    for block in (bytes(10), bytes(5_000_000)):
        with Sha256() as sha256:
            sha256.update(block, lambda: done.append(threading.current_thread().name))
            sha256.wait()
    assert done == [threading.current_thread().name, "memchunk-sha256"]


def test_small_blocks_are_hashed_in_a_thread_once_they_are_many() -> None:
    done: list[str] = []
    with Sha256() as sha256:
        for _ in range(5):
            sha256.update(bytes(64 * 1024), lambda: done.append(threading.current_thread().name))
        assert sha256.hexdigest() == hashlib.sha256(bytes(5 * 64 * 1024)).hexdigest()
    assert done == [threading.current_thread().name] * 4 + ["memchunk-sha256"]


@pytest.fixture
def placed(monkeypatch: pytest.MonkeyPatch) -> list[set[int]]:
    """The processors that threads are told to run on, in the order they are told."""
    told: list[set[int]] = []
    tell = os.sched_setaffinity

    def note(thread: int, processors: set[int]) -> None:
        tell(thread, processors)
        told.append(set(os.sched_getaffinity(thread)))

    monkeypatch.setattr(os, "sched_setaffinity", note)
    return told


@LINUX
def test_a_thread_knows_its_processor() -> None:
    here = os.sched_getaffinity(0)
    try:
        for number in here:
            os.sched_setaffinity(0, {number})
            assert digest._processor() == number
    finally:
        os.sched_setaffinity(0, here)


@LINUX
def test_its_thread_starts_on_another_processor_than_the_callers(
    placed: list[set[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = os.sched_getaffinity(0)
    if len(here) == 1:
        pytest.skip("there is but one processor")
    for number in here:
        monkeypatch.setattr(digest, "_processor", lambda number=number: number)
        placed.clear()
        with Sha256() as sha256:
            sha256.update(bytes(500_000))
        assert placed == [here - {number}, here]


@LINUX
def test_it_starts_on_another_processor_than_memcached_answered_on(
    store: Store, placed: list[set[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = os.sched_getaffinity(0)
    if len(here) == 1:
        pytest.skip("there is but one processor")
    for number in here:
        monkeypatch.setattr(wire, "processor", lambda _, number=number: number)
        placed.clear()
        store.put("f", bytes(2_000_000), replace=True)
        assert store.get("f") == bytes(2_000_000)
        assert placed == [here - {number}, here] * 2


@LINUX
@pytest.mark.parametrize("socket", ["tcp", "unix"])
def test_memcacheds_processor_is_known_where_it_is_reached_by_tcp(socket: str) -> None:
    address = f"127.0.0.1:{free_port()}" if socket == "tcp" else None
    with Memcached(address=address) as memcached:
        server = Server(memcached.address, Terms(timeout=5, connect_timeout=5, deadline=5))
        assert server.processor is None  # nothing was asked yet
        server.exchange([protocol.gets("k", 0)])
        if socket == "tcp":
            assert server.processor in os.sched_getaffinity(0)
        else:
            assert server.processor is None
        server.close()


@LINUX
@pytest.mark.parametrize("processor", [0, 100_000, None])
def test_a_thread_moves_off_a_processor_if_there_are_others(
    processor: int | None, placed: list[set[int]]
) -> None:
    here = os.sched_getaffinity(0)
    digest._move_off(processor)
    if processor in here and len(here) > 1:
        assert placed == [here - {processor}, here]
    else:
        assert placed in ([], [here, here])
    assert os.sched_getaffinity(0) == here


@LINUX
@pytest.mark.parametrize("call", ["sched_getaffinity", "sched_setaffinity"])
def test_where_a_sandbox_lets_no_thread_ask_or_choose(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("not in here")

    monkeypatch.setattr(os, call, refuse)
    with Sha256(away_from=0) as sha256:
        sha256.update(bytes(500_000))
        sha256._done.get(timeout=5)
        sha256._done.put(None)
        assert sha256.hexdigest() == hashlib.sha256(bytes(500_000)).hexdigest()


@LINUX
def test_where_the_system_does_not_tell_the_processor(
    placed: list[set[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> str:
        raise FileNotFoundError("no /proc")

    monkeypatch.setattr(Path, "read_text", refuse)
    with Sha256() as sha256:
        sha256.update(bytes(500_000))
        assert sha256.hexdigest() == hashlib.sha256(bytes(500_000)).hexdigest()
    assert placed == []


@pytest.mark.parametrize("count", [0, 1, 2, 7])
@pytest.mark.parametrize("thread", ["first", "last", "none"])
def test_the_checksums_of_what_is_in_memory(
    count: int, thread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if thread == "none":
        monkeypatch.setattr(digest, "THREAD_ABOVE_BYTES", 10**9)
    whole = memoryview(os.urandom(count * 300_000))
    chunks = [whole[start : start + 300_000] for start in range(0, len(whole), 300_000)]
    with Sha256() as sha256:
        checksums = ChecksumsInOne(sha256, whole, chunks)
        if thread == "first":
            sha256.wait()
        assert checksums.finish() == (
            hashlib.sha256(whole).hexdigest(),
            [zlib.crc32(chunk) for chunk in chunks],
        )


def test_the_checksums_of_what_comes_in_turn() -> None:
    block = bytearray(300_000)
    expected = hashlib.sha256()
    crc32s = []
    with Sha256() as sha256:
        checksums = Checksums(sha256)
        for turn in range(20):
            block[:] = bytes([turn]) * len(block)
            expected.update(block)
            crc32s.append(zlib.crc32(block))
            checksums.add(memoryview(block))
            checksums.wait(under_way=0)
        assert checksums.finish() == (expected.hexdigest(), crc32s)


@pytest.mark.parametrize("kind", [Checksums, ChecksumsInOne])
@pytest.mark.parametrize("is_behind", [True, False])
def test_the_crc32s_are_made_by_whoever_is_free_first(
    kind: type[Checksums], monkeypatch: pytest.MonkeyPatch, *, is_behind: bool
) -> None:
    made: list[tuple[str, memoryview]] = []
    all_made = threading.Event()

    def note(chunk: memoryview) -> int:
        made.append((threading.current_thread().name, chunk))
        if len(made) == len(chunks):
            all_made.set()
        return zlib.crc32(chunk)

    monkeypatch.setattr(digest, "crc32", note)
    whole = memoryview(os.urandom(900_000))
    chunks = [whole[start : start + 300_000] for start in range(0, len(whole), 300_000)]
    with Sha256() as sha256:
        sha256.update(bytes(300_000), (lambda: all_made.wait(10)) if is_behind else None)
        if kind is ChecksumsInOne:
            checksums: Checksums = ChecksumsInOne(sha256, whole, chunks)
        else:
            checksums = Checksums(sha256)
            for chunk in chunks:
                checksums.add(chunk)
        if not is_behind:
            assert all_made.wait(10)
        checksums.wait(under_way=0)
        assert checksums.finish()[1] == [zlib.crc32(chunk) for chunk in chunks]
    if is_behind:
        assert made == [(threading.current_thread().name, chunk) for chunk in reversed(chunks)]
    else:
        assert made == [("memchunk-sha256", chunk) for chunk in chunks]


def test_whether_the_thread_is_behind() -> None:
    may_go_on = threading.Event()
    with Sha256() as sha256:
        assert not sha256.is_behind(0)
        sha256.update(bytes(300_000), may_go_on.wait)
        sha256.update(bytes(300_000))
        assert sha256.is_behind(1)
        assert not sha256.is_behind(2)
        may_go_on.set()
        until = time.monotonic() + 10
        while sha256.is_behind(0):
            assert time.monotonic() < until
