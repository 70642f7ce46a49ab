"""A sweep gives chunks that no file needs an end, and takes none from a file."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

import memchunk
from memchunk import CorruptError, StorageFullError, Store, UnavailableError, sweep
from memchunk.expiry import DRAFT_SECONDS
from memchunk.layout import CHUNK_BYTES
from memchunk.manifest import Manifest
from memchunk.record import seal
from tests.faults.sweep import GRACE_SECONDS, orphans, short_lived
from tests.items import Items
from tests.relay import Relay
from tests.servers import LocalMemcached, connect

CONTENT = os.urandom(2 * CHUNK_BYTES + 5)
Acts = dict[int, Callable[[], object]]
Plan = Callable[[Acts], None]


def forget(items: Items, name: str) -> None:
    """Leave a file's chunks behind, as who is killed in the middle of a delete does."""
    assert items.client.delete(items.manifest_key(name))


@pytest.mark.parametrize("ttl", [None, 2 * DRAFT_SECONDS])
def test_what_no_manifest_names_expires_within_the_hour(
    store: Store, items: Items, ttl: int | None
) -> None:
    for name in ("f", "g", "h"):
        store.put(name, CONTENT, ttl=ttl)
    forget(items, "f")
    forget(items, "g")
    items.client.delete(f"{items.chunks()[0]}")  # one that has lost a chunk is found, too
    assert store.sweep() == len(orphans(items)) == 2
    assert max(orphans(items).values()) <= GRACE_SECONDS
    assert store.sweep() == 0


def test_what_others_keep_in_the_namespace_is_no_chunk(store: Store, items: Items) -> None:
    for key in ("counter", "c", "c{ab}|#|1", f"c{{{'0' * 32}}}|#|x", f"c{{{'0' * 32}}}|#|{10**9}"):
        assert items.client.set(f"{items.namespace}:{key}", b"5", noreply=False)
    assert store.sweep() == 0


def test_what_a_manifest_names_keeps_its_lifetime(store: Store, items: Items) -> None:
    store.put("stays", CONTENT)
    store.put("small", b"small")
    store.put("empty", b"")
    store.put("goes", CONTENT, ttl=2 * DRAFT_SECONDS)
    store.put("goes soon", CONTENT, ttl=5)
    store.rename("small", "moved")
    upload = store.uploads.create("upload", 3, 3)
    store.uploads.put_part(upload.id, 0, b"new")
    before = items.all()
    assert store.sweep() == 0
    assert items.all() == before


def test_what_is_being_written_is_left_alone(store: Store, items: Items) -> None:
    swept = []
    store.put("f", CONTENT, progress=lambda done, total: swept.append(store.sweep()))
    assert swept == [0, 0, 0]
    assert short_lived(items) == set()


def test_what_is_being_written_is_left_alone_by_a_clock_that_is_late(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr("memchunk.sweep.time.time", lambda: now - 30)
    swept = []
    store.put("f", CONTENT, progress=lambda done, total: swept.append(store.sweep()))
    assert swept == [0, 0, 0]


def test_in_its_own_namespace_only(store: Store, items: Items, memcached_address: str) -> None:
    with memchunk.connect(memcached_address, namespace=items.namespace + "-other") as other:
        other.put("f", CONTENT)
        others = Items(memcached_address, items.namespace + "-other")
        forget(others, "f")
        others.close()
        assert store.sweep() == 0
        assert other.sweep() == 1


def test_on_all_servers_of_a_fleet(start_memcached: Callable[..., LocalMemcached]) -> None:
    servers = [start_memcached() for _ in range(3)]
    behind = [Items(server.address, "mc1") for server in servers]
    with memchunk.connect([server.address for server in servers]) as store:
        for number in range(20):
            store.put(f"f{number}", b"content")
        for each in behind:
            for key in each.all():
                if key.startswith("mc1:m:"):
                    each.client.delete(key)
        assert store.sweep() == 20
    assert max(max(orphans(each).values()) for each in behind) <= GRACE_SECONDS
    for each in behind:
        each.close()


def test_takes_none_from_a_file_that_lies_where_it_belongs_no_more(
    start_memcached: Callable[..., LocalMemcached],
) -> None:
    addresses = [start_memcached().address for _ in range(3)]
    with memchunk.connect(addresses[:2]) as store:
        for number in range(20):
            store.put(f"f{number}", b"content")
    with memchunk.connect(addresses) as store:
        assert store.sweep() == 0


def test_not_where_a_later_version_has_written(store: Store, items: Items) -> None:
    """Which chunks that one needs is not known here."""
    store.put("f", CONTENT)
    record = items.manifest("f") | {"memchunk": 2}
    del record["crc32"]
    items.client.set(items.manifest_key("f"), seal(record))
    with pytest.raises(CorruptError, match="upgrade memchunk"):
        store.sweep()
    assert set(orphans(items).values()) <= {math.inf}


@pytest.fixture
def between_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> Plan:
    """Do something in the middle of a look (from 1), between its list of keys and its reading."""
    look = 0
    load = sweep._load

    def plan(acts: Acts) -> None:
        def load_late(*arguments: object) -> Iterator[Manifest]:
            nonlocal look
            look += 1
            if look in acts:
                acts[look]()
            return load(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(sweep, "_load", load_late)

    return plan


@pytest.mark.parametrize("renamed", [{1}, {1, 2}, {1, 2, 3}, {1, 2, 4}, {1, 2, 3, 4}], ids=str)
def test_a_file_that_is_renamed_past_the_looks_keeps_its_lifetime(
    store: Store,
    items: Items,
    between_looks: Plan,
    renamed: set[int],
) -> None:
    store.put("f0", CONTENT)
    store.put("left", CONTENT)
    forget(items, "left")

    def rename_in(look: int) -> Callable[[], object]:
        before = len([each for each in renamed if each < look])
        return partial(store.rename, f"f{before}", f"f{before + 1}")

    between_looks({look: rename_in(look) for look in renamed})
    store.sweep()
    assert short_lived(items) == set()
    assert store.get(f"f{len(renamed)}") == CONTENT
    assert max(orphans(items).values()) <= GRACE_SECONDS


def test_a_file_that_is_put_back_keeps_its_lifetime(
    store: Store, items: Items, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("f", CONTENT)
    settle = store._amender.settle

    def swept_and_evicted(manifest: Manifest) -> bool:
        monkeypatch.undo()
        store.sweep()
        items.lose("f", 0)
        return settle(manifest)

    monkeypatch.setattr(store._amender, "settle", swept_and_evicted)
    with pytest.raises(StorageFullError):
        store.put("f", os.urandom(CHUNK_BYTES), replace=True, ttl=2 * DRAFT_SECONDS)
    assert store.get("f") == CONTENT
    assert short_lived(items) == set()


def test_waits_while_memcached_lists_its_items_for_somebody_else(
    memcached_address: str, namespace: str, items: Items
) -> None:
    with (
        Relay(memcached_address) as relay,
        memchunk.connect(relay.address, namespace=namespace) as store,
    ):
        store.put("f", CONTENT)
        forget(items, "f")
        relay.crawler_is_busy(times=3)
        assert store.sweep() == 1
        assert relay.commands["lru_crawler"] >= 3 + 1
        relay.crawler_is_busy(times=3)
        assert store.reindex() == 0


def test_but_not_beyond_its_deadline(memcached_address: str, namespace: str) -> None:
    with (
        Relay(memcached_address) as relay,
        memchunk.connect(relay.address, namespace=namespace, deadline=0.5) as store,
    ):
        relay.crawler_is_busy(times=1000)
        with pytest.raises(UnavailableError, match="BUSY"):
            store.sweep()
        assert 2 <= relay.commands["lru_crawler"] <= 12


def test_many_sweep_at_once(start_memcached: Callable[..., LocalMemcached]) -> None:
    """memcached lists its items for one of them at a time."""
    server = start_memcached()
    with connect(server.address) as client:
        for number in range(20_000):
            client.sendall(b"set %b 0 0 0 noreply\r\n\r\n" % f"{number:0200d}".encode())
    with memchunk.connect(server.address) as store:
        store.put("f", CONTENT)
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(lambda _: store.sweep(), range(16))) == [0] * 16
        assert store.get("f") == CONTENT
