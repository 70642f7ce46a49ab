"""A new small file is stored in one round trip, and one that meets another keeps all promises."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from pymemcache.exceptions import MemcacheServerError

import memchunk
from memchunk import (
    AlreadyExistsError,
    DigestMismatchError,
    NotFoundError,
    StorageFullError,
    Store,
    UnavailableError,
    journal,
)
from memchunk.index import Creation, Index
from memchunk.known import SMALL_BYTES
from memchunk.layout import CHUNK_BYTES
from memchunk.manifest import Manifest
from memchunk.protocol import Command, Reply
from tests.faults.sweep import orphans, short_lived
from tests.items import Items
from tests.servers import LocalMemcached
from tests.test_known import trips
from tests.test_observer import Recorder
from tests.test_owed import forever, silence_from

OLD, NEW = os.urandom(4096), os.urandom(5000)
AT_ONCE = {"set": 1, "add": 1, "append": 1, "touch": 1}
LOOK = {"gets": 1, "set": 1}
REPLACE = {"cas": 1, "append": 1, "touch": 1}
CREATE = {"add": 1, "append": 1, "touch": 1}
FREE = {"delete": 1}


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def writer(memcached_address: str, namespace: str, recorder: Recorder) -> Iterator[Store]:
    """A store whose round trips are recorded, beside `store`, in the same namespace."""
    with (
        memchunk.connect(memcached_address, namespace=namespace, observer=recorder) as writer,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name in "f", "g", "h":  # their shards of the journal are there, and the settings known
            writer.put(name, b"")
            writer.delete(name)
        recorder.forget()
        # now and then a put also looks how long the journal is
        patch.setattr(journal, "is_time_to_look", lambda token: False)
        yield writer


def at_commit(
    monkeypatch: pytest.MonkeyPatch, store: Store, act: Callable[[Creation], Creation]
) -> None:
    """What comes of the next attempt to create a file goes through `act`."""
    create = store._index.create

    def spoiled(*arguments: Any) -> Creation:
        monkeypatch.undo()
        return act(create(*arguments))

    monkeypatch.setattr(store._index, "create", spoiled)


def lose_the_connection_after_a_look(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    """The next look at a name is the last thing on its connection: its unique number is void."""
    look = store._index.look

    def last(name: str) -> Any:
        monkeypatch.undo()
        seen = look(name)
        store.close()
        return seen

    monkeypatch.setattr(store._index, "look", last)


@pytest.mark.parametrize("size", [0, 1, 4096, SMALL_BYTES])
@pytest.mark.parametrize("ttl", [None, 1000])
def test_a_new_small_file_is_one_round_trip(
    store: Store,
    writer: Store,
    recorder: Recorder,
    items: Items,
    size: int,
    ttl: int | None,
) -> None:
    content = os.urandom(size)
    writer.put("f", content, replace=True, ttl=ttl, sha256=hashlib.sha256(content).hexdigest())
    first, *settling = trips(recorder)
    assert first == (AT_ONCE if size else {"add": 1, "append": 1})
    assert bool(settling) == (ttl is not None)
    assert store.get("f") == content
    assert [info.name for info in store.list()] == ["f"]
    assert short_lived(items) == set()
    assert all((expires == -1) == (ttl is None) for expires in items.all().values())


def test_a_larger_one_is_two(writer: Store, recorder: Recorder) -> None:
    writer.put("f", bytes(SMALL_BYTES + 1))
    assert trips(recorder) == [LOOK, CREATE]


def test_so_is_one_whose_progress_is_watched(writer: Store, recorder: Recorder) -> None:
    """What it raises comes before the commit."""

    def fail(done: int, total: int | None) -> None:
        raise KeyError(done)

    with pytest.raises(KeyError):
        writer.put("f", NEW, progress=fail)
    assert trips(recorder) == [LOOK, FREE]
    assert "f" not in writer


def test_one_that_is_known_here_is_looked_at_first(writer: Store, recorder: Recorder) -> None:
    writer.put("f", OLD)
    trips(recorder)
    writer.put("f", NEW, replace=True)
    assert trips(recorder) == [LOOK, REPLACE, FREE]
    assert writer.get("f") == NEW


def test_one_that_is_to_replace_another_creates_nothing(writer: Store, items: Items) -> None:
    with pytest.raises(NotFoundError):
        writer.put("f", NEW, if_match=[hashlib.sha256(OLD).hexdigest()])
    assert items.all() == {}


def test_where_a_name_was_taken_the_next_is_looked_at_first(
    store: Store, writer: Store, recorder: Recorder, items: Items
) -> None:
    for name in "f", "g":
        store.put(name, OLD)
    writer.put("f", NEW, replace=True)
    assert trips(recorder) == [AT_ONCE, {"gets": 1, "touch": 1}, REPLACE, FREE]
    with pytest.raises(AlreadyExistsError):
        writer.put("g", NEW)
    assert trips(recorder)[0] == LOOK
    writer.put("h", NEW)
    assert trips(recorder) == [LOOK, CREATE]
    writer.delete("h")
    trips(recorder)
    writer.put("h", OLD)
    assert trips(recorder) == [AT_ONCE]
    assert [store.get(name) for name in ("f", "g", "h")] == [NEW, OLD, OLD]
    assert orphans(items) == {}


@pytest.mark.parametrize("size", [4096, CHUNK_BYTES + 1])
def test_one_that_meets_another_leaves_it_as_it_was(
    store: Store, writer: Store, recorder: Recorder, items: Items, size: int
) -> None:
    old = os.urandom(size)
    store.put("f", old)
    before = items.all()
    with pytest.raises(AlreadyExistsError):
        writer.put("f", NEW)
    assert trips(recorder)[0] == AT_ONCE
    assert items.all() == before
    assert store.get("f") == old


def test_one_that_has_lost_chunks_is_stored_again(
    store: Store, writer: Store, recorder: Recorder, items: Items
) -> None:
    store.put("f", OLD)
    items.lose("f", 0)
    assert writer.put("f", NEW).replaced
    assert [healed for _, healed in recorder.written] == [True]
    assert trips(recorder)[0] == AT_ONCE
    assert store.get("f") == NEW
    assert orphans(items) == {}


def test_nothing_is_sent_of_one_that_is_not_what_was_announced(
    writer: Store, recorder: Recorder, items: Items
) -> None:
    with pytest.raises(DigestMismatchError):
        writer.put("f", NEW, sha256=hashlib.sha256(OLD).hexdigest())
    assert [trip for trip in trips(recorder) if trip != FREE] == []
    assert items.all() == {}


def test_its_server_has_no_room_for_the_chunk(
    start_memcached: Callable[..., LocalMemcached],
) -> None:
    """The manifest, which is smaller, found some: it must not stay."""
    server = start_memcached("-m", "4", "-M")
    items = Items(server.address, "mc1")
    with memchunk.connect(server.address) as store:
        store.put("old", OLD)
        with pytest.raises(MemcacheServerError):
            for number in range(1_000_000):
                items.client.set(f"in_the_way/{number}", bytes(60_000))
        before = items.all()
        with pytest.raises(StorageFullError):
            store.put("f", bytes(60_000))
        with pytest.raises(NotFoundError):
            store.get("f")
        assert items.all() == before
        assert store.get("old") == OLD
    items.close()


def refused(created: Creation, items: Items) -> Creation:
    """As if memcached had had no room for the chunk."""
    for key in items.chunks():
        items.client.delete(key)
    return created._replace(ahead=[Reply("REFUSED", text="SERVER_ERROR out of memory")])


def test_a_refused_chunk_is_sent_again(
    writer: Store, recorder: Recorder, items: Items, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_room(created: Creation) -> Creation:
        assert created.done
        return refused(created, items)

    at_commit(monkeypatch, writer, without_room)
    writer.put("f", NEW)
    assert writer.get("f") == NEW
    assert short_lived(items) == set()
    assert orphans(items) == {}


def test_a_refused_chunk_is_sent_again_where_the_connection_was_lost_meanwhile(
    writer: Store, items: Items, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_room(created: Creation) -> Creation:
        lose_the_connection_after_a_look(monkeypatch, writer)
        return refused(created, items)

    at_commit(monkeypatch, writer, without_room)
    assert not writer.put("f", NEW).replaced
    assert writer.get("f") == NEW
    assert orphans(items) == {}


def test_one_that_meets_itself_does_not_free_its_chunks(
    writer: Store, items: Items, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However its manifest has come to stay where a chunk was refused."""

    def without_room(created: Creation) -> Creation:
        monkeypatch.setattr(writer._amender, "put_back", lambda *_: None)
        return refused(created, items)

    at_commit(monkeypatch, writer, without_room)
    writer.put("f", NEW)
    assert writer.get("f") == NEW


def test_the_one_that_it_meets_has_gone_before_it_looks(
    store: Store, writer: Store, items: Items, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(created: Creation) -> Creation:
        assert not created.done
        store.delete("f")
        return created

    store.put("f", OLD)
    at_commit(monkeypatch, writer, gone)
    assert not writer.put("f", NEW).replaced
    assert store.get("f") == NEW
    assert orphans(items) == {}
    assert short_lived(items) == set()


def test_the_answer_is_lost_and_the_file_is_seen_to_stand(
    store: Store, items: Items, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(_created: Creation) -> Creation:
        raise UnavailableError("it does not answer", server="memcached")

    at_commit(monkeypatch, store, lost)
    assert not store.put("f", NEW).replaced
    assert store.get("f") == NEW
    assert [info.name for info in store.list()] == ["f"]
    assert short_lived(items) == set()


def test_the_answer_is_lost_and_nobody_can_look(store: Store, items: Items) -> None:
    with silence_from(store, 1), pytest.raises(UnavailableError):
        store.put("f", NEW)
    assert store.get("f") == NEW
    store.put("g", b"")
    assert [info.name for info in store.list()] == ["f", "g"]
    assert orphans(items) == {}
    assert short_lived(items) == set()


def test_it_was_lost_on_the_way(
    store: Store, items: Items, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> Creation:
        raise UnavailableError("it does not answer", server="memcached")

    with monkeypatch.context() as patch:
        patch.setattr(store._index, "create", lost)
        with pytest.raises(UnavailableError):
            store.put("f", NEW)
    assert "f" not in store
    store.put("g", OLD)
    assert [info.name for info in store.list()] == ["g"]
    assert orphans(items) == {}


@pytest.mark.parametrize("was_put", [True, False])
def test_interrupted(
    store: Store, items: Items, monkeypatch: pytest.MonkeyPatch, was_put: bool
) -> None:
    if not was_put:
        store.put("f", bytes(SMALL_BYTES + 1))

    def interrupt(created: Creation) -> Creation:
        assert created.done == was_put
        raise KeyboardInterrupt

    at_commit(monkeypatch, store, interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.put("f", NEW)
    assert store.get("f") == (NEW if was_put else bytes(SMALL_BYTES + 1))


def test_a_chunk_beside_another_file_does_not_stay_where_its_own_commit_comes_to_nothing(
    store: Store, items: Items, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("f", bytes(SMALL_BYTES + 1))

    def lost(*_: object, **__: object) -> tuple[bool, list[Reply]]:
        raise UnavailableError("it does not answer", server="memcached")

    with monkeypatch.context() as patch:
        patch.setattr(store._index, "put", lost)
        with pytest.raises(UnavailableError):
            store.put("f", NEW, replace=True)
    assert forever(items) == 0
    assert store.get("f") == bytes(SMALL_BYTES + 1)


def test_records_of_files_that_met_another_do_not_fill_the_journal(
    store: Store, items: Items, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "is_time_to_look", lambda token: True)
    monkeypatch.setattr(journal, "ROLL_BYTES", 1000)
    store.put("f", bytes(SMALL_BYTES + 1))
    for _ in range(100):
        store._writer._committer._names_are_free = True  # whatever the last one was
        with pytest.raises(AlreadyExistsError):
            store.put("f", NEW)
    [key] = items.journal()
    assert 0 < len(items.client.get(key)) < 1100
    assert [info.name for info in store.list()] == ["f"]


@pytest.mark.parametrize("draws", [100, 0])
def test_all_of_it_goes_to_one_server(
    start_memcached: Callable[..., LocalMemcached], monkeypatch: pytest.MonkeyPatch, draws: int
) -> None:
    """Without draws, the chunks of two files in three lie on another server than the manifest."""
    monkeypatch.setattr("memchunk.backend.MAX_DRAWS", draws)
    servers = [start_memcached() for _ in range(3)]
    created: list[tuple[str, list[Command]]] = []
    create = Index.create

    def watched(
        self: Index, manifest: Manifest, ahead: Sequence[Command], beside: Sequence[Command]
    ) -> Creation:
        created.append((manifest.name, [*ahead, *beside]))
        return create(self, manifest, ahead, beside)

    monkeypatch.setattr(Index, "create", watched)
    with memchunk.connect([server.address for server in servers]) as store:
        for number in range(60):
            store.put(f"f{number}", NEW)
        for name, commands in created:
            there = store._index.server_of(name)
            assert {store._backend.server_of(command.key) for command in commands} == {there}
        assert len(created) == 60 if draws else 0 < len(created) < 60
        assert all(store.get(f"f{number}") == NEW for number in range(60))
        assert len(list(store.list())) == 60
