"""Bytes that come in order, cut anywhere: what came is kept, and one at a time appends."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import memchunk
from memchunk import (
    AlreadyExistsError,
    LockedError,
    NotFoundError,
    Store,
    TooLargeError,
    UnavailableError,
    WrongOffsetError,
    lock,
    names,
)
from memchunk.parts import Parts
from memchunk.plan import Landing
from memchunk.protocol import Command, Reply
from memchunk.uploads import Uploads
from tests.items import Items
from tests.relay import Relay
from tests.servers import LocalMemcached
from tests.together import together

PART = 1000
CONTENT = os.urandom(3500)


class Breaking(io.BytesIO):
    """A source that gives its bytes, a few at a time, and then raises."""

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        count = super().readinto(buffer[:300])
        if not count:
            raise ConnectionResetError("cut")
        return count


def begin(store: Store, content: bytes = CONTENT, **more: object) -> str:
    return store.uploads.create("f", len(content), PART, **more).id  # type: ignore[arg-type]


def append(store: Store, upload: str, offset: int, data: bytes, **more: bool) -> int:
    return store.uploads.append(upload, offset, io.BytesIO(data), **more)


def test_in_one_go(store: Store, items: Items) -> None:
    upload = begin(store)
    assert store.uploads.offset(upload) == 0
    assert append(store, upload, 0, CONTENT) == len(CONTENT)
    assert store.uploads.offset(upload) == len(CONTENT)
    assert store.uploads.finish(upload).size == len(CONTENT)
    assert store.get("f") == CONTENT
    assert [key for key in items.all() if ":p{" in key] == []
    assert store.uploads.offset(upload) == len(CONTENT)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, len(CONTENT)), max_size=8).map(sorted))
def test_cut_anywhere(store: Store, cuts: list[int]) -> None:
    upload = begin(store, replace=True)
    edges = [0, *cuts, len(CONTENT)]
    for start, end in pairwise(edges):
        assert store.uploads.offset(upload) == start
        assert append(store, upload, start, CONTENT[start:end]) == end
    store.uploads.finish(upload)
    assert store.get("f") == CONTENT


@pytest.mark.parametrize("came", [0, 1, 999, 1000, 1001, 2750, 3499])
def test_what_came_before_the_source_broke_is_kept(store: Store, came: int) -> None:
    upload = begin(store)
    with pytest.raises(ConnectionResetError):
        store.uploads.append(upload, 0, Breaking(CONTENT[:came]))
    assert store.uploads.offset(upload) == came
    append(store, upload, came, CONTENT[came:])
    store.uploads.finish(upload)
    assert store.get("f") == CONTENT


@pytest.mark.parametrize("part_size", [1, 500, PART])
@pytest.mark.parametrize("index", [0, 1, -1])
def test_a_part_that_could_not_be_stored_is_stored_by_the_next_append(
    memcached_address: str, namespace: str, index: int, part_size: int
) -> None:
    with (
        Relay(memcached_address) as relay,
        memchunk.connect(relay.address, namespace=namespace) as store,
    ):
        content = CONTENT[: 3 * part_size]
        upload = store.uploads.create("f", len(content), part_size)
        refused = range(upload.part_count)[index]
        key = names.part_key(namespace, upload.generation, refused)
        relay.hang_up_on(f"add {key} ".encode())
        with pytest.raises(UnavailableError):
            append(store, upload.id, 0, content)
        relay.clear()
        offset = store.uploads.offset(upload.id)
        assert offset == (refused + 1) * part_size - 1, "the last byte of the part comes again"
        assert append(store, upload.id, offset, content[offset:]) == len(content)
        store.uploads.finish(upload.id)
        assert store.get("f") == content


@pytest.mark.parametrize("came", [1, 1000, 2750])
def test_all_or_nothing_where_that_is_asked_for(store: Store, came: int) -> None:
    upload = begin(store)
    append(store, upload, 0, CONTENT[:500])
    with pytest.raises(ConnectionResetError):
        store.uploads.append(upload, 500, Breaking(CONTENT[500 : 500 + came]), whole=True)
    assert store.uploads.offset(upload) == 500
    append(store, upload, 500, CONTENT[500:], whole=True)
    store.uploads.finish(upload)
    assert store.get("f") == CONTENT


def cut_at_the_tail(
    store: Store, upload: str, monkeypatch: pytest.MonkeyPatch, *, arrives: bool
) -> None:
    """Lose the next tail, or memcached's answer to it where it `arrives`."""
    key = names.tail_key(store._backend.namespace, store.uploads.get(upload).generation)
    exchange = store._backend.exchange

    def cut(commands: Sequence[Command]) -> list[Reply]:
        if commands[0].key != key or commands[0].verb == "gets":
            return exchange(commands)
        monkeypatch.setattr(store._backend, "exchange", exchange)
        if arrives:
            exchange(commands)
        raise UnavailableError("cut")

    monkeypatch.setattr(store._backend, "exchange", cut)


@pytest.mark.parametrize("before", [0, 500])
@pytest.mark.parametrize("arrives", [False, True])
def test_all_or_nothing_also_where_the_end_of_it_fails(
    store: Store, monkeypatch: pytest.MonkeyPatch, before: int, *, arrives: bool
) -> None:
    upload = begin(store)
    append(store, upload, 0, CONTENT[:before])
    cut_at_the_tail(store, upload, monkeypatch, arrives=arrives)
    with pytest.raises(UnavailableError, match="cut"):
        append(store, upload, before, CONTENT[before:3400], whole=True)
    assert store.uploads.offset(upload) == before
    append(store, upload, before, CONTENT[before:], whole=True)
    store.uploads.finish(upload)
    assert store.get("f") == CONTENT


def test_more_than_was_announced(store: Store) -> None:
    upload = begin(store)
    append(store, upload, 0, CONTENT[:1500])
    with pytest.raises(TooLargeError, match="the 3500 bytes that were announced"):
        append(store, upload, 1500, CONTENT[1500:] + b"!")
    assert store.uploads.offset(upload) == 1500


@pytest.mark.parametrize("offset", [0, 1499, 1501, 4000])
def test_another_offset(store: Store, offset: int) -> None:
    upload = begin(store)
    append(store, upload, 0, CONTENT[:1500])
    with pytest.raises(WrongOffsetError) as caught:
        append(store, upload, offset, CONTENT)
    assert caught.value.offset == 1500
    assert store.uploads.offset(upload) == 1500


def test_no_such_upload_and_a_finished_one(store: Store) -> None:
    with pytest.raises(NotFoundError):
        store.uploads.offset("nothing")
    with pytest.raises(NotFoundError):
        append(store, "nothing", 0, b"")
    upload = begin(store, b"")
    store.uploads.finish(upload)
    with pytest.raises(AlreadyExistsError):
        append(store, upload, 0, b"")


def test_one_at_a_time(store: Store) -> None:
    upload = begin(store)

    class Waiting(io.BytesIO):
        def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
            time.sleep(0.2)
            return super().readinto(buffer)

    acts: list[Callable[[], object]] = [
        partial(store.uploads.append, upload, 0, Waiting(CONTENT)) for _ in range(4)
    ]
    outcomes = together(*acts)
    assert outcomes.count(len(CONTENT)) == 1
    assert sum(isinstance(outcome, LockedError) for outcome in outcomes) == 3
    store.uploads.finish(upload)
    assert store.get("f") == CONTENT


class Interrupted(io.BytesIO):
    """A source that gives its bytes, and does something once, after `after` of them."""

    def __init__(self, data: bytes, after: int, act: Callable[[], object]) -> None:
        super().__init__(data)
        self._after = after
        self._act: Callable[[], object] | None = act

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        if self._act is not None and self.tell() >= self._after:
            act, self._act = self._act, None
            act()
        return super().readinto(buffer[:300])


@pytest.fixture
def doubtful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds a lock asks after it each time."""
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0)
    monkeypatch.setattr(lock, "SURE_SECONDS", 0)


def lock_of(store: Store, items: Items, upload: str) -> str:
    return names.lock_key(items.namespace, store.uploads.get(upload).generation)


@pytest.mark.usefixtures("doubtful")
@pytest.mark.parametrize("whole", [False, True])
def test_a_lock_that_somebody_else_has_now_is_theirs(
    store: Store, items: Items, *, whole: bool
) -> None:
    upload = begin(store)
    key = lock_of(store, items, upload)
    source = Interrupted(CONTENT, 2100, lambda: items.client.set(key, b"somebody else's"))
    with pytest.raises(LockedError):
        store.uploads.append(upload, 0, source, whole=whole)
    assert items.client.get(key) == b"somebody else's"
    items.client.delete(key)
    offset = store.uploads.offset(upload)
    assert offset == (0 if whole else 2000)
    append(store, upload, offset, CONTENT[offset:])
    store.uploads.finish(upload)
    assert store.get("f") == CONTENT


@pytest.mark.usefixtures("doubtful")
@pytest.mark.parametrize("whole", [False, True])
def test_a_lock_that_ran_out_is_taken_again_where_nobody_else_came(
    store: Store, items: Items, *, whole: bool
) -> None:
    upload = begin(store)
    key = lock_of(store, items, upload)
    append(store, upload, 0, CONTENT[:500])
    source = Interrupted(CONTENT[500:], 1600, lambda: items.client.delete(key))
    assert store.uploads.append(upload, 500, source, whole=whole) == len(CONTENT)
    store.uploads.finish(upload)
    assert store.get("f") == CONTENT


@pytest.mark.usefixtures("doubtful")
def test_a_lock_stays_ours_whatever_becomes_of_the_connections(
    store: Store, items: Items, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = begin(store)
    key = lock_of(store, items, upload)
    exchange, questions = store._backend.exchange, 0

    def hang_up_now_and_then(commands: Sequence[Command]) -> list[Reply]:
        nonlocal questions
        replies = exchange(commands)
        if commands[0].key == key and commands[0].verb == "gets":
            questions += 1
            if questions % 3:
                store.close()
        return replies

    monkeypatch.setattr(store._backend, "exchange", hang_up_now_and_then)
    assert append(store, upload, 0, CONTENT[:2700]) == 2700
    assert items.client.get(key) is None
    assert append(store, upload, 2700, CONTENT[2700:]) == len(CONTENT)


@pytest.mark.usefixtures("doubtful")
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("count", [100, 1000, 1400])
@pytest.mark.parametrize("length", [2100, len(CONTENT)])
def test_whoever_was_silent_for_too_long_overwrites_nothing_of_those_who_came(
    store: Store, items: Items, length: int, count: int, *, whole: bool
) -> None:
    upload = begin(store)
    theirs = CONTENT if whole else CONTENT[:2000] + os.urandom(1500)
    start = 0 if whole else 2000

    def others_come() -> None:
        items.client.delete(lock_of(store, items, upload))
        assert append(store, upload, start, theirs[start : start + count]) == start + count

    source = Interrupted(CONTENT[:length], 2100, others_come)
    with pytest.raises(LockedError):
        store.uploads.append(upload, 0, source, whole=whole)
    assert store.uploads.offset(upload) == start + count
    append(store, upload, start + count, theirs[start + count :])
    store.uploads.finish(upload)
    assert store.get("f") == theirs


@pytest.mark.usefixtures("doubtful")
def test_what_is_kept_of_a_broken_source_overwrites_nothing_either(
    store: Store, items: Items
) -> None:
    upload = begin(store)

    def others_come_and_the_source_breaks() -> None:
        items.client.delete(lock_of(store, items, upload))
        append(store, upload, 2000, CONTENT[2000:2700])
        raise ConnectionResetError("cut")

    source = Interrupted(CONTENT, 2100, others_come_and_the_source_breaks)
    with pytest.raises(ConnectionResetError):
        store.uploads.append(upload, 0, source)
    assert store.uploads.offset(upload) == 2700


@pytest.mark.usefixtures("doubtful")
@pytest.mark.parametrize(
    ("ahead", "source", "error"),
    [
        (range(0), partial(Breaking, CONTENT[:2700]), ConnectionResetError),
        (range(1, 4), partial(io.BytesIO, CONTENT), LockedError),
    ],
    ids=["what it stored itself", "what lay beyond the end"],
)
def test_whoever_was_silent_while_freeing_parts_frees_none_of_those_who_came(
    store: Store,
    items: Items,
    monkeypatch: pytest.MonkeyPatch,
    ahead: range,
    source: Callable[[], io.BytesIO],
    error: type[Exception],
) -> None:
    upload = begin(store)
    for index in ahead:
        store.uploads.put_part(upload, index, bytes(len(CONTENT[index * PART :][:PART])))
    discard = Parts.discard

    def discard_and_others_come(parts: Parts, index: int) -> None:
        discard(parts, index)
        monkeypatch.setattr(Parts, "discard", discard)
        items.client.delete(lock_of(store, items, upload))
        assert append(store, upload, 0, CONTENT) == len(CONTENT)

    monkeypatch.setattr(Parts, "discard", discard_and_others_come)
    with pytest.raises(error):
        store.uploads.append(upload, 0, source(), whole=True)
    assert store.uploads.offset(upload) == len(CONTENT)
    store.uploads.finish(upload)
    assert store.get("f") == CONTENT


@pytest.mark.usefixtures("doubtful")
def test_nor_does_it_put_an_old_tail_in_the_place_of_theirs(
    store: Store, items: Items, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = begin(store)
    append(store, upload, 0, CONTENT[:500])
    cut_at_the_tail(store, upload, monkeypatch, arrives=True)
    discard = Parts.discard

    def discard_and_others_come(parts: Parts, index: int) -> None:
        discard(parts, index)
        items.client.delete(lock_of(store, items, upload))
        assert append(store, upload, 0, CONTENT[:700]) == 700

    monkeypatch.setattr(Parts, "discard", discard_and_others_come)
    with pytest.raises(UnavailableError, match="cut"):
        append(store, upload, 500, CONTENT[500:1400], whole=True)
    assert store.uploads.offset(upload) == 700


def test_a_part_that_somebody_else_stored_meanwhile_stays(store: Store) -> None:
    upload = begin(store)
    theirs = os.urandom(PART)
    source = Interrupted(CONTENT, 2100, lambda: store.uploads.put_part(upload, 2, theirs))
    with pytest.raises(LockedError):
        store.uploads.append(upload, 0, source)
    append(store, upload, 3000, CONTENT[3000:])
    store.uploads.finish(upload)
    assert store.get("f") == CONTENT[:2000] + theirs + CONTENT[3000:]


def test_a_tail_that_somebody_else_wrote_meanwhile_stays(store: Store, items: Items) -> None:
    upload = begin(store)
    key = names.tail_key(items.namespace, store.uploads.get(upload).generation)
    source = Interrupted(CONTENT[:2100], 2100, lambda: items.client.set(key, b"theirs"))
    with pytest.raises(LockedError):
        store.uploads.append(upload, 0, source)
    assert items.client.get(key) == b"theirs"


@pytest.mark.usefixtures("doubtful")
def test_a_part_that_was_stored_without_the_lock_is_taken_back(
    store: Store, items: Items, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a process that was frozen after its last look at the lock."""
    upload = begin(store)
    key = lock_of(store, items, upload)
    put_part = Uploads.put_part

    def overtaken(uploads: Uploads, upload_id: str, index: int, data: bytes) -> Landing:
        if index == 2:
            items.client.set(key, b"somebody else's")
        return put_part(uploads, upload_id, index, data)

    monkeypatch.setattr(Uploads, "put_part", overtaken)
    with pytest.raises(LockedError):
        append(store, upload, 0, CONTENT)
    assert store.uploads.missing(upload) == [2, 3]


def test_until_all_is_there_that_is_to_be_kept_whole_nothing_of_it_counts(store: Store) -> None:
    """Also where whoever appends dies before the end."""
    upload = begin(store)
    append(store, upload, 0, CONTENT[:500])
    offsets: list[int] = []
    ask = partial(store.uploads.offset, upload)
    source = Interrupted(CONTENT[500:], 3000, lambda: offsets.append(ask()))
    assert store.uploads.append(upload, 500, source, whole=True) == len(CONTENT)
    assert offsets == [500]
    assert ask() == len(CONTENT)


def test_a_lock_is_renewed_while_bytes_come(
    store: Store, items: Items, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(lock, "LOCK_SECONDS", 2)  # memcached counts whole ones
    upload = begin(store)
    key = lock_of(store, items, upload)
    locked: list[bool] = []

    class Slow(io.BytesIO):
        def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
            time.sleep(0.3)
            locked.append(items.client.get(key) is not None)
            return super().readinto(buffer[:350])

    assert store.uploads.append(upload, 0, Slow(CONTENT)) == len(CONTENT)
    assert all(locked)


def test_the_time_that_a_source_takes_does_not_count(
    memcached_address: str, namespace: str
) -> None:
    class Slow(io.BytesIO):
        def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
            time.sleep(0.3)
            return super().readinto(buffer)

    with memchunk.connect(memcached_address, namespace=namespace, deadline=0.5) as store:
        upload = begin(store)
        assert store.uploads.append(upload, 0, Slow(CONTENT)) == len(CONTENT)


def test_the_lifetime_of_the_upload_is_renewed_by_each_append(store: Store, items: Items) -> None:
    upload = begin(store)
    key = names.upload_key(items.namespace, upload)
    items.client.touch(key, 60)
    append(store, upload, 0, CONTENT[:1])
    assert items.all()[key] > time.time() + 3000


def test_a_part_that_was_lost_is_sent_again_with_what_follows(store: Store, items: Items) -> None:
    upload = begin(store)
    append(store, upload, 0, CONTENT[:3200])
    items.client.delete(names.part_key(items.namespace, store.uploads.get(upload).generation, 1))
    assert store.uploads.offset(upload) == 1000
    assert append(store, upload, 1000, CONTENT[1000:]) == len(CONTENT)
    store.uploads.finish(upload)
    assert store.get("f") == CONTENT


@pytest.mark.parametrize("spoil", [lambda tail: tail[:-1], lambda tail: b"", lambda tail: tail[:3]])
def test_a_damaged_tail_is_as_good_as_none(
    store: Store, items: Items, spoil: Callable[[bytes], bytes]
) -> None:
    upload = begin(store)
    append(store, upload, 0, CONTENT[:1700])
    key = names.tail_key(items.namespace, store.uploads.get(upload).generation)
    items.client.set(key, spoil(items.client.get(key)))
    assert store.uploads.offset(upload) == 1000


def test_the_server_is_killed_meanwhile(
    start_memcached: Callable[..., LocalMemcached],
) -> None:
    server = start_memcached()
    with memchunk.connect(server.address, timeout=1) as store:
        upload = begin(store)

        class Killing(io.BytesIO):
            def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
                if self.tell() == 2000:
                    server.kill()
                return super().readinto(buffer)

        with pytest.raises(UnavailableError):
            store.uploads.append(upload, 0, Killing(CONTENT))


@pytest.mark.parametrize("note", ["filename Zg==", "x" * 4096, '"' * 4096, "\0" * 4096])
def test_a_note_is_kept(store: Store, note: str) -> None:
    upload = store.uploads.create('"' * 512, 3, 3, upload_id="i" * 64, note=note)
    assert store.uploads.get(upload.id).note == note
    store.uploads.put_part(upload.id, 0, b"abc")
    assert store.uploads.finish(upload.id).size == 3


def test_what_is_no_note(store: Store) -> None:
    for note in ("é", "x" * 4097):
        with pytest.raises(ValueError, match="a note is ASCII text"):
            begin(store, note=note)
    with pytest.raises(TypeError, match="a note is a str, not NoneType"):
        begin(store, note=None)
