"""Promise 3: a failed write leaves the previous file readable, and nothing of the new one."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from pymemcache.exceptions import MemcacheServerError

import memchunk
from memchunk import (
    AlreadyExistsError,
    ChangedError,
    FileInfo,
    MemchunkError,
    NotFoundError,
    StorageFullError,
    Store,
    UnavailableError,
    protocol,
)
from memchunk.breaker import Breaker
from memchunk.bulk import BulkClient
from memchunk.expiry import DRAFT_SECONDS
from memchunk.layout import CHUNK_BYTES, MAX_FILE_BYTES
from memchunk.manifest import Manifest
from memchunk.protocol import Command, Reply
from memchunk.wire import Terms
from tests.items import Items
from tests.relay import Relay
from tests.servers import LocalMemcached
from tests.test_committing import lose_the_connection_after_a_look
from tests.together import together

OLD = b"the old file" * 1000
SIZE = 6 * CHUNK_BYTES


class BadSourceError(Exception):
    pass


class Breaking(io.RawIOBase):
    """A stream that raises, or does something, after `good` bytes."""

    def __init__(self, good: int, then: Callable[[], object]) -> None:
        super().__init__()
        self._good, self._then = good, then

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._good:
            self._then()
            return 0
        count = min(len(buffer), self._good, 100_000)
        buffer[:count] = bytes(count)
        self._good -= count
        return count


def fail() -> None:
    raise BadSourceError


@pytest.mark.parametrize("good", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, 5 * CHUNK_BYTES + 1])
@pytest.mark.parametrize("old", [None, OLD])
def test_a_stream_that_raises_in_the_middle(
    store: Store, items: Items, good: int, old: bytes | None
) -> None:
    if old is not None:
        store.put("f", old)
    before = items.all()
    with pytest.raises(BadSourceError):
        store.put("f", Breaking(good, fail), replace=True)
    assert items.all() == before
    if old is not None:
        assert store.get("f") == old


def test_an_interrupt_in_the_middle(store: Store, items: Items) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.put("f", Breaking(3 * CHUNK_BYTES, interrupt))
    assert items.all() == {}


def test_a_progress_callback_that_raises(store: Store, items: Items) -> None:
    def progress(done: int, total: int | None) -> None:
        if done > 2 * CHUNK_BYTES:
            raise BadSourceError

    for source in (bytes(SIZE), io.BytesIO(bytes(SIZE))):
        with pytest.raises(BadSourceError):
            store.put("f", source, progress=progress)
    assert items.all() == {}


def test_where_no_connection_lasts_nothing_is_written_over(store: Store, items: Items) -> None:
    """Such as behind a proxy that ends each connection after its reply."""
    exchange = store._backend.exchange

    def exchange_once(commands: Sequence[Command]) -> list[Reply]:
        replies = exchange(commands)
        store.close()
        return replies

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store._backend, "exchange", exchange_once)
        store.put("f", OLD)
        before = items.all()
        for change in (
            lambda: store.put("f", b"new", replace=True),
            lambda: store.rename("f", "g"),
            lambda: store.touch("f", ttl=None),
            lambda: store.delete("f"),
        ):
            with pytest.raises(ChangedError, match="the connection was lost as often"):
                change()
        assert store.get("f") == OLD
    assert items.all() == before


def test_a_connection_forgets_that_it_was_open(memcached_address: str, namespace: str) -> None:
    terms = Terms(timeout=5, connect_timeout=5, deadline=5)
    client = BulkClient(memcached_address, terms, Breaker(try_seconds=1))
    put = protocol.store("set", namespace, 0, OLD[:1])
    _, seen = client.ask([put, protocol.gets(namespace, limit=1)])
    over = protocol.store("cas", namespace, 0, b"new", cas=seen.cas)
    client.close()
    assert [reply.word for reply in client.ask([over, put])] == ["EXISTS", "SKIPPED"]
    assert client.ask([put])[0].word == "STORED"  # which opens it
    assert [reply.word for reply in client.ask([over, put])] == ["EXISTS", "SKIPPED"]
    client.close()


@pytest.mark.parametrize(
    ("write", "verb"),
    [("put", "create"), ("put a larger one", "look"), ("update", "look"), ("delete", "look")],
)
def test_what_was_seen_before_a_restart_is_not_written_over_after_it(
    start_memcached: Callable[..., LocalMemcached],
    write: str,
    verb: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """memcached then gives the same unique numbers to other states of its items."""
    server = start_memcached()
    with memchunk.connect(server.address) as store, memchunk.connect(server.address) as other:
        other.put("f", b"lost")
        look = getattr(store._index, verb)

        def restart_after_the_look(*arguments: Any, **options: Any) -> Any:
            seen = look(*arguments, **options)
            monkeypatch.undo()
            server.restart()
            other.put("f", b"kept")
            return seen

        monkeypatch.setattr(store._index, verb, restart_after_the_look)
        if write.startswith("put"):
            new = b"new" if write == "put" else bytes(100_000)
            with pytest.raises(StorageFullError):  # its chunk was lost
                store.put("f", new, replace=True)
        elif write == "update":
            assert store.update("f", content_type="text/plain").content_type == "text/plain"
        else:
            with pytest.raises(ChangedError):
                store.delete("f", if_match=[hashlib.sha256(b"lost").hexdigest()])
        assert store.get("f") == b"kept"


@pytest.mark.parametrize("killed_after", range(6))
def test_the_server_is_killed_at_any_chunk(
    start_memcached: Callable[..., LocalMemcached], killed_after: int
) -> None:
    server = start_memcached()
    with memchunk.connect(server.address) as store:

        def progress(done: int, total: int | None) -> None:
            if done >= killed_after * CHUNK_BYTES:
                server.restart()

        items = Items(server.address, "mc1")
        with pytest.raises(MemchunkError):
            store.put("f", Breaking(SIZE, lambda: None), progress=progress)
        store.check()  # once the server is back
        assert items.all() == {}
        items.close()


@pytest.mark.parametrize("replies", [0, 1, 2, 3, 5, 6, 7])
def test_the_connection_is_cut_at_any_chunk(
    memcached_address: str, namespace: str, items: Items, replies: int
) -> None:
    """Until the commit is sent the file is the old one, and what is left of the new one expires."""
    with (
        memchunk.connect(memcached_address, namespace=namespace) as direct,
        Relay(memcached_address) as relay,
        memchunk.connect(relay.address, namespace=namespace) as store,
    ):
        direct.put("f", OLD)
        before = items.all()
        new = os.urandom(SIZE)

        def cut(done: int, total: int | None) -> None:
            if done == CHUNK_BYTES:
                relay.cut_after(replies * len("STORED\r\n"))

        with pytest.raises(UnavailableError):
            store.put("f", new, replace=True, progress=cut)
        relay.clear()
        store.put("other", b"")  # what could not be freed then is freed now
        store.delete("other")
        if replies >= 5 and direct.get("f") == new:
            return  # the commit itself went through, only its answer was cut
        assert direct.get("f") == OLD
        leftover = {key: exp for key, exp in items.all().items() if key not in before}
        now = time.time()
        assert all(0 < exp <= now + DRAFT_SECONDS + 1 for exp in leftover.values())


def test_out_of_memory_at_any_chunk(start_memcached: Callable[..., LocalMemcached]) -> None:
    """A memcached that evicts nothing (-M) fills up in the middle of a replace."""
    server = start_memcached("-m", "32", "-M")
    items = Items(server.address, "mc1")
    with memchunk.connect(server.address) as store:
        old = os.urandom(5_000_000)
        store.put("f", old)
        fillers = 0
        while True:  # leave less room than the new file needs, and more than a chunk
            try:
                store.put(f"filler{fillers}", os.urandom(3_000_000))
                fillers += 1
            except StorageFullError:
                break
        before = items.all()
        for source in (bytes(20_000_000), io.BytesIO(bytes(20_000_000))):
            with pytest.raises(StorageFullError):
                store.put("f", source, replace=True)
            assert items.all() == before
        assert store.get("f") == old
        for number in range(fillers):
            store.delete(f"filler{number}")
        store.put("f", bytes(10_000_000), replace=True)
        assert store.get("f") == bytes(10_000_000)
        store.delete("f")
        assert items.all() == {}
    items.close()


def test_too_large_for_the_cache_while_replacing(
    start_memcached: Callable[..., LocalMemcached],
) -> None:
    """The beginning of the new file is evicted by its end; the probe before the commit sees it."""
    server = start_memcached("-m", "24")
    items = Items(server.address, "mc1")
    with memchunk.connect(server.address) as store:
        store.put("small", b"small enough to stay")
        with pytest.raises(StorageFullError):
            store.put("small", bytes(MAX_FILE_BYTES), replace=True)
        assert store.get("small") == b"small enough to stay"
        assert set(items.chunks()) <= {items.chunk_key("small", 0)}
    items.close()


@pytest.mark.parametrize("size", [MAX_FILE_BYTES + 1, MAX_FILE_BYTES + 10_000_000])
def test_too_large(store: Store, items: Items, size: int) -> None:
    store.put("f", OLD)
    before = items.all()
    sources: list[object] = [bytes(size), io.BytesIO(bytes(size)), Breaking(size, lambda: None)]
    for source in sources:
        with pytest.raises(memchunk.TooLargeError):
            store.put("f", source, replace=True)
        assert items.all() == before
    assert store.get("f") == OLD


def test_refused_because_the_name_is_taken(store: Store, items: Items) -> None:
    store.put("f", OLD)
    before = items.all()

    def never_read() -> None:
        raise AssertionError("the source was read")

    for source in (b"new", bytes(SIZE), Breaking(0, never_read)):
        with pytest.raises(AlreadyExistsError) as caught:
            store.put("f", source)
        assert caught.value.name == "f"
        assert items.all() == before
    assert store.get("f") == OLD


@pytest.mark.parametrize("size", [10, SIZE])
@pytest.mark.parametrize("streamed", [False, True])
def test_two_creators_at_once(store: Store, items: Items, size: int, streamed: bool) -> None:
    """Exactly one wins; the others get AlreadyExistsError and leave no chunk behind."""
    for turn in range(5):
        name = f"f{turn}"
        contents = [bytes([number]) * size for number in range(4)]
        outcomes = together(
            *(
                partial(store.put, name, io.BytesIO(content) if streamed else content)
                for content in contents
            )
        )
        [winner] = [number for number in range(4) if isinstance(outcomes[number], FileInfo)]
        assert sum(isinstance(outcome, AlreadyExistsError) for outcome in outcomes) == 3
        assert store.get(name) == contents[winner]
        assert len(items.chunks()) == store.stat(name).chunk_count
        store.delete(name)
        assert items.all() == {}


class Racing:
    """A stream that lets something happen after the name was looked at, before the commit."""

    def __init__(self, content: bytes, act: Callable[[], object]) -> None:
        self._content = io.BytesIO(content)
        self._act: Callable[[], object] | None = act

    def read(self, size: int) -> bytes:
        if self._act is not None:
            act, self._act = self._act, None
            act()
        return self._content.read(size)


def test_created_meanwhile(store: Store, items: Items) -> None:
    with pytest.raises(AlreadyExistsError):
        store.put("f", Racing(b"late", lambda: store.put("f", b"early")))
    assert store.get("f") == b"early"
    assert len(items.chunks()) == 1


def test_replaced_meanwhile_by_another_replacer(store: Store, items: Items) -> None:
    store.put("f", b"first")
    store.put("f", Racing(b"last", lambda: store.put("f", b"x", replace=True)), replace=True)
    assert store.get("f") == b"last"
    assert len(items.chunks()) == 1


def test_deleted_meanwhile(store: Store, items: Items) -> None:
    store.put("f", b"first")
    info = store.put("f", Racing(b"last", lambda: store.delete("f")), replace=True)
    assert not info.replaced
    assert store.get("f") == b"last"
    assert len(items.chunks()) == 1


def test_if_match_holds_at_the_moment_of_the_commit(store: Store, items: Items) -> None:
    first = store.put("f", b"first").sha256
    racing = Racing(b"last", lambda: store.put("f", b"other", replace=True))
    with pytest.raises(memchunk.ChangedError):
        store.put("f", racing, if_match=[first])
    assert store.get("f") == b"other"
    racing = Racing(b"last", lambda: store.delete("f"))
    with pytest.raises(NotFoundError):
        store.put("f", racing, if_match=[store.stat("f").sha256])
    assert items.all() == {}


@pytest.fixture
def held_up(memcached_address: str, namespace: str) -> Iterator[tuple[Store, Relay]]:
    with (
        Relay(memcached_address) as relay,
        memchunk.connect(relay.address, namespace=namespace) as store,
    ):
        yield store, relay


@pytest.mark.parametrize("size", [1000, SIZE])
@pytest.mark.parametrize("old", [None, OLD])
def test_a_chunk_was_not_stored_as_memcached_itself_says(
    held_up: tuple[Store, Relay], store: Store, items: Items, size: int, old: bytes | None
) -> None:
    writer, relay = held_up
    if old is not None:
        store.put("f", old)
    before = items.all()
    relay.create_nothing()
    with pytest.raises(UnavailableError, match="answered NOT_STORED to a set"):
        writer.put("f", bytes(size), replace=True)
    assert items.all() == before


def test_the_answer_to_the_commit_is_lost(
    held_up: tuple[Store, Relay], store: Store, items: Items
) -> None:
    """The manifest was put, only nobody said so: the writer looks, and finds it."""
    writer, relay = held_up
    store.put("f", OLD)

    def lose_next(done: int, total: int | None) -> None:
        relay.cut_after(0)
        threading.Timer(0.05, relay.clear).start()

    info = None
    for _ in range(20):
        try:
            info = writer.put("f", b"new", replace=True, progress=lose_next)
        except UnavailableError:
            relay.clear()
        assert store.get("f") in (OLD, b"new")
        if info is not None:
            break
    assert all(exp == -1 or exp <= time.time() + DRAFT_SECONDS + 1 for exp in items.all().values())


def test_chunks_without_a_manifest_do_not_stay(store: Store, items: Items) -> None:
    """While a write goes on, its chunks have a lifetime of their own; then that of the file."""
    seen: dict[str, int] = {}

    def progress(done: int, total: int | None) -> None:
        seen.update(items.all())

    store.put("f", io.BytesIO(bytes(SIZE)), progress=progress)
    now = time.time()
    assert len(seen) >= 3
    assert all(now < exp <= now + DRAFT_SECONDS + 1 for exp in seen.values())
    assert set(items.all().values()) == {-1}


def test_chunks_that_cannot_be_freed_now_are_freed_later(
    held_up: tuple[Store, Relay], items: Items
) -> None:
    store, relay = held_up
    relay.hang_up_on(b"delete")
    with pytest.raises(BadSourceError):
        store.put("f", Breaking(5 * CHUNK_BYTES, fail))
    store.put("g", b"")
    assert len(items.chunks()) == 5
    relay.clear()
    store.put("h", b"")
    assert items.chunks() == []


@pytest.mark.parametrize("old", [None, OLD])
def test_a_chunk_is_evicted_at_the_moment_of_the_commit(
    store: Store, items: Items, old: bytes | None
) -> None:
    """The writer finds out when it settles the chunks, and puts back what was there."""
    if old is not None:
        store.put("f", old)
    before = items.all()

    def evict(done: int, total: int | None) -> None:
        for key in items.chunks():
            if key not in before:
                items.client.delete(key)

    with pytest.raises(StorageFullError):
        store.put("f", b"new" * 1000, replace=True, progress=evict)
    assert items.all() == before
    if old is not None:
        assert store.get("f") == old


@pytest.mark.parametrize("old", [None, OLD])
def test_the_same_where_the_connection_is_lost_meanwhile(
    store: Store, items: Items, monkeypatch: pytest.MonkeyPatch, old: bytes | None
) -> None:
    """What was seen is then of no use any more, which does not mean that others were there."""
    if old is not None:
        store.put("f", old)
    before = items.all()
    settle = store._amender.settle

    def evicted(manifest: Manifest) -> bool:
        monkeypatch.undo()
        for key in items.chunks():
            if key not in before:
                items.client.delete(key)
        intact = settle(manifest)
        lose_the_connection_after_a_look(monkeypatch, store)
        return intact

    monkeypatch.setattr(store._amender, "settle", evicted)
    with pytest.raises(StorageFullError):
        store.put("f", b"new" * 1000, replace=True, ttl=1000)
    assert items.all() == before
    if old is not None:
        assert store.get("f") == old


def test_deleting_works_where_there_is_no_room_for_anything(
    start_memcached: Callable[..., LocalMemcached],
) -> None:
    server = start_memcached("-m", "4", "-M")
    items = Items(server.address, "mc1")
    with memchunk.connect(server.address) as store:
        store.put("f", b"x" * 100_000)
        key = items.manifest_key("f")
        with suppress(MemcacheServerError):
            for number in range(1_000_000):  # items like the one that a delete needs
                items.client.set(f"{number:0{len(key)}}", b"")
        with pytest.raises(MemcacheServerError):
            items.client.set("x" * len(key), b"")
        with pytest.raises(memchunk.ChangedError):
            store.delete("f", if_match=["0" * 64])
        store.delete("f")
        assert items.all() == {}
    items.close()


@pytest.mark.parametrize("before", [False, True])
def test_interrupted_at_the_commit(
    store: Store, items: Items, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    """Whether or not the manifest was put already, the file is whole: the old or the new one."""
    store.put("f", OLD)
    index = store._index
    put = index.put

    def interrupted(*arguments: Any, **options: Any) -> Any:
        if not before:
            put(*arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(index, "put", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.put("f", b"new", replace=True)
    assert store.get("f") == (OLD if before else b"new")
