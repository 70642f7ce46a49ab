"""Uploads: files in parts, in any order, from many processes, with all state in memcached."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import random
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import memchunk
from memchunk import (
    AlreadyExistsError,
    ChangedError,
    CorruptError,
    DigestMismatchError,
    FileInfo,
    InvalidNameError,
    NotFoundError,
    StorageFullError,
    Store,
    TooLargeError,
    UnavailableError,
    UploadIncompleteError,
    names,
)
from memchunk.assembly import Assembler
from memchunk.parts import BATCH, Parts
from memchunk.plan import MAX_PART_BYTES, Upload
from memchunk.protocol import Command, Reply
from memchunk.record import seal
from tests.items import Items, flipped
from tests.relay import Relay
from tests.servers import LocalMemcached
from tests.together import together

MIB = 1024 * 1024


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def begin(store: Store, data: bytes, part_size: int, **options: object) -> Upload:
    """An upload of `data` to the name "a", of which nothing has come yet."""
    return store.uploads.create("a", len(data), part_size, digest(data), **options)  # type: ignore[arg-type]


def part(upload: Upload, data: bytes, index: int) -> bytes:
    return data[index * upload.part_size :][: upload.part_size]


def send(store: Store, upload: Upload, data: bytes, *indices: int) -> list[bool]:
    """Send parts, by default all; of each whether the upload was complete then."""
    return [
        store.uploads.put_part(upload.id, index, part(upload, data, index)).complete
        for index in indices or range(upload.part_count)
    ]


def part_keys(items: Items) -> list[str]:
    return sorted(key for key in items.all() if key.startswith(f"{items.namespace}:p"))


def record_key(items: Items, upload: Upload) -> str:
    return names.upload_key(items.namespace, upload.id)


def part_key(items: Items, upload: Upload, index: int) -> str:
    return names.part_key(items.namespace, upload.generation, index)


@pytest.fixture
def other(memcached_address: str, namespace: str) -> Iterator[Store]:
    """The same store as another process has it."""
    with memchunk.connect(memcached_address, namespace=namespace) as store:
        yield store


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_parts_in_any_order_make_the_file(store: Store, data: st.DataObject) -> None:
    content = os.urandom(data.draw(st.sampled_from([1, 2, 7, 1000, 4096, 523_264, 1_200_000])))
    least = max(1, len(content) // 500)
    part_size = data.draw(st.integers(least, min(MAX_PART_BYTES, 2 * len(content))))
    announced = data.draw(st.sampled_from([None, digest(content)]))
    name = secrets.token_hex(8)
    upload = store.uploads.create(name, len(content), part_size, announced)
    order = data.draw(st.permutations(range(upload.part_count)))
    assert send(store, upload, content, *order) == [False] * (len(order) - 1) + [True]
    info = store.uploads.finish(upload.id)
    assert (info.name, info.size, info.sha256) == (name, len(content), digest(content))
    assert store.get(name) == content


def test_a_finished_upload_is_a_file_like_any_other(store: Store, items: Items) -> None:
    data = os.urandom(3 * MIB)
    upload = begin(store, data, 65_536, content_type="text/x-test", ttl=1000)
    assert "a" not in store
    send(store, upload, data)
    info = store.uploads.finish(upload.id)
    assert info == store.stat("a")
    assert info.content_type == "text/x-test"
    assert info.expires_at is not None
    assert info.chunk_count == 7, "it is laid out as every file of its size"
    assert part_keys(items) == []


def test_an_empty_file_has_no_parts(store: Store) -> None:
    upload = begin(store, b"", 100)
    assert upload.part_count == 0
    assert store.uploads.missing(upload.id) == []
    assert store.uploads.finish(upload.id).size == 0
    assert store.get("a") == b""


def test_by_default_a_part_fills_a_slot(start_memcached: Callable[..., LocalMemcached]) -> None:
    server = start_memcached("-o", "slab_chunk_max=131072")
    with memchunk.connect(server.address) as store:
        upload = store.uploads.create("f", 300_000)
        assert upload.part_size == store.put("g", bytes(300_000)).chunk_size == 131072 - 1024
        for index in range(upload.part_count):
            store.uploads.put_part(upload.id, index, bytes(upload.length(index)))
        assert store.uploads.finish(upload.id).size == 300_000


def test_the_type_is_guessed_from_the_name(store: Store) -> None:
    assert store.uploads.create("a.txt", 1, 1).content_type == "text/plain"


def test_finished_again_it_tells_the_same(store: Store) -> None:
    data = b"abc"
    upload = begin(store, data, 2)
    send(store, upload, data)
    info = store.uploads.finish(upload.id)
    assert store.uploads.finish(upload.id) == info
    assert store.uploads.get(upload.id).finished
    assert store.uploads.missing(upload.id) == []
    store.delete("a")
    with pytest.raises(NotFoundError):
        store.uploads.finish(upload.id)


def test_what_is_missing(store: Store) -> None:
    data = os.urandom(1000)
    upload = begin(store, data, 100)
    send(store, upload, data, 9, 0, 4)
    assert store.uploads.missing(upload.id) == [1, 2, 3, 5, 6, 7, 8]
    assert not store.uploads.is_complete(upload.id)
    with pytest.raises(UploadIncompleteError) as caught:
        store.uploads.finish(upload.id)
    assert caught.value.missing == (1, 2, 3, 5, 6, 7, 8)
    assert caught.value.name == "a"


def test_a_part_is_stored_once(store: Store, other: Store) -> None:
    upload = store.uploads.create("a", 4, 2)
    assert store.uploads.put_part(upload.id, 0, b"ab") == (True, False)
    assert other.uploads.put_part(upload.id, 0, b"xy") == (False, False)
    assert other.uploads.put_part(upload.id, 1, b"cd") == (True, True)
    assert store.uploads.put_part(upload.id, 1, b"zz") == (False, True)
    store.uploads.finish(upload.id)
    assert store.get("a") == b"abcd"
    for each in store, other:
        with pytest.raises(AlreadyExistsError, match="is finished"):
            each.uploads.put_part(upload.id, 1, b"cd")


@pytest.mark.parametrize(
    ("index", "data", "error"),
    [
        (-1, b"ab", ValueError),
        (2, b"ab", ValueError),
        (10**30, b"ab", ValueError),
        (0, b"", ValueError),
        (0, b"a", ValueError),
        (0, b"abc", ValueError),
        (1, b"ab", ValueError),
        (True, b"a", TypeError),
        (0.0, b"ab", TypeError),
        ("0", b"ab", TypeError),
        (0, "ab", TypeError),
    ],
)
def test_a_part_that_does_not_fit(
    store: Store, items: Items, index: int, data: bytes, error: type[Exception]
) -> None:
    upload = store.uploads.create("a", 3, 2)
    with pytest.raises(error):
        store.uploads.put_part(upload.id, index, data)
    assert part_keys(items) == []


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        (("a//b", 1, 1), {}, InvalidNameError),
        (("a", -1, 1), {}, ValueError),
        (("a", 50 * MIB + 1, MIB), {}, TooLargeError),
        (("a", 10**100, 1), {}, TooLargeError),
        (("a", 1.0, 1), {}, ValueError),
        (("a", True, 1), {}, ValueError),
        (("a", "1", 1), {}, ValueError),
        (("a", 1, 0), {}, ValueError),
        (("a", 1, -1), {}, ValueError),
        (("a", 1, MAX_PART_BYTES + 1), {}, ValueError),
        (("a", 262_145, 1), {}, ValueError),
        (("a", 50 * MIB, 199), {}, ValueError),
        (("a", 1, 1, "F" * 64), {}, ValueError),
        (("a", 1, 1), {"content_type": "text\n"}, ValueError),
        (("a", 1, 1), {"ttl": 0}, ValueError),
        (("a", 1, 1), {"lifetime": 0}, ValueError),
        (("a", 1, 1), {"lifetime": 16 * 24 * 3600}, ValueError),
        (("a", 1, 1), {"upload_id": ""}, ValueError),
        (("a", 1, 1), {"upload_id": "a b"}, ValueError),
        (("a", 1, 1), {"upload_id": "a" * 65}, ValueError),
    ],
)
def test_what_cannot_be_announced(
    store: Store,
    items: Items,
    arguments: tuple[str, int, int],
    options: dict[str, object],
    error: type[Exception],
) -> None:
    with pytest.raises(error):
        store.uploads.create(*arguments, **options)  # type: ignore[arg-type]
    assert items.all() == {}


@pytest.mark.parametrize(
    ("size", "part_size"), [(0, 1), (50 * MIB, 200 + 1), (50 * MIB, MAX_PART_BYTES), (262_144, 1)]
)
def test_the_limits_are_allowed(store: Store, size: int, part_size: int) -> None:
    assert store.uploads.create("a", size, part_size).part_count <= 262_144


def test_an_upload_that_never_was(store: Store) -> None:
    for act in (
        lambda: store.uploads.get("none"),
        lambda: store.uploads.recall("none"),
        lambda: store.uploads.put_part("none", 0, b"a"),
        lambda: store.uploads.is_complete("none"),
        lambda: store.uploads.missing("none"),
        lambda: store.uploads.finish("none"),
        lambda: store.uploads.abort("none"),
    ):
        with pytest.raises(NotFoundError, match="no upload 'none'"):
            act()


@pytest.mark.parametrize("upload_id", ["", "a b", "a\r\nflush_all\r\n", "ä", "x" * 300])
def test_an_id_that_no_upload_can_have(store: Store, upload_id: str) -> None:
    store.put("a", b"still there")
    for act in (
        lambda: store.uploads.get(upload_id),
        lambda: store.uploads.put_part(upload_id, 0, b"a"),
        lambda: store.uploads.missing(upload_id),
        lambda: store.uploads.abort(upload_id),
    ):
        with pytest.raises(NotFoundError, match="no upload"):
            act()
    assert store.get("a") == b"still there"


def test_an_id_under_way_is_taken(store: Store, other: Store) -> None:
    data = b"abcdef"
    upload = begin(store, data, 2, upload_id="x")
    for each in store, other:
        with pytest.raises(AlreadyExistsError, match="under way"):
            begin(each, b"other", 2, upload_id="x")
    send(store, upload, data)
    store.uploads.finish("x")
    with pytest.raises(AlreadyExistsError, match="there is a file"):
        begin(other, data, 2, upload_id="x")
    store.delete("a")
    assert begin(other, data, 3, upload_id="x").part_size == 3


def test_a_name_with_an_intact_file_is_taken(store: Store, items: Items) -> None:
    store.put("a", b"old")
    with pytest.raises(AlreadyExistsError):
        begin(store, b"new", 2)
    replacing = begin(store, b"new", 2, replace=True)
    items.lose("a", 0)
    healing = begin(store, b"new", 2)
    for upload in replacing, healing:
        send(store, upload, b"new")
        assert store.uploads.finish(upload.id).sha256 == digest(b"new")
    assert store.get("a") == b"new"


def test_a_name_that_is_taken_meanwhile(store: Store, items: Items) -> None:
    keeping = begin(store, b"mine", 2)
    replacing = begin(store, b"mine", 2, replace=True)
    store.put("a", b"theirs")
    send(store, keeping, b"mine")
    with pytest.raises(AlreadyExistsError):
        store.uploads.finish(keeping.id)
    assert store.get("a") == b"theirs"
    assert len(items.chunks()) == 1, "what was written is freed"
    send(store, replacing, b"mine")
    store.uploads.finish(replacing.id)
    assert store.get("a") == b"mine"
    assert store.uploads.finish(keeping.id).sha256 == digest(b"mine"), "the file is there"


@pytest.mark.parametrize("replace", [False, True])
def test_a_name_that_a_later_version_has_taken_meanwhile(
    store: Store, items: Items, *, replace: bool
) -> None:
    upload = begin(store, b"mine", 2, replace=replace)
    send(store, upload, b"mine")
    store.put("a", b"theirs")
    record = items.manifest("a") | {"memchunk": 2}
    del record["crc32"]
    later = seal(record)
    items.client.set(items.manifest_key("a"), later)
    with pytest.raises(AlreadyExistsError):
        store.uploads.finish(upload.id)
    assert items.client.get(items.manifest_key("a")) == later
    items.client.delete(items.manifest_key("a"))
    assert store.uploads.finish(upload.id).sha256 == digest(b"mine")


def test_the_wrong_bytes_make_no_file(store: Store, items: Items) -> None:
    upload = begin(store, b"right", 2)
    assert send(store, upload, b"wrong") == [False, False, True]
    for _ in range(2):
        with pytest.raises(DigestMismatchError):
            store.uploads.finish(upload.id)
    assert "a" not in store
    assert items.chunks() == []
    store.uploads.abort(upload.id)
    assert items.all() == {}


def test_an_aborted_upload_leaves_nothing(store: Store, other: Store, items: Items) -> None:
    data = os.urandom(1000)
    upload = begin(store, data, 1)
    send(store, upload, data, *range(500))
    outcomes = together(*[lambda: store.uploads.abort(upload.id)] * 4)
    assert sum(outcome is None for outcome in outcomes) == 1
    assert sum(isinstance(outcome, NotFoundError) for outcome in outcomes) == 3
    assert items.all() == {}
    for each in store, other:
        with pytest.raises(NotFoundError):
            send(each, upload, data, 500)
    assert items.all() == {}


def test_aborting_a_finished_upload_leaves_the_file(store: Store, items: Items) -> None:
    upload = begin(store, b"abc", 2)
    send(store, upload, b"abc")
    store.uploads.finish(upload.id)
    store.uploads.abort(upload.id)
    assert store.get("a") == b"abc"
    with pytest.raises(NotFoundError):
        store.uploads.get(upload.id)


def test_an_abort_ends_where_no_connection_lasts(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = begin(store, b"abc", 2)
    exchange, left = store._backend.exchange, 1000

    def exchange_once(commands: Sequence[Command]) -> list[Reply]:
        nonlocal left
        left -= 1
        assert left, "it goes on and on"
        replies = exchange(commands)
        store.close()
        return replies

    monkeypatch.setattr(store._backend, "exchange", exchange_once)
    with pytest.raises(ChangedError, match="the connection was lost as often"):
        store.uploads.abort(upload.id)
    monkeypatch.undo()
    store.uploads.abort(upload.id)


def test_a_part_for_an_earlier_upload_of_the_same_id(store: Store, other: Store) -> None:
    """A process that still remembers the old plan must not put parts where nobody looks."""
    old = begin(store, b"abcdef", 2, upload_id="x")
    send(other, old, b"abcdef", 0)
    store.uploads.abort("x")
    new = begin(store, b"ABCDEF", 2, upload_id="x")
    assert send(other, new, b"ABCDEF", 0) == [False]
    assert store.uploads.missing("x") == [1, 2]
    store.uploads.abort("x")
    larger = begin(store, b"abcdef", 3, upload_id="x")
    assert send(other, larger, b"abcdef", 0, 1) == [False, True]


def test_a_lost_part_is_missing_and_can_be_sent_again(store: Store, items: Items) -> None:
    data = os.urandom(1000)
    upload = begin(store, data, 10)
    send(store, upload, data, *range(99))
    assert items.client.delete(part_key(items, upload, 42))
    assert items.client.delete(part_key(items, upload, 98))
    assert send(store, upload, data, 99) == [False]
    assert store.uploads.missing(upload.id) == [42, 98]
    assert send(store, upload, data, 98, 42) == [False, True]
    store.uploads.finish(upload.id)
    assert store.get("a") == data


def test_a_part_that_is_lost_after_it_was_seen(store: Store, items: Items) -> None:
    data = os.urandom(1000)
    upload = begin(store, data, 10)
    send(store, upload, data, *range(1, 100), 0)
    assert items.client.delete(part_key(items, upload, 42))
    with pytest.raises(UploadIncompleteError) as caught:
        store.uploads.finish(upload.id)
    assert caught.value.missing == (42,)
    assert send(store, upload, data, 42) == [True]
    store.uploads.finish(upload.id)
    assert store.get("a") == data


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("harm", ["flip", "cut", "lengthen", "crc"])
def test_a_damaged_part_is_never_part_of_a_file(
    store: Store, items: Items, announced: bool, harm: str
) -> None:
    data = os.urandom(1000)
    upload = store.uploads.create("a", 1000, 100, digest(data) if announced else None)
    send(store, upload, data)
    key = part_key(items, upload, 3)
    value = items.client.get(key)
    damaged = {
        "flip": flipped(value, 50),
        "cut": value[:-1],
        "lengthen": value + b"x",
        "crc": flipped(value, 102),
    }
    items.client.set(key, damaged[harm])
    with pytest.raises(UploadIncompleteError) as caught:
        store.uploads.finish(upload.id)
    assert caught.value.missing == (3,)
    assert items.chunks() == []
    assert send(store, upload, data, 3) == [True]
    store.uploads.finish(upload.id)
    assert store.get("a") == data


def test_a_lost_record_can_be_created_again(store: Store, other: Store, items: Items) -> None:
    data = os.urandom(1000)
    upload = begin(store, data, 100, upload_id="x")
    send(store, upload, data, 0)
    send(other, upload, data, 1)
    assert items.client.delete(record_key(items, upload))
    for each in store, other:
        with pytest.raises(NotFoundError):
            send(each, upload, data, 2)
    again = begin(other, data, 100, upload_id="x")
    assert send(store, again, data)[-1]
    store.uploads.finish("x")
    assert store.get("a") == data


def test_a_damaged_record(store: Store, items: Items) -> None:
    upload = begin(store, b"abc", 2, upload_id="x")
    send(store, upload, b"abc", 0)
    key = record_key(items, upload)
    items.client.set(key, flipped(items.client.get(key), 30))
    for act in (
        lambda: store.uploads.get("x"),
        lambda: store.uploads.put_part("x", 0, b"ab"),
        lambda: store.uploads.missing("x"),
        lambda: store.uploads.finish("x"),
    ):
        with pytest.raises(CorruptError, match="create the upload again"):
            act()
    begin(store, b"abc", 2, upload_id="x")
    items.client.set(key, b"what is this?")
    store.uploads.abort("x")
    begin(store, b"abc", 2, upload_id="x")


def test_it_expires_unless_parts_come(store: Store, items: Items) -> None:
    data = os.urandom(8)
    upload = begin(store, data, 1, lifetime=3)
    idle = begin(store, data, 1, lifetime=3)
    for index in range(7):
        send(store, upload, data, index)
        time.sleep(0.7)
    assert send(store, upload, data, 7) == [True]
    store.uploads.finish(upload.id)
    assert store.get("a") == data
    with pytest.raises(NotFoundError):
        store.uploads.get(idle.id)


def test_parts_outlive_their_record(store: Store, items: Items) -> None:
    upload = begin(store, b"abc", 1)
    send(store, upload, b"abc", 0, 1)
    expiries = items.all()
    record = expiries[record_key(items, upload)]
    assert abs(record - time.time() - 3600) < 30
    for index in 0, 1:
        assert abs(expiries[part_key(items, upload, index)] - time.time() - 7200) < 30


def test_it_is_finished_whatever_becomes_of_the_connections(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = begin(store, b"abc", 2)
    send(store, upload, b"abc")
    make = Assembler.make

    def make_and_hang_up(self: Assembler, upload: Upload, parts: Parts) -> FileInfo | None:
        info = make(self, upload, parts)
        store.close()
        return info

    monkeypatch.setattr(Assembler, "make", make_and_hang_up)
    info = store.uploads.finish(upload.id)
    assert store.uploads.get(upload.id).finished
    assert store.uploads.finish(upload.id) == info


def test_several_finishers_make_one_file(store: Store, other: Store, items: Items) -> None:
    for announced in True, False:
        for replace in True, False:
            name = f"{announced}/{replace}"
            data = os.urandom(2 * MIB)
            if replace:
                store.put(name, b"before")
            sha256 = digest(data) if announced else None
            upload = store.uploads.create(name, len(data), 65_536, sha256, replace=replace)
            send(store, upload, data)
            infos = together(
                *[lambda: store.uploads.finish(upload.id)] * 3,  # noqa: B023
                *[lambda: other.uploads.finish(upload.id)] * 3,  # noqa: B023
            )
            assert all(isinstance(info, FileInfo) for info in infos), infos
            assert set(infos) == {store.stat(name)}
            assert store.get(name) == data
    assert part_keys(items) == []
    assert len(items.chunks()) == 4 * 5, "each file is there once"


def _send_from_another_process(
    address: str, namespace: str, upload_id: str, data: bytes, seed: int
) -> None:
    with memchunk.connect(address, namespace=namespace) as store:
        upload = store.uploads.get(upload_id)
        indices = list(range(upload.part_count))
        random.Random(seed).shuffle(indices)
        for index in indices:
            try:
                landing = store.uploads.put_part(upload_id, index, part(upload, data, index))
            except AlreadyExistsError:
                return  # another has finished it
            if landing.complete:
                store.uploads.finish(upload_id)
                return


def test_many_processes_send_the_same_parts(
    store: Store, items: Items, memcached_address: str, namespace: str
) -> None:
    data = os.urandom(3_000)
    upload = begin(store, data, 3)
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(
            target=_send_from_another_process,
            args=(memcached_address, namespace, upload.id, data, seed),
        )
        for seed in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert store.get("a") == data
    assert part_keys(items) == []


def test_the_last_parts_at_once(store: Store, other: Store) -> None:
    """Of those who bring the last parts, at least one is told that none is missing."""
    for _ in range(30):
        data = os.urandom(8)
        name = secrets.token_hex(8)
        upload = store.uploads.create(name, 8, 2, digest(data))
        acts = [
            lambda index=index, each=each: send(each, upload, data, index)  # noqa: B023
            for index, each in enumerate([store, other, store, other])
        ]
        assert [True] in together(*acts)
        store.uploads.finish(upload.id)
        assert store.get(name) == data


def test_a_memcached_that_dies_in_the_middle(
    start_memcached: Callable[..., LocalMemcached],
) -> None:
    server = start_memcached()
    data = os.urandom(1000)
    with memchunk.connect(server.address) as store:
        upload = begin(store, data, 100, upload_id="x")
        send(store, upload, data, 0, 1)
        server.kill()
        for act in (
            lambda: send(store, upload, data, 2),
            lambda: store.uploads.missing("x"),
            lambda: store.uploads.finish("x"),
            lambda: store.uploads.abort("x"),
        ):
            with pytest.raises(UnavailableError):
                act()
        server.start()
        store.check()  # or it would be left alone for a moment
        with pytest.raises(NotFoundError):
            send(store, upload, data, 2)
        upload = begin(store, data, 100, upload_id="x")
        send(store, upload, data)
        store.uploads.finish("x")
        assert store.get("a") == data


def test_a_full_memcached_refuses_parts(start_memcached: Callable[..., LocalMemcached]) -> None:
    server = start_memcached("-m", "8", "-M")
    data = os.urandom(20 * MIB)
    with memchunk.connect(server.address) as store:
        upload = begin(store, data, MIB // 2)
        with pytest.raises(StorageFullError):
            send(store, upload, data)
        assert 0 < len(store.uploads.missing(upload.id)) < upload.part_count
        store.uploads.abort(upload.id)
        store.put("b", b"there is room again")


@contextmanager
def in_a_hurry(address: str, namespace: str, delay: float, deadline: float) -> Iterator[Store]:
    """A store whose memcached answers so much later, and whose calls have so many seconds."""
    with (
        Relay(address) as relay,
        memchunk.connect(relay.address, namespace=namespace, deadline=deadline) as hasty,
    ):
        relay.delay(delay)
        yield hasty


def small_parts(store: Store) -> Upload:
    """An upload all of whose 4,096 parts are there; put there as another process would."""
    upload = store.uploads.create("a", 4096, 1)
    parts = Parts(store._backend, upload)
    for start in range(0, 4096, BATCH):
        parts.exchange([parts.add(index, b"x") for index in range(start, start + BATCH)])
    return upload


@pytest.mark.parametrize("verb", ["is_complete", "missing", "offset", "append", "finish"])
def test_a_call_ends_after_its_deadline(
    store: Store, memcached_address: str, namespace: str, verb: str
) -> None:
    """Also where it asks for many batches of parts, of which each comes in time."""
    upload = small_parts(store)
    more = [4096, io.BytesIO()] if verb == "append" else []
    with in_a_hurry(memcached_address, namespace, delay=0.1, deadline=0.5) as hasty:
        began = time.monotonic()
        with pytest.raises(UnavailableError, match=r"did not answer within 0\.5 s"):
            getattr(hasty.uploads, verb)(upload.id, *more)
        assert time.monotonic() - began < 2


def test_an_abort_ends_after_its_deadline_and_the_parts_expire(
    store: Store, items: Items, memcached_address: str, namespace: str
) -> None:
    upload = small_parts(store)
    with in_a_hurry(memcached_address, namespace, delay=0.1, deadline=0.5) as hasty:
        began = time.monotonic()
        hasty.uploads.abort(upload.id)
        assert time.monotonic() - began < 2
    with pytest.raises(NotFoundError):
        store.uploads.get(upload.id)
    assert all(expires > 0 for expires in items.all().values())


def test_a_finish_ends_after_its_deadline_while_it_reads_the_parts(
    store: Store, memcached_address: str, namespace: str
) -> None:
    data = os.urandom(4_000_000)
    upload = begin(store, data, 100_000)
    send(store, upload, data)
    with in_a_hurry(memcached_address, namespace, delay=0.05, deadline=1) as hasty:  # for 64 KiB
        began = time.monotonic()
        with pytest.raises(UnavailableError, match="did not answer within 1 s"):
            hasty.uploads.finish(upload.id)
        assert time.monotonic() - began < 2.5
    assert store.uploads.finish(upload.id).sha256 == digest(data)


def test_on_several_servers(start_memcached: Callable[..., LocalMemcached]) -> None:
    addresses = [start_memcached().address for _ in range(3)]
    with memchunk.connect(addresses) as store:
        for _ in range(10):
            data = os.urandom(10_000)
            name = secrets.token_hex(8)
            upload = store.uploads.create(name, len(data), 1000, digest(data))
            assert send(store, upload, data)[-1]
            store.uploads.finish(upload.id)
            assert store.get(name) == data


def test_a_quarter_million_parts_of_one_byte(
    start_memcached: Callable[..., LocalMemcached],
) -> None:
    data = os.urandom(262_144)
    address = start_memcached().address
    with memchunk.connect(address) as store, closing(Items(address, "mc1")) as items:
        upload = begin(store, data, 1)
        # put there as another process would, only quicker
        parts = Parts(store._backend, upload)
        for start in range(1, len(data), BATCH):
            stop = min(start + BATCH, len(data))
            parts.exchange([parts.add(i, data[i : i + 1]) for i in range(start, stop)])
        assert send(store, upload, data, 0) == [True]
        assert store.uploads.finish(upload.id).sha256 == digest(data)
        assert store.get("a") == data
        assert part_keys(items) == []
