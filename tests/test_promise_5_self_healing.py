"""Promise 5: a file that lost chunks can be stored again under its name without deleting it."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

import memchunk
from memchunk import Store
from memchunk.layout import CHUNK_BYTES
from tests.items import Items, flipped

SIZE = 3 * CHUNK_BYTES


def lose_first(items: Items) -> None:
    items.lose("f", 0)


def lose_all(items: Items) -> None:
    items.lose("f", 0, 1, 2)


def flip_in_a_chunk(items: Items) -> None:
    items.overwrite("f", 1, flipped(items.chunk("f", 1), 99))


def cut_a_chunk(items: Items) -> None:
    items.overwrite("f", 2, items.chunk("f", 2)[:-1])


def swap_chunks(items: Items) -> None:
    first, last = items.chunk("f", 0), items.chunk("f", 2)
    items.overwrite("f", 0, last)
    items.overwrite("f", 2, first)


def flip_in_the_manifest(items: Items) -> None:
    key = items.manifest_key("f")
    items.client.set(key, flipped(items.client.get(key), 20))


def scribble_over_the_manifest(items: Items) -> None:
    items.client.set(items.manifest_key("f"), b"")


DAMAGES = [
    lose_first,
    lose_all,
    flip_in_a_chunk,
    cut_a_chunk,
    swap_chunks,
    flip_in_the_manifest,
    scribble_over_the_manifest,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_stored_again_with_a_plain_put(
    store: Store, items: Items, damage: Callable[[Items], None]
) -> None:
    content = os.urandom(SIZE)
    store.put("f", content)
    damage(items)
    with pytest.raises((memchunk.EvictedError, memchunk.CorruptError)):
        store.get("f")
    info = store.put("f", content)
    assert info.replaced
    assert store.get("f") == content
    with pytest.raises(memchunk.AlreadyExistsError):
        store.put("f", content)


@pytest.mark.parametrize("damage", [lose_first, lose_all, flip_in_a_chunk, cut_a_chunk])
def test_what_is_left_of_a_damaged_file_is_freed(
    store: Store, items: Items, damage: Callable[[Items], None]
) -> None:
    store.put("f", os.urandom(SIZE))
    damage(items)
    store.put("f", b"healed")
    assert len(items.all()) == 2


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_can_be_deleted(
    store: Store, items: Items, damage: Callable[[Items], None]
) -> None:
    store.put("f", os.urandom(SIZE))
    damage(items)
    store.delete("f")
    with pytest.raises(memchunk.NotFoundError):
        store.get("f")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_in_nobodys_way(
    store: Store, items: Items, damage: Callable[[Items], None]
) -> None:
    store.put("f", os.urandom(SIZE))
    damage(items)
    store.put("g", b"content of g")
    store.rename("g", "f")
    assert store.get("f") == b"content of g"


def test_two_healers_at_once(store: Store, items: Items) -> None:
    """The one that comes second finds the file whole."""
    from tests.test_promise_3_a_failed_write_changes_nothing import Racing

    store.put("f", os.urandom(SIZE))
    items.lose("f", 1)
    with pytest.raises(memchunk.AlreadyExistsError):
        store.put("f", Racing(b"late", lambda: store.put("f", b"early")))
    assert store.get("f") == b"early"
    assert len(items.all()) == 2
