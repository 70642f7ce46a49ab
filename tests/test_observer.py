"""An observer is told of every exchange with memcached, every loss and every whole file."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

import memchunk
from memchunk import Exchange, FileInfo, MemchunkError, Observer, Store
from memchunk.layout import CHUNK_BYTES
from tests.items import Items, flipped
from tests.relay import Relay
from tests.servers import LocalMemcached


class Recorder(Observer):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.errors: list[MemchunkError] = []
        self.written: list[tuple[FileInfo, bool]] = []
        self.read_files: list[FileInfo] = []

    def exchanged(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)

    def failed(self, error: MemchunkError) -> None:
        self.errors.append(error)

    def wrote(self, info: FileInfo, *, healed: bool) -> None:
        self.written.append((info, healed))

    def read(self, info: FileInfo) -> None:
        self.read_files.append(info)

    def commands(self) -> Counter[str]:
        return sum((Counter(each.commands) for each in self.exchanges), Counter())

    def forget(self) -> None:
        for told in self.exchanges, self.errors, self.written, self.read_files:
            told.clear()


class Failing(Observer):
    """Raises whatever it is told."""

    def exchanged(self, exchange: Exchange) -> None:
        raise KeyError("exchanged")

    def failed(self, error: MemchunkError) -> None:
        raise KeyError("failed")

    def wrote(self, info: FileInfo, *, healed: bool) -> None:
        raise KeyError("wrote")

    def read(self, info: FileInfo) -> None:
        raise KeyError("read")


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def store(memcached_address: str, namespace: str, recorder: Recorder) -> Iterator[Store]:
    with memchunk.connect(memcached_address, namespace=namespace, observer=recorder) as store:
        yield store


def test_what_passes_is_counted_by_command(
    memcached_address: str, namespace: str, recorder: Recorder
) -> None:
    data = os.urandom(2 * CHUNK_BYTES + 12_345)
    with Relay(memcached_address) as relay:
        store = memchunk.connect(relay.address, namespace=namespace, observer=recorder)
        store.put("f", data)
        assert store.get("f") == data
        with store.open("f") as file:
            file.seek(CHUNK_BYTES)
            assert file.read(5) == data[CHUNK_BYTES : CHUNK_BYTES + 5]
        store.delete("f")
        store.close()
    assert recorder.commands() == relay.commands
    assert {each.server for each in recorder.exchanges} == {relay.address}
    assert {each.error for each in recorder.exchanges} == {None}
    sent = sum(each.bytes_sent for each in recorder.exchanges)
    received = sum(each.bytes_received for each in recorder.exchanges)
    assert len(data) < sent < len(data) + CHUNK_BYTES + 10_000
    assert len(data) < received < len(data) + 2 * CHUNK_BYTES + 10_000


def test_whole_files_are_told(store: Store, recorder: Recorder) -> None:
    info = store.put("f", b"abc")
    store.get("f")
    store.read_into("f", bytearray(3))
    assert recorder.written == [(info, False)]
    assert recorder.read_files == [info, info]
    assert recorder.errors == []


@pytest.mark.parametrize(
    "verb",
    [
        lambda store: store.get("f"),
        lambda store: store.open("f").read(),
        lambda store: store.read_into("f", bytearray(3 * CHUNK_BYTES)),
    ],
)
def test_losses_are_told_apart(
    store: Store, recorder: Recorder, items: Items, verb: Callable[[Store], object]
) -> None:
    with pytest.raises(memchunk.NotFoundError):
        verb(store)
    store.put("f", os.urandom(3 * CHUNK_BYTES))
    items.overwrite("f", 1, flipped(items.chunk("f", 1), 99))
    with pytest.raises(memchunk.CorruptError):
        verb(store)
    items.lose("f", 1)
    with pytest.raises(memchunk.EvictedError):
        verb(store)
    assert [type(error) for error in recorder.errors] == [
        memchunk.NotFoundError,
        memchunk.CorruptError,
        memchunk.EvictedError,
    ]
    assert {error.name for error in recorder.errors} == {"f"}
    assert recorder.read_files == []


def test_healing_is_told(store: Store, recorder: Recorder, items: Items) -> None:
    store.put("f", os.urandom(3 * CHUNK_BYTES))
    items.lose("f", 2)
    store.put("f", b"again")
    store.put("f", b"another", replace=True)
    assert [healed for _, healed in recorder.written] == [False, True, False]


def test_a_refused_write_is_told(
    start_memcached: Callable[..., LocalMemcached], recorder: Recorder
) -> None:
    server = start_memcached("-m", "64", "-M")
    with memchunk.connect(server.address, observer=recorder) as store:
        store.put("a", bytes(50_000_000))
        with pytest.raises(memchunk.StorageFullError):
            store.put("b", bytes(50_000_000))
    assert [type(error) for error in recorder.errors] == [memchunk.StorageFullError]
    assert [info.name for info, _ in recorder.written] == ["a"]


def test_a_server_that_fails_is_told_apart_from_a_loss(
    start_memcached: Callable[..., LocalMemcached], recorder: Recorder
) -> None:
    server = start_memcached()
    with memchunk.connect(server.address, observer=recorder) as store:
        store.put("f", b"abc")
        recorder.forget()
        server.kill()
        with pytest.raises(memchunk.UnavailableError):
            store.get("f")
    errors = [each.error for each in recorder.exchanges]
    assert errors == recorder.errors
    assert errors[0] is not None
    assert errors[0].server == server.address


def test_an_unreachable_server_is_told_also_while_a_stream_is_read(
    start_memcached: Callable[..., LocalMemcached], recorder: Recorder
) -> None:
    server = start_memcached()
    with memchunk.connect(server.address, observer=recorder) as store:
        store.put("f", bytes(3 * CHUNK_BYTES))
        with store.open("f") as file:
            server.kill()
            with pytest.raises(memchunk.UnavailableError) as caught:
                file.read()
    assert recorder.errors == [caught.value]
    assert caught.value.name == "f"


def test_a_source_that_fails_is_not_this_servers_fault(
    start_memcached: Callable[..., LocalMemcached],
    store: Store,
    recorder: Recorder,
    memcached_address: str,
) -> None:
    other = start_memcached()
    with memchunk.connect(other.address) as source:
        source.put("f", bytes(3 * CHUNK_BYTES))
        with source.open("f") as file:
            other.kill()
            with pytest.raises(memchunk.UnavailableError):
                store.put("copy", file)
    assert {each.error for each in recorder.exchanges} == {None}


def test_an_observer_that_raises_changes_nothing(
    memcached_address: str, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.ERROR, "memchunk"),
        memchunk.connect(memcached_address, namespace=namespace, observer=Failing()) as store,
    ):
        store.put("f", b"abc")
        assert store.get("f") == b"abc"
        with pytest.raises(memchunk.NotFoundError):
            store.get("absent")
    said = {str(record.exc_info[1]) for record in caplog.records if record.exc_info}
    assert said == {"'exchanged'", "'failed'", "'wrote'", "'read'"}


def test_the_base_class_takes_every_event(memcached_address: str, namespace: str) -> None:
    with memchunk.connect(memcached_address, namespace=namespace, observer=Observer()) as store:
        store.put("f", b"abc")
        assert store.get("f") == b"abc"
        with pytest.raises(memchunk.NotFoundError):
            store.get("absent")
