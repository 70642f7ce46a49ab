"""The same verbs through twemproxy, unchanged. It knows no `mg`, no `stats` and no metadump."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import memchunk
from memchunk import AlreadyExistsError, EvictedError, NotFoundError, Store, UnavailableError
from memchunk.layout import CHUNK_BYTES
from tests.faults.twemproxy import is_installed, twemproxy
from tests.items import Items
from tests.servers import LocalMemcached

# CI has it, so there its absence is a failure
pytestmark = pytest.mark.skipif(
    not is_installed() and "CI" not in os.environ,
    reason="there is no twemproxy here (apt-get install nutcracker)",
)

SIZE = 5 * CHUNK_BYTES + 7


@pytest.fixture
def servers(start_memcached: Callable[..., LocalMemcached]) -> list[LocalMemcached]:
    return [start_memcached("-m", "128") for _ in range(3)]


@pytest.fixture
def store(servers: list[LocalMemcached], tmp_path: Path) -> Iterator[Store]:
    with twemproxy(tmp_path, servers) as address, memchunk.connect(address, timeout=2) as store:
        yield store


@pytest.fixture
def behind(servers: list[LocalMemcached]) -> Iterator[list[Items]]:
    """The items of each server."""
    items = [Items(server.address, "mc1") for server in servers]
    yield items
    for each in items:
        each.close()


def test_the_verbs(store: Store, behind: list[Items]) -> None:
    content = os.urandom(SIZE)
    assert store.put("f", io.BytesIO(content)).chunk_count == 6
    with pytest.raises(AlreadyExistsError):
        store.put("f", b"other")
    assert store.get("f") == content
    buffer = bytearray(SIZE)
    assert store.read_into("f", buffer) == SIZE
    assert buffer == content
    with store.open("f") as file:
        file.seek(SIZE - 10)
        assert file.read() == content[-10:]
    assert store.stat("f").size == SIZE
    assert "f" in store
    store.touch("f", ttl=1000)
    store.update("f", content_type="text/plain", ttl=None)
    store.rename("f", "g")
    assert [info.name for info in store.list()] == ["g"]
    store.put("g", b"small", replace=True)
    assert store.get("g") == b"small"
    store.delete("g")
    with pytest.raises(NotFoundError):
        store.get("g")
    assert list(store.list()) == []
    store.check()
    assert [each.chunks() for each in behind] == [[], [], []]


def test_uploads(store: Store) -> None:
    content = os.urandom(2_500_000)
    upload = store.uploads.create("f", len(content), 1_000_000)
    for part in (2, 0, 1):
        store.uploads.put_part(upload.id, part, content[part * 1_000_000 :][:1_000_000])
    store.uploads.finish(upload.id)
    assert store.get("f") == content


def test_many_files_are_spread_and_each_is_on_one_server(store: Store, behind: list[Items]) -> None:
    for number in range(60):
        store.put(f"f{number}", bytes(2 * CHUNK_BYTES))
    held = [{key.partition("{")[2].partition("}")[0] for key in each.chunks()} for each in behind]
    assert all(held)
    assert sum(map(len, held)) == len(set.union(*held)) == 60


def test_losses_have_the_same_names(store: Store, behind: list[Items]) -> None:
    store.put("f", os.urandom(SIZE))
    [holder] = [each for each in behind if each.chunks()]
    for key in holder.chunks()[1:3]:
        holder.client.delete(key)
    for verb in (store.get, store.stat):
        with pytest.raises(EvictedError) as caught:
            verb("f")
        assert caught.value.missing == (1, 2)
    store.put("f", b"healed")
    assert store.get("f") == b"healed"


def test_a_dead_server_behind_it_is_no_miss(store: Store, servers: list[LocalMemcached]) -> None:
    for number in range(30):
        store.put(f"f{number}", b"content")
    servers[0].kill()
    away = 0
    for number in range(30):
        try:
            assert store.get(f"f{number}") == b"content"
        except UnavailableError:
            away += 1
    assert 0 < away < 30


def test_reindex_says_that_a_proxy_does_not_list_its_items(store: Store) -> None:
    with pytest.raises(UnavailableError):
        store.reindex()
