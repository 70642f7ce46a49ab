"""Promise 4: memory, time, keys and sockets per operation have limits, whatever the input."""

from __future__ import annotations

import gc
import io
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import memchunk
from memchunk import (
    MAX_FILE_BYTES,
    WRITE_BUFFER_BYTES,
    Store,
    TooLargeError,
    UnavailableError,
    journal,
)
from memchunk.layout import CHUNK_BYTES
from tests.items import Items
from tests.relay import Relay
from tests.servers import LocalMemcached
from tests.together import together


class Endless(io.RawIOBase):
    """A stream without an end that counts what is read of it."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self.count += len(buffer)
        return len(buffer)


def test_of_an_endless_stream_no_more_than_one_byte_too_many_is_read(
    store: Store, items: Items
) -> None:
    source = Endless()
    with pytest.raises(TooLargeError, match="50 MiB"):
        store.put("f", source)
    assert source.count == MAX_FILE_BYTES + 1
    assert items.all() == {}


def test_a_path_that_is_too_large_is_not_read(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(TooLargeError):
        store.put("f", path)


MEASURE = """
import io, os, resource, sys
import memchunk

class Stream:
    def __init__(self, size): self.left = size
    def readinto(self, buffer):
        count = min(len(buffer), self.left)
        self.left -= count
        return count

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

store = memchunk.connect(sys.argv[1], namespace=sys.argv[2])
store.put("warm", bytes(2_000_000)); store.get("warm"); store.open("warm").read()
before = peak()
if sys.argv[3] == "put": store.put("f", Stream(52_428_800))
if sys.argv[3] == "get": assert len(store.get("f")) == 52_428_800
if sys.argv[3] == "open":
    with store.open("f") as f:
        while f.read(65536): pass
if sys.argv[3] == "again":
    try: store.put("f", b"x")
    except memchunk.AlreadyExistsError: pass
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize(
    ("verb", "limit"),
    [
        ("put", WRITE_BUFFER_BYTES),
        ("get", MAX_FILE_BYTES),
        ("open", CHUNK_BYTES),
        ("again", CHUNK_BYTES),
    ],
)
def test_memory(
    memcached_address: str, namespace: str, store: Store, verb: str, limit: int
) -> None:
    """A put from a stream needs a few chunks, a get the file once, a reader one chunk."""
    if verb != "put":
        store.put("f", bytes(MAX_FILE_BYTES))
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, memcached_address, namespace, verb],
        check=True,
        capture_output=True,
    )
    assert int(run.stdout) <= limit + 2 * CHUNK_BYTES
    store.delete("f")


def test_a_put_from_memory_copies_nothing(store: Store) -> None:
    content = bytearray(MAX_FILE_BYTES)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    store.put("f", content)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 4 * CHUNK_BYTES
    store.delete("f")


def test_time(start_memcached: Callable[..., LocalMemcached]) -> None:
    """A server that hangs costs a caller a few timeouts, not more, wherever it hangs."""
    server = start_memcached()
    with memchunk.connect(server.address, timeout=0.1) as store:
        for content in (b"small", bytes(3_000_000)):
            server.pause()
            began = time.monotonic()
            with pytest.raises(UnavailableError):
                store.put("f", content)
            assert time.monotonic() - began < 5
            server.resume()


def test_keys(store: Store, items: Items) -> None:
    """A file of 50 MiB has 101 chunks and one manifest of less than 64 KiB."""
    store.put("f", bytes(MAX_FILE_BYTES))
    assert len(items.all()) == store.stat("f").chunk_count + 1 == 102
    assert len(items.client.get(items.manifest_key("f"))) < 2_000
    store.delete("f")
    assert items.all() == {}


def test_sockets(start_memcached: Callable[..., LocalMemcached]) -> None:
    """Each thread uses at most two connections at once, and they are used again."""
    server = start_memcached()
    items = Items(server.address, "mc1")
    with memchunk.connect(server.address) as store:

        def work(number: int) -> None:
            for _ in range(10):
                store.put(f"f{number}", io.BytesIO(bytes(1_500_000)), replace=True)
                store.get(f"f{number}")

        together(*(partial(work, number) for number in range(4)))
        # ours to look with, the ones that looked whether it is up, and two for each thread
        assert items.client.stats()[b"total_connections"] <= 4 + 2 * 4
    items.close()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # that is what it is about
def test_a_store_that_nobody_holds_any_more_leaves_no_socket(
    memcached_address: str, namespace: str
) -> None:
    """At once, not when the garbage is collected."""
    gc.collect()
    gc.disable()
    try:
        before = len(list(Path("/dev/fd").iterdir()))
        for number in range(5):
            memchunk.connect(memcached_address, namespace=namespace).put(f"f{number}", b"x")
        assert len(list(Path("/dev/fd").iterdir())) == before
    finally:
        gc.enable()


def test_a_small_file_is_one_round_trip_and_no_thread(
    memcached_address: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(_: threading.Thread) -> None:
        raise AssertionError("a thread was started")

    with (
        Relay(memcached_address) as relay,
        memchunk.connect(relay.address, namespace=namespace) as store,
    ):
        store.put("f", b"asks for the server's settings, begins the journal")
        store.delete("f")
        relay.commands.clear()
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_thread)
            # now and then a put also looks how long the journal is
            patch.setattr(journal, "is_time_to_look", lambda token: False)
            store.put("f", bytes(4096))
            assert relay.commands == {"set": 1, "add": 1, "append": 1, "touch": 1}
            relay.commands.clear()
            store.get("f")
            assert relay.commands == {"gets": 1, "get": 1}
            store.put("g", io.BytesIO(bytes(4096)))
            store.open("f").read()


def test_a_range_moves_only_the_chunks_it_touches(memcached_address: str, namespace: str) -> None:
    content = os.urandom(10 * CHUNK_BYTES)
    with (
        Relay(memcached_address) as relay,
        memchunk.connect(relay.address, namespace=namespace) as store,
    ):
        store.put("f", content)
        relay.commands.clear()
        with store.open("f") as f:
            f.seek(3 * CHUNK_BYTES - 10)
            assert f.read(20) == content[3 * CHUNK_BYTES - 10 : 3 * CHUNK_BYTES + 10]
        assert relay.commands["get"] == 2
