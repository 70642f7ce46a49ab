"""More clients, and more large files, than a server has room for at once."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from memchunk import MAX_FILE_BYTES
from tests.faults.contents import contents
from tests.http.serving import Server, read_answer, request
from tests.servers import LocalMemcached

MIB = 1024 * 1024
CONNECTIONS = 500
LARGE_AT_ONCE = 64
BUDGET_MIB = 160  # three of the largest files in each worker
BESIDE_MIB = 100  # what threads, parts of files on their way and the allocator take beside it


def test_500_connections_at_once(
    serve: Callable[..., Server], memcached_address: str, namespace: str, torture: int
) -> None:
    server = serve(SERVERS=memcached_address, NAMESPACE=namespace, WORKERS="2")
    content = contents("crowd", 10_000)
    with server.client() as http:
        http.put("/files/a", content=content).raise_for_status()
    for _ in range(2 * torture):
        connections = [server.connect() for _ in range(CONNECTIONS)]
        for connection in connections:
            connection.sendall(request("GET", "/files/a"))
        for connection in connections:
            answer = read_answer(connection)
            assert (answer.status, answer.body) == (200, content)
            connection.close()


def test_64_of_the_largest_files_at_once(
    serve: Callable[..., Server], start_memcached: Callable[..., LocalMemcached], torture: int
) -> None:
    """Each comes and goes whole, or is told to come back, within the memory budget."""
    memcached = start_memcached("-m", "1024")
    server = serve(SERVERS=memcached.address, WORKERS="2", BUFFER_MEMORY=str(BUDGET_MIB))
    content = contents("largest", MAX_FILE_BYTES)
    sha256 = hashlib.sha256(content).hexdigest()
    before = {pid: memory(pid, "VmRSS") for pid in server.workers()}

    def get(_: int) -> int:
        with server.client(timeout=120) as http, http.stream("GET", "/files/read") as answer:
            if answer.status_code == 200:
                found = hashlib.sha256()
                for block in answer.iter_bytes():
                    found.update(block)
                assert found.hexdigest() == sha256
                return 200
            answer.read()
            return told_to_come_back(answer)

    def put(number: int) -> int:
        with server.client(timeout=120) as http:
            # no more of them than memcached has room for, old and new
            answer = http.put(f"/files/written/{number % 4}", content=content)
        if answer.is_success:
            assert answer.json()["sha256"] == sha256
            return answer.status_code
        return told_to_come_back(answer)

    statuses: Counter[tuple[str, int]] = Counter()
    for _ in range(torture):
        with server.client() as http:  # again: so many puts at once may have taken its room
            http.put("/files/read", content=content).raise_for_status()
        with ThreadPoolExecutor(LARGE_AT_ONCE) as pool:
            statuses.update(("GET", status) for status in pool.map(get, range(LARGE_AT_ONCE)))
            statuses.update(("PUT", status) for status in pool.map(put, range(LARGE_AT_ONCE)))
        with server.client() as http:
            for number in range(4):
                if (answer := http.get(f"/files/written/{number}")).status_code != 404:
                    assert hashlib.sha256(answer.content).hexdigest() == sha256
    most = {pid: memory(pid, "VmHWM") - before[pid] for pid in server.workers()}
    print(f"{dict(statuses)}; MiB that a worker took at most: {sorted(most.values())}")
    assert statuses["GET", 200] > 0
    assert statuses["PUT", 200] > 0
    assert max(most.values()) < BUDGET_MIB + BESIDE_MIB


def told_to_come_back(answer: httpx.Response) -> int:
    """The status of an answer that must say when to try again."""
    # 507: as many old and new files at once as memcached has no room for
    assert answer.status_code in (503, 507), answer.text
    if answer.status_code == 503:
        assert answer.json()["code"] == "busy"
        assert int(answer.headers["Retry-After"]) > 0
    return answer.status_code


def memory(pid: int, field: str) -> int:
    """A line of /proc/PID/status, in MiB."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) // 1024
