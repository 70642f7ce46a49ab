"""A small file that was lately seen is one round trip, and never anything but what it is now."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

import memchunk
from memchunk import CorruptError, EvictedError, FileInfo, MemchunkError, NotFoundError, Store
from memchunk.known import MAX_KNOWN, SMALL_BYTES, KnownFiles
from memchunk.layout import CHUNK_BYTES, Layout
from memchunk.manifest import Manifest
from tests.items import Items, flipped
from tests.servers import LocalMemcached
from tests.test_fleet import connected, names_on
from tests.test_observer import Recorder

OLD = os.urandom(4096)
TOGETHER = [{"gets": 1, "get": 1}]
ONE_AFTER_THE_OTHER = [{"gets": 1}, {"get": 1}]

Change = Callable[[Store, Items], object]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def reader(memcached_address: str, namespace: str, recorder: Recorder) -> Iterator[Store]:
    """A store whose round trips are recorded, beside `store`, in the same namespace."""
    with memchunk.connect(memcached_address, namespace=namespace, observer=recorder) as reader:
        yield reader


def trips(recorder: Recorder) -> list[dict[str, int]]:
    """The commands of each round trip since this was last asked."""
    found = [dict(each.commands) for each in recorder.exchanges]
    recorder.forget()
    return found


def read(store: Store) -> bytes:
    """The file "f", by both ways of reading a whole one, which agree."""
    seen: list[FileInfo] = []

    def buffer_for(info: FileInfo) -> memoryview:
        seen.append(info)
        return buffer[: info.size]

    buffer = memoryview(bytearray(3 * CHUNK_BYTES))
    size = store.read_into("f", buffer_for)
    content = store.get("f")
    assert buffer[:size] == content
    assert [info.size for info in seen] == [len(content)]
    return content


def test_a_small_file_that_is_read_again_is_one_round_trip(
    store: Store, reader: Store, recorder: Recorder
) -> None:
    store.put("f", OLD)
    assert reader.get("f") == OLD
    assert trips(recorder) == ONE_AFTER_THE_OTHER
    assert reader.get("f") == OLD
    assert trips(recorder) == TOGETHER
    buffer = bytearray(5000)
    assert reader.read_into("f", buffer) == len(OLD)
    assert buffer == OLD + bytes(5000 - len(OLD))
    assert trips(recorder) == TOGETHER


def test_a_small_file_that_was_just_stored_is_read_in_one_round_trip(
    reader: Store, recorder: Recorder
) -> None:
    reader.put("f", OLD)
    trips(recorder)
    assert reader.get("f") == OLD
    assert trips(recorder) == TOGETHER


def test_a_large_file_comes_into_its_place_and_after_its_manifest(
    reader: Store, recorder: Recorder
) -> None:
    reader.put("f", bytes(SMALL_BYTES + 1))
    trips(recorder)
    for _ in range(2):
        reader.get("f")
        assert trips(recorder) == ONE_AFTER_THE_OTHER


def test_what_is_known_is_forgotten_once_it_is_not_true_any_more(
    store: Store, reader: Store, recorder: Recorder
) -> None:
    reader.put("f", OLD)
    store.put("f", bytes(CHUNK_BYTES), replace=True)
    reader.get("f")
    trips(recorder)
    reader.get("f")
    assert trips(recorder) == ONE_AFTER_THE_OTHER
    reader.put("f", OLD, replace=True)
    store.delete("f")
    for expected in TOGETHER, [{"gets": 1}]:
        trips(recorder)
        with pytest.raises(NotFoundError):
            reader.get("f")
        assert trips(recorder) == expected


@pytest.mark.parametrize(
    "new", [os.urandom(4096), b"shorter", bytes(SMALL_BYTES + 1), bytes(3 * CHUNK_BYTES), b"", OLD]
)
def test_what_somebody_else_has_stored_is_read(
    store: Store, reader: Store, recorder: Recorder, new: bytes
) -> None:
    reader.put("f", OLD)
    assert read(reader) == OLD
    store.put("f", new, replace=True)
    assert read(reader) == new
    assert [info.sha256 for info in recorder.read_files[-2:]] == [store.stat("f").sha256] * 2
    assert read(reader) == new


def deleted(store: Store, _items: Items) -> None:
    store.delete("f")


def renamed(store: Store, _items: Items) -> None:
    store.rename("f", "g")


def expired(_store: Store, items: Items) -> None:
    assert items.client.touch(items.manifest_key("f"), -1)


def evicted(_store: Store, items: Items) -> None:
    items.lose("f", 0)


def garbled(_store: Store, items: Items) -> None:
    items.overwrite("f", 0, flipped(OLD, 1000))


def cut(_store: Store, items: Items) -> None:
    items.overwrite("f", 0, OLD[:-1])


def no_manifest(_store: Store, items: Items) -> None:
    key = items.manifest_key("f")
    items.client.set(key, flipped(items.client.get(key), 50))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (deleted, NotFoundError),
        (renamed, NotFoundError),
        (expired, NotFoundError),
        (evicted, EvictedError),
        (garbled, CorruptError),
        (cut, CorruptError),
        (no_manifest, CorruptError),
    ],
)
def test_every_loss_has_its_name(
    store: Store, reader: Store, items: Items, change: Change, error: type[MemchunkError]
) -> None:
    reader.put("f", OLD)
    assert read(reader) == OLD
    change(store, items)
    for _ in range(2):
        with pytest.raises(error):
            reader.get("f")
        with pytest.raises(error):
            reader.read_into("f", bytearray(5000))
    reader.put("f", b"again")
    assert read(reader) == b"again"


def test_no_buffer_is_asked_for_a_file_that_is_not_there_any_more(
    store: Store, reader: Store
) -> None:
    def no_buffer(info: FileInfo) -> bytearray:
        raise AssertionError(f"a buffer for {info}")

    reader.put("f", OLD)
    store.delete("f")
    with pytest.raises(NotFoundError):
        reader.read_into("f", no_buffer)


def test_a_chunk_elsewhere_is_not_asked_for_before_the_manifest(
    start_memcached: Callable[..., LocalMemcached],
) -> None:
    """A rename leaves the chunk on the old name's server, which may be away when it is replaced."""
    old, new = servers = [start_memcached(), start_memcached()]
    with connected(servers) as store, connected(servers) as reader:
        [before], [after] = names_on(store, old, 1), names_on(store, new, 1)
        store.put(before, OLD)
        store.rename(before, after)
        assert reader.get(after) == OLD
        old.kill()
        store.put(after, b"new", replace=True)
        assert reader.get(after) == b"new"


def test_only_the_last_so_many_files_are_known() -> None:
    known = KnownFiles()
    names = [f"f{number}" for number in range(3 * MAX_KNOWN)]
    for name in names:
        known.remember(b"", manifest_of(name))
    assert [name for name in names if known.recall(name) is not None] == names[-MAX_KNOWN:]


def test_a_file_that_is_known_again_takes_the_place_of_no_other() -> None:
    known = KnownFiles()
    names = [f"f{number}" for number in range(MAX_KNOWN)]
    for name in [*names, *names]:
        known.remember(b"", manifest_of(name))
    assert all(known.recall(name) is not None for name in names)


def manifest_of(name: str) -> Manifest:
    return Manifest(name, "0" * 64, Layout(1, 2), "1" * 32, "a/b", 0, None, (0,))
