"""The verbs, one by one."""

from __future__ import annotations

import array
import hashlib
import io
import mmap
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

import memchunk
from memchunk import (
    MAX_FILE_BYTES,
    AlreadyExistsError,
    ChangedError,
    FileInfo,
    NotFoundError,
    Store,
    UnavailableError,
)
from memchunk.layout import CHUNK_BYTES, FEW_SLOTS, SMALL_REST_BYTES
from memchunk.server import HANG_UPS_THAT_TELL
from tests.items import Items
from tests.relay import Relay
from tests.servers import LocalMemcached
from tests.together import together

SIZES = [
    0,
    1,
    4096,
    SMALL_REST_BYTES,
    SMALL_REST_BYTES + 1,
    CHUNK_BYTES - 1,
    CHUNK_BYTES,
    CHUNK_BYTES + 1,
    2 * CHUNK_BYTES,
    FEW_SLOTS * CHUNK_BYTES - 1,
    FEW_SLOTS * CHUNK_BYTES + 1,
    7_654_321,
    MAX_FILE_BYTES,
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("streamed", [False, True], ids=["memory", "stream"])
def test_round_trip(store: Store, size: int, streamed: bool) -> None:
    content = os.urandom(size)
    info = store.put("f", io.BytesIO(content) if streamed else content)
    assert store.get("f") == content
    assert (info.name, info.size, info.sha256) == ("f", size, hashlib.sha256(content).hexdigest())
    assert info == store.stat("f")
    buffer = bytearray(size + 3)
    assert store.read_into("f", buffer) == size
    assert buffer == content + bytes(3)
    with store.open("f") as f:
        assert f.read() == content
        assert f.raw.info == info  # type: ignore[attr-defined]
    store.delete("f")


class Dribble:
    """A source that gives little at a time, by `read` alone."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def read(self, size: int) -> bytes:
        return self._content.read(min(size, 1013))


def test_sources(store: Store, tmp_path: Path) -> None:
    content = os.urandom(1_200_000)
    path = tmp_path / "file"
    path.write_bytes(content)
    reader, writer = os.pipe()

    def feed() -> None:
        with open(writer, "wb") as pipe:
            pipe.write(content)

    thread = threading.Thread(target=feed)
    thread.start()
    with (
        path.open("rb") as buffered,
        path.open("rb", buffering=0) as raw,
        open(reader, "rb", buffering=0) as pipe,
        path.open("rb") as to_map,
        mmap.mmap(to_map.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        sources = {
            "bytes": content,
            "bytearray": bytearray(content),
            "memoryview": memoryview(content),
            "part of a memoryview": memoryview(b"x" + content + b"x")[1:-1],
            "array": array.array("I", content),
            "mmap": memoryview(mapped),
            "path": path,
            "str path": str(path),
            "buffered file": buffered,
            "raw file": raw,
            "pipe": pipe,
            "dribble": Dribble(content),
        }
        for name, source in sources.items():
            assert store.put(name, source).size == len(content), name
            assert store.get(name) == content, name
            if name != "path" and hasattr(source, "release"):
                source.release()
        assert not buffered.closed
    thread.join()


def test_a_file_is_read_from_where_it_stands(store: Store) -> None:
    source = io.BytesIO(b"0123456789")
    source.seek(4)
    store.put("f", source)
    assert store.get("f") == b"456789"


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (io.StringIO("text"), TypeError),
        (None, TypeError),
        (7, TypeError),
        (["a"], TypeError),
        ("/no/such/file", FileNotFoundError),
        ("/", IsADirectoryError),
        (memoryview(bytes(100))[::2], TypeError),
    ],
    ids=str,
)
def test_sources_that_cannot_be_used(
    store: Store, items: Items, source: object, error: type[Exception]
) -> None:
    with pytest.raises(error):
        store.put("f", source)
    assert items.all() == {}


def test_a_text_file_is_refused(store: Store, items: Items, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("text")
    with path.open() as file, pytest.raises(TypeError, match="binary mode"):
        store.put("f", file)

    class Text:
        def read(self, size: int) -> str:
            return "text"

    with pytest.raises(TypeError, match="binary mode"):
        store.put("f", Text())
    assert items.all() == {}


def test_sources_that_break_the_rules_of_read(store: Store, items: Items) -> None:
    class TooMuch:
        def read(self, size: int) -> bytes:
            return bytes(size + 1)

    with pytest.raises(ValueError, match="more than n"):
        store.put("f", TooMuch())
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        with ours.makefile("rb", buffering=0) as never_ready, pytest.raises(BlockingIOError):
            store.put("f", never_ready)

    class NotReady:
        def read(self, size: int) -> None:
            return None

    with pytest.raises(BlockingIOError):
        store.put("f", NotReady())
    assert items.all() == {}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"ttl": -1}, ValueError),
        ({"ttl": 0}, ValueError),
        ({"ttl": "60"}, TypeError),
        ({"ttl": 10**9}, ValueError),
        ({"content_type": "no type"}, ValueError),
        ({"content_type": "a/b\r\nx: y"}, ValueError),
        ({"sha256": "abc"}, ValueError),
        ({"sha256": "A" * 64}, ValueError),
    ],
    ids=str,
)
def test_arguments_that_cannot_be_used(
    store: Store, items: Items, arguments: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        store.put("f", b"content", **arguments)  # type: ignore[arg-type]
    assert items.all() == {}


def test_progress_counts_the_bytes(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1_500_000))
    for source, total in ((bytes(1_500_000), 1_500_000), (path, 1_500_000), (b"x", 1)):
        seen: list[tuple[int, int | None]] = []
        store.put(
            "f", source, replace=True, progress=lambda *counts, seen=seen: seen.append(counts)
        )
        assert seen[-1] == (total, total)
        assert seen == sorted(seen)
    seen = []
    store.put("g", Dribble(bytes(600_000)), progress=lambda *counts: seen.append(counts))
    assert seen == [(CHUNK_BYTES, None), (600_000, None)]


def test_replace(store: Store, items: Items) -> None:
    assert not store.put("f", bytes(2_000_000)).replaced
    assert store.put("f", b"new", replace=True).replaced
    assert store.get("f") == b"new"
    assert len(items.all()) == 2


def test_if_match(store: Store) -> None:
    with pytest.raises(NotFoundError):
        store.put("f", b"x", if_match=["0" * 64])
    first = store.put("f", b"first").sha256
    with pytest.raises(ChangedError):
        store.put("f", b"x", if_match=["0" * 64])
    assert store.put("f", b"second", if_match=["0" * 64, first]).replaced
    with pytest.raises(ChangedError):
        store.delete("f", if_match=[first])
    store.delete("f", if_match=[store.stat("f").sha256])
    assert "f" not in store


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("a.pdf", "application/pdf"),
        ("dir.txt/a", "application/octet-stream"),
        ("a.txt", "text/plain"),
        ("a.tar.gz", "application/octet-stream"),
        ("data:text/html,x", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ],
)
def test_content_type_from_the_name(store: Store, name: str, content_type: str) -> None:
    assert store.put(name, b"").content_type == content_type
    assert store.put(name, b"", replace=True, content_type="a/b; c=d").content_type == "a/b; c=d"


def test_delete(store: Store, items: Items) -> None:
    store.put("f", bytes(2_000_000))
    store.delete("f")
    assert items.all() == {}
    with pytest.raises(NotFoundError):
        store.delete("f")


def test_deleters_at_once(store: Store) -> None:
    for _ in range(20):
        store.put("f", b"x")
        outcomes = together(*[lambda: store.delete("f")] * 3)
        assert outcomes.count(None) == 1
        assert sum(isinstance(outcome, NotFoundError) for outcome in outcomes) == 2


def test_open_seeks_and_reads_lines(store: Store) -> None:
    lines = [b"line %d\n" % number for number in range(100_000)]
    content = b"".join(lines)
    store.put("f", content)
    with store.open("f") as f:
        assert f.seekable()
        assert f.readable()
        assert not f.writable()
        assert list(f) == lines
        assert f.read() == b""
        assert f.seek(-5, io.SEEK_END) == len(content) - 5
        assert f.read(100) == content[-5:]
        f.seek(CHUNK_BYTES - 3)
        buffer = bytearray(6)
        assert f.readinto(buffer) == 6
        assert buffer == content[CHUNK_BYTES - 3 : CHUNK_BYTES + 3]
        assert f.tell() == CHUNK_BYTES + 3
        f.seek(5, io.SEEK_CUR)
        assert f.readline() == content[CHUNK_BYTES + 8 :].split(b"\n")[0] + b"\n"
        assert f.seek(10**9) == 10**9
        assert f.read() == f.read(10) == b""
        for position in ((-1, io.SEEK_SET), (0, 9)):
            with pytest.raises(ValueError, match="start"):
                f.raw.seek(*position)
    with pytest.raises(ValueError, match="closed"):
        f.read()
    with pytest.raises(ValueError, match="closed"):
        f.raw.read(1)


def test_read_into_wants_room(store: Store) -> None:
    store.put("f", b"0123456789")
    with pytest.raises(ValueError, match="10 bytes"):
        store.read_into("f", bytearray(9))
    with pytest.raises(TypeError, match="read-only"):
        store.read_into("f", bytes(10))
    into = array.array("H", bytes(10))
    assert store.read_into("f", into) == 10  # type: ignore[arg-type]
    assert into.tobytes() == b"0123456789"


def test_a_lifetime_ends(store: Store, items: Items) -> None:
    store.put("f", bytes(600_000), ttl=1)
    assert "f" in store
    deadline = time.monotonic() + 10
    while "f" in store:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with pytest.raises(NotFoundError):
        store.get("f")


DAY = 24 * 3600


@pytest.mark.parametrize("ttl", [60, 29 * DAY, 30 * DAY - 30, 30 * DAY, 31 * DAY, 5 * 365 * DAY])
def test_no_chunk_expires_before_its_manifest(store: Store, items: Items, ttl: int) -> None:
    """As memcached itself tells it, on both sides of its rule of thirty days."""
    writes: list[Callable[[], FileInfo]] = [
        lambda: store.put("f", bytes(1_500_000), ttl=ttl, replace=True),
        lambda: store.touch("f", ttl=ttl),
        lambda: store.rename("f", "g"),
    ]
    for write in writes:
        info = write()
        assert info.expires_at is not None
        expires = info.expires_at.timestamp()
        assert abs(expires - time.time() - ttl) < 5
        found = items.all()
        [manifest] = [exp for key, exp in found.items() if ":m:" in key]
        chunks = [exp for key, exp in found.items() if ":c{" in key]
        assert abs(manifest - expires) <= 2
        assert len(chunks) == info.chunk_count
        assert min(chunks) >= manifest + 55


def test_touch(store: Store, items: Items) -> None:
    before = store.put("f", bytes(1_500_000))
    assert before.expires_at is None
    after = store.touch("f", ttl=100)
    assert after.expires_at is not None
    left = after.expires_at - datetime.now(UTC)
    assert timedelta(seconds=95) < left < timedelta(seconds=102)
    assert store.stat("f") == after
    assert max(items.all().values()) <= time.time() + 165
    assert store.touch("f", ttl=None) == before
    assert set(items.all().values()) == {-1}
    assert store.get("f") == bytes(1_500_000)
    with pytest.raises(ValueError, match="ttl"):
        store.touch("f", ttl=-1)


def test_connect_by_unix_socket_and_by_name(
    start_memcached: Callable[..., LocalMemcached],
) -> None:
    unix, tcp = start_memcached(unix=True), start_memcached()
    for address in (unix.address, tcp.address, tcp.address.replace("127.0.0.1", "localhost")):
        with memchunk.connect(address) as store:
            store.put("f", bytes(1_000_000), replace=True)
            assert store.get("f") == bytes(1_000_000)


@pytest.mark.parametrize(
    "servers", ["", [], ["a:1", "a:1"], "host:port", "host:99999", "host:", "unix:x", 7, [None]]
)
def test_addresses_that_cannot_be(servers: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        memchunk.connect(servers)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "chunk_size"),
    [
        (["-o", "slab_chunk_max=1048576"], 1_047_552),
        (["-I", "8m"], 523_264),
        (["-I", "128k", "-o", "slab_chunk_max=65536"], 64_512),
        (["-I", "64k", "-o", "slab_chunk_max=8192"], 8_192),
    ],
    ids=str,
)
def test_chunks_are_cut_to_fit_the_server(
    start_memcached: Callable[..., LocalMemcached], options: list[str], chunk_size: int
) -> None:
    server = start_memcached("-m", "200", *options)
    with memchunk.connect(server.address) as store:
        for size in (3_000_000, MAX_FILE_BYTES):
            content = os.urandom(size)
            assert store.put("f", content, replace=True).chunk_size == chunk_size
            assert store.get("f") == content


def test_a_server_that_does_not_tell_its_settings(memcached_address: str, namespace: str) -> None:
    for refuse in (Relay.error_on, Relay.hang_up_on):
        with (
            Relay(memcached_address) as relay,
            memchunk.connect(relay.address, namespace=namespace) as store,
        ):
            refuse(relay, b"stats")
            assert store.put("f", bytes(600_000), replace=True).chunk_size == CHUNK_BYTES
            assert store.put("f", bytes(600_000), replace=True).chunk_size == CHUNK_BYTES
            assert relay.commands["stats"] <= HANG_UPS_THAT_TELL


def test_a_server_that_is_too_busy_to_tell_its_settings_is_asked_again(
    start_memcached: Callable[..., LocalMemcached],
) -> None:
    """Chunks of the usual size would be too large for it for good."""
    server = start_memcached("-c", "20", "-t", "1", "-I", "64k", "-o", "slab_chunk_max=8192")
    with memchunk.connect(server.address) as store, ExitStack() as crowd:
        host, _, port = server.address.rpartition(":")
        for _ in range(40):
            crowd.enter_context(closing(socket.create_connection((host, int(port)))))
        with pytest.raises(UnavailableError):
            store.put("f", bytes(300_000))
        crowd.close()
        until = time.monotonic() + 10
        while True:
            try:
                assert store.put("f", bytes(300_000), replace=True).chunk_size == 8192
                return
            except UnavailableError:
                assert time.monotonic() < until


def test_layouts(memcached_address: str, namespace: str, items: Items) -> None:
    for layout, stored in (("steady", CHUNK_BYTES), ("compact", 300_000)):
        with memchunk.connect(memcached_address, namespace=namespace, layout=layout) as store:  # type: ignore[arg-type]
            store.put("f", bytes(300_000), replace=True)
            assert len(items.chunk("f", 0)) == stored
            assert store.get("f") == store.open("f").read() == bytes(300_000)
    with pytest.raises(ValueError, match="layout"):
        memchunk.connect(memcached_address, layout="other")  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [0, -1, 0.0000001])
@pytest.mark.parametrize("timeout", ["timeout", "connect_timeout"])
def test_a_timeout_that_would_be_none(timeout: str, seconds: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        memchunk.connect("127.0.0.1", **{timeout: seconds})  # type: ignore[arg-type]


def test_namespaces_do_not_see_each_other(memcached_address: str, namespace: str) -> None:
    with (
        memchunk.connect(memcached_address, namespace=namespace + "a") as one,
        memchunk.connect(memcached_address, namespace=namespace + "b") as other,
    ):
        one.put("f", b"one")
        assert "f" not in other
        other.put("f", b"other")
        assert one.get("f") == b"one"


def test_several_servers(start_memcached: Callable[..., LocalMemcached]) -> None:
    """All chunks of a file lie on one server, the files are spread."""
    servers = [start_memcached() for _ in range(3)]
    with memchunk.connect([server.address for server in servers]) as store:
        contents = {f"f{number}": os.urandom(600_000) for number in range(30)}
        for name, content in contents.items():
            store.put(name, content)
        for name, content in contents.items():
            assert store.get(name) == content
            assert store.open(name).read() == content
        generations: list[set[str]] = []
        for server in servers:
            items = Items(server.address, "mc1")
            generations.append({key.split("|")[0] for key in items.chunks()})
            items.close()
        assert all(generations)
        assert sum(map(len, generations)) == len(contents)
        store.rename("f0", "g0")
        store.touch("g0", ttl=60)
        store.put("g0", b"new", replace=True)
        store.check()
        for name in ["g0", *list(contents)[1:]]:
            store.delete(name)
    for server in servers:
        items = Items(server.address, "mc1")
        assert items.all() == {}
        items.close()


def test_threads_share_a_store(store: Store) -> None:
    def work(number: int) -> None:
        for turn in range(10):
            content = bytes([number]) * (600_000 + turn)
            store.put(f"f{number}", content, replace=True)
            assert store.get(f"f{number}") == content

    assert together(*(partial(work, number) for number in range(6))) == [None] * 6


def _in_child(store: Store, number: int, results: multiprocessing.SimpleQueue[object]) -> None:
    try:
        for turn in range(20):
            store.put(f"f{number}", b"%d" % turn, replace=True)
            assert store.get(f"f{number}") == b"%d" % turn
        results.put(store.get("big") == bytes(2_000_000))
    except BaseException as error:  # the parent has to hear of it
        results.put(repr(error))
        raise


def test_a_store_survives_fork(store: Store) -> None:
    """Parent and children go on at once, on connections of their own."""
    store.put("big", bytes(2_000_000))
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    children = [context.Process(target=_in_child, args=(store, n, results)) for n in range(3)]
    for child in children:
        child.start()
    for _ in range(20):
        assert store.get("big") == bytes(2_000_000)
    for child in children:
        child.join()
    assert [results.get() for _ in children] == [True] * 3


def test_check(store: Store, items: Items) -> None:
    store.check()
    assert items.all() == {}


def test_a_closed_store_can_be_used_again(store: Store) -> None:
    store.put("f", b"x")
    store.close()
    assert store.get("f") == b"x"
    with pytest.raises(AlreadyExistsError):
        store.put("f", b"y")
