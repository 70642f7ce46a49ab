"""The listing is what the manifests say; the journal only tells where to look."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

import pytest

import memchunk
from memchunk import (
    ChangedError,
    InvalidNameError,
    StorageFullError,
    Store,
    UnavailableError,
    journal,
    names,
)
from memchunk.protocol import Command, Reply
from tests.items import Items
from tests.relay import Relay
from tests.servers import LocalMemcached
from tests.together import together


def listed(store: Store, prefix: str = "", **more: object) -> list[str]:
    return [info.name for info in store.list(prefix, **more)]  # type: ignore[arg-type]


def same_shard(count: int) -> list[str]:
    """Names that share a shard of the journal."""
    found: list[str] = []
    number = 0
    while len(found) < count:
        if journal.shard_of(f"s{number}") == 0:
            found.append(f"s{number}")
        number += 1
    return found


def test_what_is_listed(store: Store) -> None:
    infos = [store.put(name, name.encode(), ttl=100) for name in ("b", "a/2", "a/10", "é", "a")]
    assert list(store.list()) == sorted(infos, key=lambda info: info.name)


def test_nothing_to_list(store: Store) -> None:
    assert listed(store) == []
    assert listed(store, "x", after="y", limit=3) == []


def test_the_order_is_that_of_code_points(store: Store) -> None:
    for name in ("z", "Z", "é", "~", "\N{GRINNING FACE}", "\uffdc", "a b", "a/b", "a"):
        store.put(name, b"")
    assert listed(store) == sorted(listed(store))
    assert listed(store)[-2:] == ["\uffdc", "\N{GRINNING FACE}"]


def test_page_after_page(store: Store) -> None:
    expected = [f"f{number:03}" for number in range(300)]
    for name in expected:
        store.put(name, b"")
    found: list[str] = []
    while page := listed(store, after=found[-1] if found else None, limit=70):
        assert len(page) <= 70
        found += page
    assert found == expected
    assert listed(store, limit=0) == []


def test_a_page_is_full_where_names_are_gone(store: Store, items: Items) -> None:
    for number in range(300):
        store.put(f"f{number:03}", b"")
    for number in range(250):
        items.client.delete(items.manifest_key(f"f{number:03}"))
    assert listed(store, limit=20) == [f"f{number:03}" for number in range(250, 270)]


def test_by_prefix(store: Store) -> None:
    for name in ("a", "ab", "a/b", "b", "B"):
        store.put(name, b"")
    assert listed(store, "a") == ["a", "a/b", "ab"]
    assert listed(store, "a/") == ["a/b"]
    assert listed(store, "a", after="a/b") == ["ab"]
    assert listed(store, after="nothing of that name") == []
    assert listed(store, after="ac") == ["b"]


@pytest.mark.parametrize("impossible", ["\x00", "a\n", "\ud800", "x" * 513, 3, b"a"])
def test_a_prefix_that_no_name_has(store: Store, impossible: str) -> None:
    with pytest.raises(InvalidNameError):
        store.list(impossible)
    with pytest.raises(InvalidNameError):
        store.list(after=impossible)


def test_a_limit_that_cannot_be(store: Store) -> None:
    with pytest.raises(ValueError, match="a limit is 0 or more, not -1"):
        store.list(limit=-1)


def test_what_went_is_not_listed(store: Store, items: Items) -> None:
    for name in ("kept", "deleted", "expired", "evicted", "corrupt"):
        store.put(name, b"x", ttl=1 if name == "expired" else None)
    store.delete("deleted")
    items.client.delete(items.manifest_key("evicted"))
    items.client.set(items.manifest_key("corrupt"), b"{")
    time.sleep(2.1)
    assert listed(store) == ["kept"]


def test_each_name_once_however_often_it_was_written(store: Store) -> None:
    for _ in range(5):
        store.put("f", b"x", replace=True)
        store.touch("f", ttl=60)
        store.rename("f", "g")
        store.rename("g", "f")
    assert listed(store) == ["f"]
    store.delete("f")
    store.put("f", b"again")
    assert listed(store) == ["f"]


def test_a_renamed_file_is_listed_under_its_new_name(store: Store) -> None:
    store.put("f", b"x")
    store.put("g", b"y")
    store.rename("f", "g", replace=True)
    assert listed(store) == ["g"]


@pytest.mark.parametrize(
    "write",
    [
        lambda store: store.put("f", b"y", replace=True),
        lambda store: store.touch("f", ttl=60),
        lambda store: store.update("f", content_type="text/plain"),
        lambda store: store.rename("f", "f2") and store.rename("f2", "f"),
        lambda store: store.reindex() == 1 or pytest.fail("not found again"),
    ],
    ids=["put", "touch", "update", "rename", "reindex"],
)
def test_a_name_whose_journal_was_lost_comes_back(
    store: Store, items: Items, write: Callable[[Store], object]
) -> None:
    store.put("f", b"x")
    for key in items.journal():
        items.client.delete(key)
    assert listed(store) == []
    assert store.get("f") == b"x"
    write(store)
    assert listed(store) == ["f"]


def test_a_lost_segment_costs_its_own_names_only(store: Store, items: Items) -> None:
    for number in range(200):
        store.put(f"f{number}", b"")
    lost = items.journal()[0]
    items.client.delete(lost)
    shard = int(lost.split(":")[2])
    assert listed(store) == sorted(
        f"f{number}" for number in range(200) if journal.shard_of(f"f{number}") != shard
    )
    assert store.reindex() == 200 - len(listed(store)) or len(listed(store)) == 200
    assert len(listed(store)) == 200
    assert store.reindex() == 0


def test_reindex_finds_all_of_many(store: Store, items: Items) -> None:
    for number in range(300):
        store.put(f"f{number}", b"")
    for key in items.journal():
        items.client.delete(key)
    assert store.reindex() == len(listed(store)) == 300


def test_reindex_sees_its_own_namespace_only(store: Store, memcached_address: str) -> None:
    with memchunk.connect(memcached_address, namespace="other.name-space_1") as other:
        other.put("theirs", b"")
        store.put("ours", b"")
        assert store.reindex() == 0
        assert listed(store) == ["ours"]
        other.delete("theirs")


def test_reindex_says_where_a_server_does_not_tell(memcached_address: str, namespace: str) -> None:
    with (
        Relay(memcached_address) as relay,
        memchunk.connect(relay.address, namespace=namespace) as store,
    ):
        relay.error_on(b"lru_crawler")
        store.put("f", b"x")
        with pytest.raises(UnavailableError, match="does not list its items"):
            store.reindex()
        assert listed(store) == ["f"]


def test_the_journal_does_not_grow_with_every_write(store: Store, items: Items) -> None:
    for _ in range(2000):
        store.put("f", b"", replace=True)
    assert listed(store) == ["f"]  # listing tidies up
    assert sum(len(items.client.get(key)) for key in items.journal()) < 100


def test_the_journal_forgets_what_was_deleted(store: Store, items: Items) -> None:
    for name in same_shard(100):
        store.put(name, b"")
        store.delete(name)
    assert listed(store) == []
    assert items.journal() == []


def test_a_full_segment_rolls(store: Store, items: Items) -> None:
    first, second, third = same_shard(3)
    full = names.journal_key(items.namespace, 0, 0)
    store.put(first, b"")
    # memcached refuses to append past its item size, 1 MiB
    junk = b"".join(journal.added(f"junk{number}", "00000001") for number in range(100))
    while items.client.append(full, junk):
        pass
    while items.client.append(full, b"\n"):
        pass
    store.put(second, b"")
    assert names.journal_key(items.namespace, 0, 1) in items.journal()
    assert listed(store)[-2:] == sorted([first, second])
    store.put(third, b"")  # and tidying up made room in the first one again
    assert listed(store) == sorted([first, second, third])
    assert len(items.client.get(full)) < 1000


def test_a_segment_is_read_however_large_memcached_lets_it_become(
    start_memcached: Callable[..., LocalMemcached],
) -> None:
    """As where each name is written by a process of its own, which does not know of its size."""
    server = start_memcached("-I", "8m", "-m", "200")
    first, second, late = same_shard(3)
    items = Items(server.address, "mc1")
    with memchunk.connect(server.address) as store:
        store.put(first, b"")
        [full] = items.journal()
        junk = b"".join(journal.added(f"junk{number}", "00000001") for number in range(10_000))
        for _ in range(20):
            assert items.client.append(full, junk)
        store.put(second, b"")
        size = len(items.client.get(full))
        assert size > 2 * 1024**2
        replays = store._catalog._replay()
        assert {first, second} < replays[0].names()
        store.put(late, b"")  # where there is room
        assert len(items.client.get(full)) == size
        assert listed(store) == sorted([first, second, late])
    items.close()


def test_whoever_looks_compacts_what_is_full_of_repeats(
    store: Store, items: Items, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "is_time_to_look", lambda token: True)
    monkeypatch.setattr(journal, "ROLL_BYTES", 1000)
    for _ in range(100):
        store.put("f", b"", replace=True)
    [key] = items.journal()
    assert len(items.client.get(key)) < 1100


def test_whoever_looks_goes_on_where_a_segment_is_full_of_names(
    store: Store, items: Items, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "is_time_to_look", lambda token: True)
    monkeypatch.setattr(journal, "ROLL_BYTES", 200)
    expected = same_shard(100)
    for name in expected:
        store.put(name, b"")
    assert listed(store) == sorted(expected)
    assert len(items.journal()) == journal.SEGMENTS


def test_a_write_while_others_compact_is_not_lost(memcached_address: str, namespace: str) -> None:
    shared = same_shard(40)
    with memchunk.connect(memcached_address, namespace=namespace) as store:

        def write(number: int) -> None:
            for name in shared[number::4]:
                for _ in range(20):
                    store.put(name, b"", replace=True)

        def compact() -> None:
            for _ in range(200):
                store._catalog._compact(0)

        outcomes = together(*(partial(write, number) for number in range(4)), compact)
        assert outcomes == [None] * 5
        assert listed(store) == sorted(shared)


def test_a_name_stays_listed_where_its_rename_is_taken_back(
    store: Store, items: Items, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other, taken = same_shard(3)
    store.put(first, b"")
    store.rename(first, other)
    store.rename(other, first)
    store.put(taken, b"")
    with monkeypatch.context() as patch:
        patch.setattr(store._amender, "_target", lambda new, replace: None)
        patch.setattr("memchunk.amend.MAX_ATTEMPTS", 1)
        with pytest.raises(ChangedError):
            store.rename(first, taken)
    store.touch(first, ttl=None)
    store._catalog._compact(0)
    # that it was gone for a while may be said late, or by another segment
    gone = journal.removed(first, items.manifest(first)["generation"][:8])
    assert items.client.append(names.journal_key(items.namespace, 0, 0), gone)
    assert listed(store) == sorted([first, taken])


WRITER = """
import sys, memchunk
address, namespace, number = sys.argv[1:]
store = memchunk.connect(address, namespace=namespace)
for turn in range(100):
    store.put(f"w{number}/{turn:03}", b"x")
    if turn % 10 == 0:
        store.rename(f"w{number}/{turn:03}", f"w{number}/renamed-{turn:03}")
"""


def test_eight_processes_at_once_lose_no_name(
    store: Store, memcached_address: str, namespace: str
) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, memcached_address, namespace, str(number)])
        for number in range(8)
    ]
    assert [writer.wait() for writer in writers] == [0] * 8
    found = listed(store)
    assert len(found) == 800
    assert sum("renamed" in name for name in found) == 80


def test_putting_costs_the_same_however_many_there_are(
    memcached_address: str, namespace: str
) -> None:
    with (
        Relay(memcached_address) as relay,
        memchunk.connect(relay.address, namespace=namespace) as store,
    ):
        first, *others = same_shard(30)
        store.put(first, b"")
        for name in others:
            relay.commands.clear()
            store.put(name, b"")
            assert relay.commands.total() <= 5
        assert len(listed(store)) == 30


def test_no_file_is_refused_for_want_of_a_record(memcached_address: str, namespace: str) -> None:
    with (
        Relay(memcached_address) as relay,
        memchunk.connect(relay.address, namespace=namespace) as store,
    ):
        relay.error_on(b"append", f"add {namespace}:j".encode())
        store.put("f", b"x")
        store.put("g", b"x")
        store.delete("f")
        assert store.get("g") == b"x"
        assert listed(store) == []
        relay.clear()
        store.put("h", b"x")
        assert listed(store) == ["g", "h"]


def test_names_are_listed_once_the_server_of_their_journal_is_back(
    start_memcached: Callable[..., LocalMemcached],
) -> None:
    first, second = start_memcached(), start_memcached()
    with memchunk.connect([first.address, second.address], timeout=0.5) as store:
        backend = store._backend

        def lives_on_first_but_its_journal(name: str) -> bool:
            own = names.manifest_key("mc1", name)
            segment = names.journal_key("mc1", journal.shard_of(name), 0)
            return (
                backend.server_of(own).address == first.address
                and backend.server_of(segment).address == second.address
            )

        name = next(n for n in map(str, range(1000)) if lives_on_first_but_its_journal(n))
        for server in backend.servers.values():
            assert server.chunk_bytes  # asked once; an empty file then needs one server only
        second.kill()
        store.put(name, b"")
        assert store.get(name) == b""
        with pytest.raises(UnavailableError):
            list(store.list())
        second.restart()
        others = [n for n in map(str, range(1000, 1100)) if lives_on_first_but_its_journal(n)]
        time.sleep(1.5)
        store.put(others[0], os.urandom(10))
        assert name in listed(store)


def test_a_record_that_there_was_no_room_for_is_made_up_for(
    store: Store, items: Items, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = store._backend.exchange
    full = Reply("REFUSED", text="SERVER_ERROR out of memory storing object")

    def refuse_records(commands: Sequence[Command]) -> list[Reply]:
        taken = [command for command in commands if ":j:" not in command.key]
        replies = iter(exchange(taken))
        return [next(replies) if command in taken else full for command in commands]

    with monkeypatch.context() as patch:
        patch.setattr(store._backend, "exchange", refuse_records)
        store.put("f", b"x")
        with pytest.raises(StorageFullError, match="no room for the journal"):
            store.reindex()
    assert listed(store) == []
    store.put("g", b"y")
    assert listed(store) == ["f", "g"]
