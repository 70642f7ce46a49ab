"""A memcached that never evicts (-M) is filled to the brim: refusals, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

import memchunk
from memchunk import StorageFullError, Store
from tests.faults.contents import check, contents
from tests.faults.sweep import orphans
from tests.items import Items
from tests.servers import LocalMemcached

MIB = 1024 * 1024


@pytest.fixture
def server(start_memcached: Callable[..., LocalMemcached]) -> LocalMemcached:
    return start_memcached("-M", "-m", "64")


@pytest.fixture
def full(server: LocalMemcached) -> Iterator[Store]:
    """A store that has just refused a file, on a memcached that has nothing else."""
    with memchunk.connect(server.address, namespace="full") as store:
        fill(store, "big", 5 * MIB)
        yield store


def fill(store: Store, name: str, size: int) -> int:
    """Store files until one is refused; how many there are then."""
    count = 0
    try:
        while True:
            store.put(f"{name}/{count}", contents(f"{name}/{count}", size))
            count += 1
    except StorageFullError:
        return count


def everything(server: LocalMemcached) -> dict[str, int]:
    items = Items(server.address, "full")
    found = items.all()
    items.close()
    return found


@pytest.mark.parametrize("size", [100, 300_000, 3 * MIB, 50 * MIB])
def test_what_is_refused_leaves_nothing_behind(
    full: Store, server: LocalMemcached, torture: int, size: int
) -> None:
    fill(full, "more", size)
    before = everything(server)
    for _ in range(2 * torture):
        with pytest.raises(StorageFullError):
            full.put("one too many", contents("one too many", size))
        with pytest.raises(StorageFullError):
            full.put("big/0", contents("new", max(size, 6 * MIB)), replace=True)
    assert everything(server) == before
    assert "one too many" not in full
    check(full.get("big/0"))


def test_whatever_has_its_place_is_read_listed_and_deleted(
    full: Store, server: LocalMemcached
) -> None:
    dice = random.Random(7)
    for size in (50 * MIB, MIB, 100_000, 10_000, 1000, 0):
        fill(full, f"more/{size}", size)
    names = sorted(info.name for info in full.list())
    for name in names:
        check(full.get(name))
    for name in names:
        assert full.stat(name).name == name
    dice.shuffle(names)
    while names:
        full.delete(names.pop())
        if len(names) % 250 == 0:
            assert [info.name for info in full.list()] == sorted(names)
    assert everything(server) == {}


def test_every_file_that_was_stored_is_listed(full: Store) -> None:
    """Long names, so that the journal grows from slots into larger ones."""
    stored = []
    with suppress(StorageFullError):
        for number in range(2000):
            name = f"{number}/".ljust(500, "x")
            full.put(name, b"")
            stored.append(name)
    for _ in range(len(stored) // 2):
        full.delete(stored.pop())
    full.put("room again", b"")
    listed = [info.name for info in full.list() if not info.name.startswith("big/")]
    assert listed == sorted([*stored, "room again"])


def test_a_full_memcached_takes_files_again_once_others_are_gone(
    full: Store, server: LocalMemcached, torture: int
) -> None:
    for turn in range(3 * torture):
        with pytest.raises(StorageFullError):
            full.put("one too many", contents(str(turn), 5 * MIB))
        full.delete(f"big/{turn % 5}")
        full.put(f"big/{turn % 5}", contents(str(turn), 5 * MIB))
    items = Items(server.address, "full")
    assert orphans(items) == {}
    items.close()
