"""Promise 2: absent, evicted, corrupt, unreachable and full are five different errors."""

from __future__ import annotations

import os
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

import memchunk
from memchunk import (
    CorruptError,
    EvictedError,
    MemchunkError,
    NotFoundError,
    StorageFullError,
    Store,
    UnavailableError,
    errors,
)
from memchunk.layout import CHUNK_BYTES
from memchunk.wire import Wire
from tests.items import Items, flipped
from tests.relay import Relay
from tests.servers import LocalMemcached, nobody

SIZE = 4 * CHUNK_BYTES + 1

VERBS: dict[str, Callable[[Store], object]] = {
    "put": lambda store: store.put("f", b"new", replace=True),
    "put large": lambda store: store.put("f", bytes(SIZE), replace=True),
    "get": lambda store: store.get("f"),
    "read_into": lambda store: store.read_into("f", bytearray(SIZE)),
    "open": lambda store: store.open("f").read(),
    "stat": lambda store: store.stat("f"),
    "in": lambda store: "f" in store,
    "touch": lambda store: store.touch("f", ttl=60),
    "rename": lambda store: store.rename("f", "g"),
    "delete": lambda store: store.delete("f"),
    "check": lambda store: store.check(),
}


@pytest.mark.parametrize("verb", [v for v in VERBS if v not in ("put", "put large", "in", "check")])
def test_absent(store: Store, verb: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        VERBS[verb](store)
    assert caught.value.name == "f"
    assert "f" not in store


@pytest.mark.parametrize("verb", ["get", "read_into", "open", "stat", "touch", "rename"])
@pytest.mark.parametrize("lost", [(0,), (4,), (1, 3), (0, 1, 2, 3, 4)])
def test_evicted(store: Store, items: Items, verb: str, lost: tuple[int, ...]) -> None:
    store.put("f", os.urandom(SIZE))
    items.lose("f", *lost)
    with pytest.raises(EvictedError) as caught:
        VERBS[verb](store)
    assert (caught.value.name, caught.value.missing) == ("f", lost)
    assert "f" not in store


def test_a_lost_manifest_is_absence(store: Store, items: Items) -> None:
    store.put("f", os.urandom(SIZE))
    items.client.delete(items.manifest_key("f"))
    with pytest.raises(NotFoundError):
        store.get("f")


def test_flushed_away_is_absence(start_memcached: Callable[..., LocalMemcached]) -> None:
    server = start_memcached()
    with memchunk.connect(server.address) as store:
        store.put("f", os.urandom(SIZE))
        items = Items(server.address, "mc1")
        items.client.flush_all(noreply=False)
        items.close()
        with pytest.raises(NotFoundError):
            store.get("f")


@pytest.mark.parametrize("verb", ["get", "read_into", "open"])
def test_corrupt(store: Store, items: Items, verb: str) -> None:
    store.put("f", os.urandom(SIZE))
    items.overwrite("f", 2, flipped(items.chunk("f", 2), 0))
    with pytest.raises(CorruptError) as caught:
        VERBS[verb](store)
    assert caught.value.name == "f"


@pytest.mark.parametrize("verb", VERBS)
def test_unreachable(start_memcached: Callable[..., LocalMemcached], verb: str) -> None:
    server = start_memcached()
    with memchunk.connect(server.address) as store:
        store.put("f", os.urandom(SIZE))
        server.kill()
        for _ in range(2):  # with a connection that was cut, then without any
            with pytest.raises(UnavailableError) as caught:
                VERBS[verb](store)
            assert caught.value.server == server.address
            assert server.address in str(caught.value)
            assert caught.value.name == (None if verb == "check" else "f")


@pytest.mark.parametrize("verb", VERBS)
def test_a_server_that_does_not_answer(
    start_memcached: Callable[..., LocalMemcached], verb: str
) -> None:
    server = start_memcached()
    with memchunk.connect(server.address) as patient:  # a busy machine answers late, too
        patient.put("f", os.urandom(SIZE))
    with memchunk.connect(server.address, timeout=0.1) as store:
        server.pause()
        with pytest.raises(UnavailableError, match="did not answer within"):
            VERBS[verb](store)
        server.resume()


def test_an_interrupt_while_waiting_goes_through_as_it_is(
    memcached_address: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its connection, on which a reply is due, is not used again."""

    def interrupt(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    with memchunk.connect(memcached_address, namespace=namespace) as store:
        store.put("f", b"content")
        store.put("g", b"other")
        with monkeypatch.context() as patch:
            patch.setattr(Wire, "receive", interrupt)
            with pytest.raises(KeyboardInterrupt) as caught:
                store.get("f")
        assert caught.value.__cause__ is None
        assert store.get("g") == b"other"


def test_back_up_again_it_is_used_at_once(start_memcached: Callable[..., LocalMemcached]) -> None:
    server = start_memcached()
    with memchunk.connect(server.address) as store:
        store.put("f", b"1")
        server.restart()
        with pytest.raises(NotFoundError):
            store.get("f")
        store.put("f", b"2")
        assert store.get("f") == b"2"


def test_nobody_is_there() -> None:
    with nobody() as address:
        for server in (address, "unix:/nonexistent/memcached.sock", "no-such-host.invalid:11211"):
            with pytest.raises(UnavailableError) as caught:
                memchunk.connect(server).get("f")
            assert caught.value.server == server


@contextmanager
def answering(reply: bytes) -> Iterator[str]:
    """The address of something that is no memcached: it answers everything with `reply`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(OSError):  # the client hangs up when it has heard enough
                    connection.recv(4096)
                    connection.sendall(reply)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield "127.0.0.1:{1}".format(*listener.getsockname())
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\0" * 100_000,
        b"ERROR\r\n",
        b"CLIENT_ERROR bad command line format\r\n",
        b"SERVER_ERROR Connection refused\r\n",
        b"VALUE\r\n",
        b"VALUE x 0 -1\r\n",
        b"VALUE x 0 99999999999999999999999999\r\n",
        b"VALUE other 0 1 1\r\nx\r\nEND\r\n",
        b"STORED\r\n",
        b"VALUE {key} 0 10 1\r\n0123456789END\r\n",
        b"VALUE {key} 0 10 1\r\n0123456789\r\nVALUE",
        b"VALUE {key} 0 100 1\r\n0123456789",
    ],
    ids=lambda reply: repr(reply[:40]),
)
def test_a_server_that_talks_nonsense_is_unreachable(reply: bytes) -> None:
    from memchunk.names import manifest_key

    key = manifest_key("mc1", "f").encode()
    with answering(reply.replace(b"{key}", key)) as address:
        with pytest.raises(UnavailableError) as caught:
            memchunk.connect(address, timeout=2).get("f")
        assert caught.value.server == address


def test_no_connection_is_used_again_after_a_surprise(memcached_address: str) -> None:
    with Relay(memcached_address) as relay, memchunk.connect(relay.address) as store:
        store.put("f", b"content", replace=True)
        relay.garble_after(0)
        with pytest.raises(UnavailableError):
            store.get("f")
        relay.clear()
        assert store.get("f") == b"content"
        store.delete("f")


@pytest.mark.parametrize("cut", [0, 1, 30, 300, 5_000, CHUNK_BYTES, 3 * CHUNK_BYTES])
def test_a_connection_cut_in_the_middle_of_an_answer(
    memcached_address: str, namespace: str, cut: int
) -> None:
    with (
        Relay(memcached_address) as relay,
        memchunk.connect(relay.address, namespace=namespace) as store,
    ):
        content = os.urandom(SIZE)
        store.put("f", content)
        relay.cut_after(cut)
        with pytest.raises(UnavailableError):
            store.get("f")
        relay.clear()
        assert store.get("f") == content


def test_full(start_memcached: Callable[..., LocalMemcached]) -> None:
    server = start_memcached("-m", "8", "-M")
    with memchunk.connect(server.address) as store:

        def fill() -> None:
            for number in range(20):
                store.put(f"f{number}", os.urandom(1_000_000))

        with pytest.raises(StorageFullError, match="-m"):
            fill()


def test_a_file_larger_than_the_cache_is_full_and_not_stored(
    start_memcached: Callable[..., LocalMemcached],
) -> None:
    server = start_memcached("-m", "16")
    with memchunk.connect(server.address) as store:
        with pytest.raises(StorageFullError, match="evicted the beginning"):
            store.put("f", bytes(50 * 1024 * 1024))
        assert "f" not in store


def test_items_larger_than_memcached_allows_are_full(
    start_memcached: Callable[..., LocalMemcached],
) -> None:
    server = start_memcached("-I", "4k", "-o", "slab_chunk_max=2048")
    with memchunk.connect(server.address) as store, pytest.raises(StorageFullError, match="-I"):
        store.put("f", bytes(SIZE))


@pytest.mark.parametrize("refusal", ["ERROR", "hang up"])
def test_stat_where_the_server_does_not_know_mg(
    memcached_address: str, namespace: str, refusal: str
) -> None:
    """An old memcached answers ERROR, twemproxy hangs up; no chunk moves either way."""
    items = Items(memcached_address, namespace)
    with (
        Relay(memcached_address) as relay,
        memchunk.connect(relay.address, namespace=namespace) as store,
    ):
        (relay.error_on if refusal == "ERROR" else relay.hang_up_on)(b"mg ")
        store.put("f", os.urandom(SIZE), ttl=1000)
        before = items.all()
        relay.commands.clear()
        assert store.stat("f").size == SIZE
        assert relay.commands["get"] == 0
        assert items.all() == before
        items.lose("f", 1, 2)
        with pytest.raises(EvictedError) as caught:
            store.stat("f")
        assert caught.value.missing == (1, 2)
        store.put("f", b"healed")
        assert store.get("f") == b"healed"
    items.close()


def test_stat_moves_no_chunk(memcached_address: str, namespace: str) -> None:
    with (
        Relay(memcached_address) as relay,
        memchunk.connect(relay.address, namespace=namespace) as store,
    ):
        store.put("f", os.urandom(SIZE))
        relay.commands.clear()
        store.stat("f")
        assert set(relay.commands) == {"gets", "mg"}


def all_errors() -> list[type[MemchunkError]]:
    found, todo = [], [MemchunkError]
    while todo:
        kind = todo.pop()
        todo += kind.__subclasses__()
        if kind.__module__ == errors.__name__:
            found.append(kind)
    return found


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in all_errors()]
    assert len(set(codes)) == len(codes)
    assert {kind.__name__ for kind in all_errors()} <= set(memchunk.__all__)


@pytest.mark.parametrize("kind", all_errors())
def test_errors_travel_between_processes(kind: type[MemchunkError]) -> None:
    error = kind("what happened; what to do", name="f")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert (str(copy), copy.name) == ("what happened; what to do", "f")
    assert vars(copy) == vars(error)


def test_errors_are_what_python_programs_expect() -> None:
    assert issubclass(errors.NotFoundError, LookupError)
    assert issubclass(errors.InvalidNameError, ValueError)
    assert issubclass(errors.TooLargeError, ValueError)
    assert issubclass(errors.DigestMismatchError, CorruptError)
