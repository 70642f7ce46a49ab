"""What comes after a change is done in the end, whatever happens to the one who made it."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from memchunk import EvictedError, NotFoundError, Store, UnavailableError
from memchunk.index import Creation, Entry
from memchunk.layout import CHUNK_BYTES
from memchunk.manifest import Manifest
from memchunk.protocol import Command, Reply
from tests.faults.sweep import orphans, short_lived
from tests.items import Items

FILE = os.urandom(CHUNK_BYTES + 1)


@contextmanager
def silence_from(store: Store, number: int) -> Iterator[None]:
    """memcached gets all exchanges up to `number` (from 1), and answers those before it."""
    backend = store._backend
    exchange = backend.exchange
    count = 0

    def exchange_in_silence(commands: Sequence[Command]) -> list[Reply]:
        nonlocal count
        count += 1
        replies = exchange(commands) if count <= number else []
        if count >= number:
            raise UnavailableError("it does not answer", server="memcached")
        return replies

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "exchange", exchange_in_silence)
        yield


def away_at_the_next_look(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    """memcached does not answer the next time that somebody looks at a name."""

    def away(name: str) -> None:
        monkeypatch.undo()
        raise UnavailableError("it does not answer", server="memcached")

    monkeypatch.setattr(store._index, "look", away)


def forever(items: Items) -> int:
    """How many generations without a manifest will never expire."""
    return sum(seconds == math.inf for seconds in orphans(items).values())


def test_an_interrupt_while_a_file_is_being_listed_takes_no_chunk_of_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store._catalog, "added", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.put("f", FILE)
    assert store.get("f") == FILE
    store.put("g", b"")
    assert [info.name for info in store.list()] == ["f", "g"]


def test_a_file_is_freed_although_nobody_saw_that_it_was_replaced(
    store: Store, items: Items
) -> None:
    store.put("f", FILE)
    with silence_from(store, 2), pytest.raises(UnavailableError):
        store.put("f", FILE[::-1], replace=True)
    assert forever(items) == 1
    store.put("g", b"")
    assert orphans(items) == {}
    assert store.get("f") == FILE[::-1]


def assert_stands(store: Store, old: bytes | None) -> None:
    """The file "f" is the old one, or is not there where there was none."""
    if old is not None:
        assert store.get("f") == old
    else:
        with pytest.raises(NotFoundError):
            store.get("f")


@pytest.mark.parametrize("old", [None, FILE])
def test_a_file_that_nobody_saw_stand_does_not_stay_without_its_chunks(
    store: Store, items: Items, old: bytes | None
) -> None:
    if old is not None:
        store.put("f", old)
    with silence_from(store, 2), pytest.raises(UnavailableError):
        store.put("f", FILE[::-1], replace=True)
    items.lose("f", 0)
    store.put("g", b"")
    assert orphans(items) == {}
    assert_stands(store, old)


def test_one_that_was_only_changed_does(store: Store, items: Items) -> None:
    """What became of it has a name."""
    store.put("f", FILE)
    with silence_from(store, 2), pytest.raises(UnavailableError):
        store.touch("f", ttl=1000)
    items.lose("f", 0)
    store.put("g", b"")
    with pytest.raises(EvictedError):
        store.get("f")


@pytest.mark.parametrize("old", [None, FILE])
def test_what_stood_before_is_put_back_although_memcached_was_away_meanwhile(
    store: Store, items: Items, monkeypatch: pytest.MonkeyPatch, old: bytes | None
) -> None:
    if old is not None:
        store.put("f", old)
    settle = store._amender.settle

    def evicted(manifest: Manifest) -> bool:
        monkeypatch.undo()
        items.lose("f", 0)
        intact = settle(manifest)
        away_at_the_next_look(monkeypatch, store)
        return intact

    monkeypatch.setattr(store._amender, "settle", evicted)
    with pytest.raises(UnavailableError):
        store.put("f", FILE[::-1], replace=True, ttl=1000)
    store.put("g", b"")
    assert orphans(items) == {}
    assert_stands(store, old)


def test_the_same_for_a_small_file_whose_chunk_was_refused(
    store: Store, items: Items, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = store._index.create

    def without_room(*arguments: Any) -> Creation:
        monkeypatch.undo()
        created = create(*arguments)
        items.lose("f", 0)
        away_at_the_next_look(monkeypatch, store)
        return created._replace(ahead=[Reply("REFUSED", text="SERVER_ERROR out of memory")])

    monkeypatch.setattr(store._index, "create", without_room)
    with pytest.raises(UnavailableError):
        store.put("f", b"new")
    store.put("g", b"")
    assert "f" not in store
    assert list(items.all()) == [items.manifest_key("g")]


def test_the_same_for_a_rename_and_its_old_name_goes(store: Store, items: Items) -> None:
    store.put("f", b"new")
    store.put("g", FILE)
    with silence_from(store, 5), pytest.raises(UnavailableError):
        store.rename("f", "g", replace=True)
    assert forever(items) == 1
    store.put("h", b"")
    assert orphans(items) == {}
    assert store.get("g") == b"new"
    assert [info.name for info in store.list()] == ["g", "h"]


def test_chunks_expire_although_nobody_saw_that_their_file_will(store: Store, items: Items) -> None:
    store.put("f", FILE)
    with silence_from(store, 2), pytest.raises(UnavailableError):
        store.touch("f", ttl=1000)
    store.put("g", b"", ttl=1000)
    assert [key for key, expires in items.all().items() if expires == -1] == []


def test_a_write_that_came_to_nothing_owes_nothing(store: Store, items: Items) -> None:
    store.put("f", FILE)
    exchange = store._backend.exchange

    def lost_on_the_way(commands: Sequence[Command]) -> list[Reply]:
        if commands[0].verb == "cas":
            raise UnavailableError("it does not answer", server="memcached")
        return exchange(commands)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store._backend, "exchange", lost_on_the_way)
        with pytest.raises(UnavailableError):
            store.put("f", b"new", replace=True)
    store.put("g", b"")
    assert store.get("f") == FILE
    assert forever(items) == 0


def test_a_delete_is_over_once_the_name_is_gone(store: Store, items: Items) -> None:
    store.put("e", FILE)
    store.rename("e", "f")
    with silence_from(store, 3):
        store.delete("f")
    assert "f" not in store
    store.put("g", b"")
    assert orphans(items) == {}


def test_also_where_it_is_interrupted_since(
    store: Store, items: Items, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    store.put("f", FILE)
    with monkeypatch.context() as patch:
        patch.setattr(store._backend, "free", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.delete("f")
        with pytest.raises(KeyboardInterrupt):
            store.put("g", b"")
    store.put("g", b"")
    assert orphans(items) == {}


def test_a_lifetime_that_is_set_late_does_not_shorten_what_another_has_set_since(
    store: Store, items: Items, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("f", FILE)
    settle = store._amender.settle

    def after_others(manifest: Manifest) -> bool:
        monkeypatch.undo()
        store.rename("f", "g")
        store.touch("g", ttl=None)
        return settle(manifest)

    monkeypatch.setattr(store._amender, "settle", after_others)
    store.touch("f", ttl=5)
    assert short_lived(items) == set()
    assert store.get("g") == FILE


def test_nor_where_it_comes_when_the_file_would_have_expired(
    store: Store, items: Items, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = store._amender.settle

    def after_others(manifest: Manifest) -> bool:
        monkeypatch.undo()
        store.rename("f", "g")
        store.touch("g", ttl=None)
        assert manifest.expires is not None
        time.sleep(manifest.expires - time.time())
        return settle(manifest)

    monkeypatch.setattr(store._amender, "settle", after_others)
    store.put("f", FILE, ttl=1)
    assert short_lived(items) == set()
    assert store.get("g") == FILE


@pytest.mark.parametrize("verb", ["put", "touch"])
def test_a_file_that_expires_while_its_lifetime_is_being_set_leaves_no_chunk_for_good(
    store: Store, items: Items, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    look, touch_chunks = store._index.look, store._amender._touch_chunks

    def until_it_is_gone(name: str) -> tuple[Entry | None, list[Reply]]:
        monkeypatch.undo()
        while (seen := look(name))[0] is not None:
            time.sleep(0.01)
        return seen

    def touch_late(manifest: Manifest) -> list[int]:
        monkeypatch.undo()
        monkeypatch.setattr(store._index, "look", until_it_is_gone)
        return touch_chunks(manifest)

    if verb == "touch":
        store.put("f", FILE)
    monkeypatch.setattr(store._amender, "_touch_chunks", touch_late)
    if verb == "put":
        store.put("f", FILE, ttl=1)
    else:
        store.touch("f", ttl=1)
    assert "f" not in store
    assert len(items.all()) == 2
    assert forever(items) == 0


def test_chunks_that_were_to_stay_expire_where_another_has_said_so_since(
    store: Store, items: Items, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("f", FILE, ttl=2000)
    settle = store._amender.settle

    def after_others(manifest: Manifest) -> bool:
        monkeypatch.undo()
        store.touch("f", ttl=1000)
        return settle(manifest)

    monkeypatch.setattr(store._amender, "settle", after_others)
    store.touch("f", ttl=None)
    assert short_lived(items) == set()
    assert [key for key, expires in items.all().items() if expires == -1] == []
