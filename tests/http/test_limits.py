"""Promise 4, bounded: memory, and who waits for it."""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from memchunk import MAX_FILE_BYTES
from tests.http.conftest import NAMESPACE
from tests.http.serving import Server, request

MIB = 1024 * 1024
LARGEST = hashlib.shake_256(b"memchunk").digest(MAX_FILE_BYTES)

# How many bytes a client may have in its socket buffers without reading any.
RECEIVE_BUFFER = 64 * 1024


def memory(pid: int, field: str) -> int:
    """A line of /proc/PID/status, in MiB."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


@pytest.fixture
def small(serve: Callable[..., Server], memcached_address: str) -> Server:
    """One worker, many threads, and a budget for one large file."""
    return serve(
        SERVERS=memcached_address,
        NAMESPACE="small" + NAMESPACE,
        WORKERS="1",
        THREADS="24",
        BUFFER_MEMORY="60",
    )


def test_a_put_needs_a_few_chunks_and_a_get_the_file_once(small: Server) -> None:
    [worker] = small.workers()
    with small.client() as http:
        http.put("/files/warm", content=b"x")
        before = memory(worker, "VmHWM")
        assert http.put("/files/a", content=LARGEST).status_code == 201
        after_put = memory(worker, "VmHWM")
        form = {"file": ("a", LARGEST)}
        assert http.put("/files/a", files=form).status_code == 200
        after_form = memory(worker, "VmHWM")
        assert http.get("/files/a").content == LARGEST
        after_get = memory(worker, "VmHWM")
        for _ in range(3):
            http.put("/files/a", content=LARGEST)
            http.get("/files/a")
        after_all = memory(worker, "VmHWM")
    assert after_put - before < 20
    assert after_form - before < 25
    assert 50 <= after_get - before < 75  # a second copy would make it 100
    assert after_all - before < 85


def test_a_range_needs_a_chunk(small: Server) -> None:
    [worker] = small.workers()
    with small.client() as http:
        http.put("/files/a", content=LARGEST)
        before = memory(worker, "VmHWM")
        headers = {"Range": "bytes=1-"}
        assert http.get("/files/a", headers=headers).content == LARGEST[1:]
        assert memory(worker, "VmHWM") - before < 15


def test_many_large_reads_within_a_small_budget(small: Server) -> None:
    """Each is whole, or is told to come back; the budget holds for all together."""
    [worker] = small.workers()
    with small.client() as http:
        http.put("/files/a", content=LARGEST)
        before = memory(worker, "VmRSS")

    def read(_: int) -> int:
        with small.client() as http:
            answer = http.get("/files/a")
        if answer.status_code == 200:
            assert answer.content == LARGEST
        else:
            assert answer.json()["code"] == "busy"
            assert int(answer.headers["Retry-After"]) > 0
        return answer.status_code

    with ThreadPoolExecutor(10) as pool:
        statuses = list(pool.map(read, range(10)))
    assert set(statuses) <= {200, 503}
    assert 200 in statuses
    assert memory(worker, "VmHWM") - before < 60 + 40


def test_who_holds_the_memory_makes_others_wait_and_then_come_back(small: Server) -> None:
    with small.client() as http:
        http.put("/files/a", content=LARGEST)
        http.put("/files/b", content=b"small")
        with socket.socket() as idle:
            idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            idle.connect(("127.0.0.1", small.port))
            idle.sendall(request("GET", "/files/a"))
            assert idle.recv(12) == b"HTTP/1.1 200"  # it has all its memory now, and does not read
            busy = http.get("/files/a")
            assert busy.status_code == 503
            assert busy.json()["code"] == "busy"
            assert http.get("/files/b").content == b"small"  # what fits is served
            assert http.put("/files/c", content=bytes(3 * MIB)).status_code == 201
        # Gone without having read it: the memory is free again.
        assert http.get("/files/a").content == LARGEST


def test_early_answers_hold_no_memory(small: Server) -> None:
    with small.client() as http:
        http.put("/files/a", content=LARGEST)
        etag = http.head("/files/a").headers["ETag"]
        for _ in range(3):
            assert http.get("/files/a", headers={"If-None-Match": etag}).status_code == 304
            assert http.get("/files/a", headers={"Range": "bytes=99999999-"}).status_code == 416
            assert http.get("/files/a", headers={"If-Match": '"x"'}).status_code == 412
            assert http.post("/files/a", content=bytes(MIB)).status_code == 409
        assert http.get("/files/a").content == LARGEST


def test_a_file_replaced_while_it_is_read_is_never_mixed(server: Server, name: str) -> None:
    """Promise 1, whole or nothing: whole files and ranges are of one write."""
    versions = [bytes([number]) * 1_500_000 for number in range(4)]
    with server.client() as http:
        http.put(f"/files/{name}", content=versions[0])

    def write(turn: int) -> None:
        with server.client() as http:
            assert http.put(f"/files/{name}", content=versions[turn % 4]).status_code == 200

    def read(turn: int) -> None:
        headers = {"Range": "bytes=400000-"} if turn % 2 else {}
        with server.client() as http:
            try:
                found = http.get(f"/files/{name}", headers=headers)
            except httpx.RemoteProtocolError:
                if not headers:
                    raise
                return  # a range that was cut off, and says so
        assert found.status_code in ((200, 206) if not headers else (206, 503))
        if found.status_code != 503:
            assert len(set(found.content)) == 1
            assert (
                found.headers["ETag"][1:-1]
                == hashlib.sha256(found.content[:1] * 1_500_000).hexdigest()
            )

    with ThreadPoolExecutor(8) as pool:
        work = [pool.submit(write if turn % 4 == 0 else read, turn) for turn in range(80)]
        for future in work:
            future.result()
