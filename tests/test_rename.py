"""Rename moves a manifest and no chunk, and nobody frees the chunks of one name with another."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

import memchunk
from memchunk import (
    AlreadyExistsError,
    ChangedError,
    NotFoundError,
    StorageFullError,
    Store,
    UnavailableError,
)
from memchunk.layout import CHUNK_BYTES
from memchunk.manifest import Manifest
from memchunk.record import seal
from tests.faults.sweep import short_lived
from tests.items import Items
from tests.relay import Relay
from tests.together import together

CONTENT = os.urandom(2 * CHUNK_BYTES)


def test_rename(store: Store, items: Items) -> None:
    before = store.put("f", CONTENT, ttl=1000)
    chunks = items.chunks()
    after = store.rename("f", "g")
    assert (after.name, after.sha256, after.created_at) == ("g", before.sha256, before.created_at)
    assert after.expires_at == before.expires_at
    assert "f" not in store
    assert store.get("g") == CONTENT
    assert items.chunks() == chunks
    assert len(items.all()) == len(chunks) + 1


def test_there_and_back_and_away(store: Store, items: Items) -> None:
    store.put("f", CONTENT)
    store.rename("f", "g")
    store.rename("g", "f")
    store.rename("f", "h")
    assert store.get("h") == CONTENT
    store.delete("h")
    assert items.all() == {}


def test_onto_itself_nothing_changes(store: Store) -> None:
    info = store.put("f", CONTENT)
    assert store.rename("f", "f") == info
    assert store.get("f") == CONTENT


def test_onto_another_file(store: Store, items: Items) -> None:
    store.put("f", CONTENT)
    store.put("g", b"in the way")
    with pytest.raises(AlreadyExistsError) as caught:
        store.rename("f", "g")
    assert caught.value.name == "g"
    assert (store.get("f"), store.get("g")) == (CONTENT, b"in the way")
    assert "moving_to" not in items.manifest("f")
    assert store.rename("f", "g", replace=True).replaced
    assert store.get("g") == CONTENT
    assert len(items.all()) == 3


def test_one_that_comes_to_nothing_changes_nothing_else_either(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = store.put("f", CONTENT, content_type="text/plain")
    put = store._index.put

    def without_room(manifest: Manifest, **more: Any) -> Any:
        if manifest.name == "g":
            raise StorageFullError("out of memory")
        return put(manifest, **more)

    monkeypatch.setattr(store._index, "put", without_room)
    with pytest.raises(StorageFullError):
        store.update("f", new_name="g", content_type="image/png", ttl=1000)
    assert store.stat("f") == before


def test_nothing_to_rename(store: Store) -> None:
    with pytest.raises(NotFoundError):
        store.rename("f", "g")
    with pytest.raises(NotFoundError):
        store.rename("f", "f")


@pytest.fixture
def stopped(memcached_address: str, namespace: str, store: Store) -> Callable[[int], None]:
    """Stop a rename of "f" to "g" for good after so many of its changes, as a crash would."""

    def stop(changes: int) -> None:
        store.put("f", CONTENT)
        with (
            Relay(memcached_address) as relay,
            memchunk.connect(relay.address, namespace=namespace) as dying,
        ):
            seen = 0
            real_exchange = dying._backend.exchange

            def exchange(commands):  # type: ignore[no-untyped-def]
                nonlocal seen
                if any(command.line.startswith((b"cas", b"add")) for command in commands):
                    if seen == changes:
                        raise KeyboardInterrupt
                    seen += 1
                return real_exchange(commands)

            dying._backend.exchange = exchange  # type: ignore[method-assign]
            with pytest.raises(KeyboardInterrupt):
                dying.rename("f", "g")

    return stop


@pytest.mark.parametrize("changes", [1, 2])
@pytest.mark.parametrize(
    "verb",
    [
        lambda store: store.put("f", b"new", replace=True),
        lambda store: store.delete("f"),
        lambda store: store.rename("f", "h"),
        lambda store: store.touch("f", ttl=60),
        lambda store: store.put("g", b"new", replace=True),
        lambda store: store.delete("g"),
    ],
    ids=["put old", "delete old", "rename old", "touch old", "put new", "delete new"],
)
def test_a_rename_that_died_is_cleared_away(
    stopped: Callable[[int], None],
    store: Store,
    items: Items,
    monkeypatch: pytest.MonkeyPatch,
    changes: int,
    verb: Callable[[Store], object],
) -> None:
    """After a crash at any point the file is readable, and whoever changes it next cleans up."""
    monkeypatch.setattr("memchunk.moves.MOVE_SECONDS", 0)
    monkeypatch.setattr("memchunk.moves.MOVE_POLLS", 10)
    stopped(changes)
    assert store.get("f") == CONTENT
    assert ("g" in store) == (changes == 2)
    with suppress(NotFoundError):
        verb(store)
    for name in ("f", "g", "h"):
        try:
            content = store.get(name)
        except NotFoundError:
            continue
        assert content in (CONTENT, b"new")
        store.delete(name)
    assert items.all() == {}


def test_others_wait_while_a_file_is_on_its_way(
    stopped: Callable[[int], None], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memchunk.moves.MOVE_SECONDS", 2)
    stopped(1)
    began = time.monotonic()
    assert store.get("f") == CONTENT  # readers do not
    store.put("f", b"new", replace=True)
    assert time.monotonic() - began > 0.5
    assert store.get("f") == b"new"


def test_but_not_beyond_their_deadline(
    stopped: Callable[[int], None], memcached_address: str, namespace: str
) -> None:
    stopped(1)
    with (
        memchunk.connect(memcached_address, namespace=namespace, deadline=0.5) as hasty,
        # or UnavailableError, where the time is up while a question is under way
        pytest.raises((ChangedError, UnavailableError)),
    ):
        hasty.put("f", b"new", replace=True)


def test_nor_does_an_upload(
    stopped: Callable[[int], None],
    memcached_address: str,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("memchunk.moves.MOVE_POLL_SECONDS", 0.2)  # time is left to try again
    stopped(1)
    with memchunk.connect(memcached_address, namespace=namespace, deadline=0.5) as hasty:
        upload = hasty.uploads.create("f", 3, 3, replace=True)
        hasty.uploads.put_part(upload.id, 0, b"new")
        with pytest.raises((ChangedError, UnavailableError)):
            hasty.uploads.finish(upload.id)


@pytest.mark.parametrize("target", [None, b"in the way"])
@pytest.mark.parametrize("is_heard", [True, False], ids=["", "its answer lost"])
def test_a_rename_that_only_seemed_dead_does_not_leave_the_file_under_two_names(
    store: Store,
    items: Items,
    monkeypatch: pytest.MonkeyPatch,
    target: bytes | None,
    is_heard: bool,
) -> None:
    """It is held up before its last step for so long that others take it back."""
    store.put("f", CONTENT)
    if target is not None:
        store.put("g", target)
    put = store._index.put

    def late(manifest: Manifest, **more: Any) -> Any:
        if manifest.name == "g":
            monkeypatch.setattr(store._index, "put", put)
            with monkeypatch.context() as patch:
                patch.setattr("memchunk.moves.MOVE_SECONDS", 0)
                store.touch("f", ttl=60)
            if not is_heard:
                put(manifest, **more)
                raise UnavailableError("it does not answer", server="memcached")
        return put(manifest, **more)

    monkeypatch.setattr(store._index, "put", late)
    if is_heard:
        store.rename("f", "g", replace=True)
        assert "f" not in store
    else:
        with pytest.raises(UnavailableError):
            store.rename("f", "g", replace=True)
        store.put("h", b"")  # what is owed is done before the next write
        store.delete("h")
        assert store.get("f") == CONTENT
        if target is not None:
            assert store.get("g") == target
            store.delete("g")
        store.rename("f", "g")
    assert store.get("g") == CONTENT
    store.delete("g")
    assert items.all() == {}


def test_the_chunks_stay_for_the_name_that_a_late_rename_was_taken_back_to(
    store: Store, items: Items
) -> None:
    """Such a one that has died meanwhile: whoever deletes the new name leaves the chunks."""
    taken_back(store, items)
    store.delete("g")
    assert store.get("f") == CONTENT


@pytest.mark.parametrize(
    "verb",
    [
        lambda store: store.rename("g", "h"),
        lambda store: store.touch("g", ttl=5),
        lambda store: store.update("g", content_type="text/plain"),
    ],
    ids=["rename", "touch", "update"],
)
def test_nor_is_the_file_changed_under_the_new_name(
    store: Store, items: Items, verb: Callable[[Store], object]
) -> None:
    """It would stand under a third name, or its chunks would expire."""
    taken_back(store, items)
    with pytest.raises(NotFoundError):
        verb(store)
    assert [name for name in ("f", "g", "h") if name in store] == ["f"]
    assert short_lived(items) == set()
    assert store.get("f") == CONTENT


def taken_back(store: Store, items: Items) -> None:
    """The file stands as "f", and as "g", which a rename that came too late has put."""
    store.put("f", CONTENT)
    record = items.manifest("f") | {"move": "0" * 32}
    del record["crc32"]
    items.client.set(items.manifest_key("f"), seal(record))
    items.client.set(items.manifest_key("g"), seal(record | {"name": "g", "moved_from": "f"}))
    assert store.get("g") == CONTENT


NAMES = ["a", "b", "c"]


def change(store: Store, chance: random.Random) -> None:
    """Do something to one of few names."""
    name, other = chance.sample(NAMES, 2)
    content = b"%d " % chance.randrange(10**6) * chance.choice([10, 100_000])
    verb: Callable[[], object] = chance.choice(
        [
            lambda: store.put(name, content, replace=True),
            lambda: store.put(name, content),
            lambda: store.rename(name, other),
            lambda: store.rename(name, other, replace=True),
            lambda: store.delete(name),
            lambda: store.touch(name, ttl=chance.choice([None, 60, 1000])),
        ]
    )
    with suppress(NotFoundError, AlreadyExistsError):
        verb()


@pytest.mark.parametrize("seed", range(4))
def test_renamers_replacers_deleters_and_readers_on_few_names(
    store: Store, items: Items, seed: int
) -> None:
    """Nobody sees a loss that nobody caused, and in the end no chunk is left behind."""
    changing = 4

    def changer(number: int) -> None:
        nonlocal changing
        chance = random.Random(f"{seed} {number}")
        try:
            for _ in range(60):
                change(store, chance)
        finally:
            changing -= 1

    def reader() -> None:
        while changing:
            for name in NAMES:
                with suppress(NotFoundError):
                    store.get(name)

    outcomes = together(*(partial(changer, number) for number in range(4)), reader, reader)
    assert outcomes == [None] * 6
    for name in NAMES:
        with suppress(NotFoundError):
            store.get(name)
            store.delete(name)
    assert items.all() == {}
