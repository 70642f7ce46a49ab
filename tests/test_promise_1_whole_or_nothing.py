"""Promise 1: a name resolves to the complete bytes of exactly one write, or an error is raised."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any

import pytest

import memchunk
from memchunk import CorruptError, FileInfo, Store
from memchunk.known import SMALL_BYTES
from memchunk.layout import CHUNK_BYTES
from tests.items import Items, flipped
from tests.together import together

THREE_CHUNKS = 2 * CHUNK_BYTES + 1000

Read = Callable[[Store, str], object]
READS: dict[str, Read] = {
    "get": lambda store, name: store.get(name),
    "read_into": lambda store, name: store.read_into(name, bytearray(THREE_CHUNKS)),
    "open": lambda store, name: store.open(name).read(),
}


@pytest.fixture(params=READS)
def read(request: pytest.FixtureRequest) -> Read:
    return READS[request.param]


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize("position", ["first", "middle", "last"])
def test_a_byte_flipped_in_any_chunk(
    store: Store, items: Items, read: Read, index: int, position: str
) -> None:
    store.put("f", os.urandom(THREE_CHUNKS))
    value = items.chunk("f", index)
    at = {"first": 0, "middle": len(value) // 2, "last": len(value) - 1}[position]
    items.overwrite("f", index, flipped(value, at))
    with pytest.raises(CorruptError) as caught:
        read(store, "f")
    assert caught.value.name == "f"


@pytest.mark.parametrize("size", [1, 4096, 100_000])
def test_a_byte_flipped_in_a_small_file(store: Store, items: Items, read: Read, size: int) -> None:
    store.put("f", os.urandom(size))
    items.overwrite("f", 0, flipped(items.chunk("f", 0), size - 1))
    with pytest.raises(CorruptError):
        read(store, "f")


def test_a_byte_flipped_in_the_manifest(store: Store, items: Items, read: Read) -> None:
    store.put("f", b"content")
    key = items.manifest_key("f")
    value = items.client.get(key)
    for position in range(0, len(value), 7):
        items.client.set(key, flipped(value, position))
        with pytest.raises(CorruptError):
            read(store, "f")
        with pytest.raises(CorruptError):
            store.stat("f")


def test_two_chunks_swapped(store: Store, items: Items, read: Read) -> None:
    store.put("f", os.urandom(THREE_CHUNKS))
    first, second = items.chunk("f", 0), items.chunk("f", 1)
    items.overwrite("f", 0, second)
    items.overwrite("f", 1, first)
    with pytest.raises(CorruptError):
        read(store, "f")


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize(
    "change",
    [
        lambda value: value[:-1],
        lambda value: value[:10],
        lambda value: b"",
        lambda value: value + b"\0",
        lambda value: value + bytes(300_000),
    ],
    ids=["one byte shorter", "much shorter", "empty", "one byte longer", "much longer"],
)
def test_a_chunk_replaced_by_a_shorter_or_longer_one(
    store: Store, items: Items, read: Read, index: int, change: Callable[[bytes], bytes]
) -> None:
    store.put("f", os.urandom(THREE_CHUNKS))
    items.overwrite("f", index, change(items.chunk("f", index)))
    with pytest.raises(CorruptError):
        read(store, "f")
    assert "f" in store  # and the connection is still in step


def test_a_chunk_of_another_write_of_the_same_name(store: Store, items: Items, read: Read) -> None:
    store.put("f", os.urandom(THREE_CHUNKS))
    stale = items.chunk("f", 1)
    store.put("f", os.urandom(THREE_CHUNKS), replace=True)
    items.overwrite("f", 1, stale)
    with pytest.raises(CorruptError):
        read(store, "f")


def test_the_manifest_of_another_name(store: Store, items: Items, read: Read) -> None:
    store.put("f", b"content of f")
    store.put("g", b"content of g")
    items.client.set(items.manifest_key("f"), items.client.get(items.manifest_key("g")))
    with pytest.raises(CorruptError, match="another name"):
        read(store, "f")


def test_nothing_of_a_wrong_chunk_is_handed_out_by_open(store: Store, items: Items) -> None:
    content = os.urandom(THREE_CHUNKS)
    store.put("f", content)
    items.overwrite("f", 1, flipped(items.chunk("f", 1), CHUNK_BYTES - 1))
    with store.open("f") as f:
        assert f.read(CHUNK_BYTES) == content[:CHUNK_BYTES]
        with pytest.raises(CorruptError):
            f.read(1)
        f.seek(2 * CHUNK_BYTES)
        assert f.read() == content[2 * CHUNK_BYTES :]


class Replacing:
    """Runs `act` when the reader has seen the manifest and not yet a chunk (of no small file)."""

    def __init__(self, act: Callable[[], object], times: int = 1) -> None:
        self.seen: list[FileInfo] = []
        self.buffer = bytearray()
        self._act, self._times = act, times

    def __call__(self, info: FileInfo) -> bytearray:
        self.seen.append(info)
        if len(self.seen) <= self._times:
            self._act()
        self.buffer = bytearray(info.size)
        return self.buffer


def test_replaced_while_being_read(store: Store) -> None:
    old, new = os.urandom(THREE_CHUNKS), os.urandom(CHUNK_BYTES)
    store.put("f", old)
    replacing = Replacing(lambda: store.put("f", new, replace=True))
    assert store.read_into("f", replacing) == len(new)
    assert replacing.buffer == new
    assert [info.size for info in replacing.seen] == [len(old), len(new)]


def test_replaced_again_and_again_while_being_read(store: Store) -> None:
    versions = [bytes([number]) * (SMALL_BYTES + 1) for number in range(21)]
    coming = iter(versions)
    store.put("f", next(coming))
    replacing = Replacing(lambda: store.put("f", next(coming), replace=True), times=20)
    store.read_into("f", replacing)
    assert replacing.buffer == versions[-1]


def test_a_file_that_never_holds_still_is_given_up_in_the_end(store: Store) -> None:
    content = bytes(SMALL_BYTES + 1)
    store.put("f", content)
    replacing = Replacing(lambda: store.put("f", content, replace=True), times=10**6)
    with pytest.raises(memchunk.ChangedError, match="try again"):
        store.read_into("f", replacing)


def test_deleted_while_being_read(store: Store) -> None:
    store.put("f", os.urandom(THREE_CHUNKS))
    with pytest.raises(memchunk.NotFoundError):
        store.read_into("f", Replacing(lambda: store.delete("f")))


def test_renamed_while_being_read(store: Store) -> None:
    content = os.urandom(THREE_CHUNKS)
    store.put("f", content)
    replacing = Replacing(lambda: store.rename("f", "g"))
    store.read_into("f", replacing)
    assert replacing.buffer == content


def test_readers_beside_replacers_see_whole_files(store: Store) -> None:
    """Every read returns exactly one of the versions, none mixes two, none raises."""
    sizes = [10, CHUNK_BYTES, THREE_CHUNKS, 5 * CHUNK_BYTES]
    versions = [bytes([i]) * sizes[i % len(sizes)] for i in range(16)]
    store.put("f", versions[0])
    replacing = 2

    def replace(mine: list[bytes]) -> None:
        nonlocal replacing
        for version in mine * 5:
            store.put("f", version, replace=True)
        replacing -= 1

    def read() -> None:
        while replacing:
            assert store.get("f") in versions

    outcomes = together(
        lambda: replace(versions[::2]), lambda: replace(versions[1::2]), read, read, read
    )
    assert outcomes == [None] * 5


@pytest.mark.parametrize("read_first", [0, 10])
def test_replaced_while_it_is_open(store: Store, read_first: int) -> None:
    """Before a byte was handed out the new file is read; afterwards nothing is mixed."""
    old, new = os.urandom(THREE_CHUNKS), os.urandom(CHUNK_BYTES + 5)
    store.put("f", old)
    with store.open("f") as f:
        assert f.read(read_first) == old[:read_first]
        store.put("f", new, replace=True)
        if read_first:
            with pytest.raises(memchunk.ChangedError):
                f.read()
        else:
            assert f.read() == new


def test_sought_in_an_open_file_then_replaced(store: Store) -> None:
    store.put("f", os.urandom(THREE_CHUNKS))
    with store.open("f") as f:
        f.seek(-10, io.SEEK_END)
        store.put("f", os.urandom(20), replace=True)
        with pytest.raises(memchunk.ChangedError):
            f.read()


@pytest.mark.parametrize("size", [0, 10, THREE_CHUNKS])
def test_announced_and_sent_bytes_differ(store: Store, items: Items, size: int) -> None:
    content = os.urandom(size)
    for source in (content, io.BytesIO(content)):
        with pytest.raises(memchunk.DigestMismatchError) as caught:
            store.put("f", source, sha256="0" * 64)
        assert caught.value.name == "f"
        assert "f" not in store
        assert items.all() == {}


def test_a_version_from_the_future_is_neither_read_nor_written_over(
    store: Store, items: Items, read: Read
) -> None:
    from tests.test_manifest import fields, sealed

    items.client.set(items.manifest_key("f"), sealed(fields(name="f", memchunk=2)))
    with pytest.raises(CorruptError, match="upgrade"):
        read(store, "f")
    with pytest.raises(memchunk.AlreadyExistsError):
        store.put("f", b"x")
    store.put("g", b"x")
    with pytest.raises(memchunk.AlreadyExistsError):
        store.rename("g", "f")
    store.put("f", b"x", replace=True)
    assert store.get("f") == b"x"


def test_the_bytes_that_get_returned_are_nobody_elses(store: Store) -> None:
    store.put("f", b"abc" * 1000)
    first: Any = store.get("f")
    second = store.get("f")
    assert first == second
    assert type(first) is bytes
    assert hash(first) == hash(b"abc" * 1000)
