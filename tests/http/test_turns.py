"""Who waits for a client keeps nobody else waiting, even where one request is worked on at once."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import pytest

from memchunk_api.turns import LARGE_BYTES, Turns, aside, moving
from tests.http.conftest import NAMESPACE
from tests.http.serving import Server, request
from tests.servers import LocalMemcached

BIG = bytes(50 * 1024 * 1024)


@pytest.fixture
def single(serve: Callable[..., Server], memcached_address: str) -> Server:
    """A server that works on one request at once, with a budget for one large file."""
    return serve(
        SERVERS=memcached_address,
        NAMESPACE="single" + NAMESPACE,
        WORKERS="1",
        THREADS="1",
        BUFFER_MEMORY="50",
    )


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /livez HTTP/1.1\r\nHost: he",
        request("PUT", "/files/a", "Content-Length: 100000", body=b"x"),
        request("PUT", "/files/a", "Transfer-Encoding: chunked", body=b"5\r\nab"),
        request("GET", "/livez"),
    ],
)
def test_who_sends_slowly_keeps_nobody_waiting(single: Server, sent: bytes) -> None:
    slow = [single.connect() for _ in range(20)]
    for connection in slow:
        connection.sendall(sent)
    with single.client(timeout=4) as http:
        for _ in range(5):
            assert http.get("/livez").status_code == 200
    for connection in slow:
        connection.close()


def test_who_reads_slowly_keeps_nobody_waiting_nor_does_who_waits_for_memory(
    single: Server,
) -> None:
    with single.client(timeout=10) as http:
        http.put("/files/a", content=BIG).raise_for_status()
    with socket.create_connection(("127.0.0.1", single.port)) as slow, single.connect() as next_one:
        slow.sendall(request("GET", "/files/a"))
        assert slow.recv(12) == b"HTTP/1.1 200"
        next_one.sendall(request("GET", "/files/a"))
        with single.client(timeout=2) as http:
            for _ in range(5):
                assert http.get("/livez").status_code == 200
        assert next_one.recv(12) == b"HTTP/1.1 503"


def test_who_moves_a_large_file_keeps_nobody_waiting(
    serve: Callable[..., Server], start_memcached: Callable[..., LocalMemcached]
) -> None:
    memcached = start_memcached()
    server = serve(SERVERS=memcached.address, WORKERS="1", THREADS="1")
    with server.connect() as mover, server.client(timeout=3) as http:
        mover.sendall(request("PUT", "/files/a", f"Content-Length: {LARGE_BYTES}"))
        mover.sendall(bytes(LARGE_BYTES - 1))
        assert http.get("/readyz").status_code == 200
        memcached.pause()
        mover.sendall(b"x")
        for _ in range(30):  # if each of them had to do without a turn, memcached would be given up
            assert http.get("/livez").status_code == 200
        memcached.resume()
        assert mover.recv(12) == b"HTTP/1.1 201"


def test_turns_are_given_in_order_and_lent_while_somebody_waits() -> None:
    turns = Turns(1)
    order: list[int] = []
    at_work = threading.Event()
    threads = []

    def work(number: int) -> None:
        with turns.one():
            order.append(number)
            at_work.set()

    with turns.one():
        for number in range(5):
            threads.append(threading.Thread(target=work, args=[number]))
            threads[-1].start()
            while len(turns._queue) <= number:
                pass
        assert order == []
        with aside(), aside():
            at_work.wait()
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4]


def test_a_large_file_lends_the_turn_while_it_is_moved_a_smaller_one_keeps_it() -> None:
    turns = Turns(1)
    with turns.one():
        with moving(LARGE_BYTES - 1):
            assert turns._free == 0
        with moving(LARGE_BYTES):
            assert turns._free == 1


def test_who_waits_for_memcached_keeps_nobody_waiting_for_long(
    serve: Callable[..., Server], start_memcached: Callable[..., LocalMemcached]
) -> None:
    memcached = start_memcached()
    server = serve(SERVERS=memcached.address, WORKERS="1", THREADS="1")
    with server.connect() as stuck, server.client(timeout=4) as http:
        assert http.get("/readyz").status_code == 200
        memcached.pause()
        stuck.sendall(request("GET", "/files/a"))
        for _ in range(2):
            assert http.get("/livez").status_code == 200
        memcached.resume()
        assert stuck.recv(12) == b"HTTP/1.1 404"


def test_turns_that_were_done_without_are_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(1)
    ends = [threading.Event() for _ in range(4)]
    working: list[int] = []

    def work(number: int) -> None:
        with turns.one():
            working.append(number)
            ends[number].wait()

    *threads, last = [threading.Thread(target=work, args=[number]) for number in range(4)]
    monkeypatch.setattr("memchunk_api.turns.PATIENCE_SECONDS", 0.01)
    for thread in threads:
        thread.start()
    while len(working) < 3:  # two lose patience
        threads[0].join(0.01)
    monkeypatch.setattr("memchunk_api.turns.PATIENCE_SECONDS", 60)
    last.start()
    while not turns._queue:
        last.join(0.01)
    waiting = []
    for number, thread in enumerate(threads):
        waiting.append(len(turns._queue))
        ends[number].set()
        thread.join()
    ends[3].set()
    last.join()
    assert waiting == [1, 1, 1]  # whoever asks last waits until all three have ended
    assert turns._free == 1
