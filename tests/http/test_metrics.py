"""/metrics: requests, bytes, buffers, memcached, and each kind of loss on its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from memchunk.layout import CHUNK_BYTES
from tests.http.serving import Server, read_answer, request
from tests.items import Items, flipped
from tests.servers import LocalMemcached

FILE = "/files/{name}"


class Scrape:
    """All samples of a server at one moment."""

    def __init__(self, http: httpx.Client) -> None:
        answer = http.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        self.text = answer.text
        self._samples = [
            sample
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        ]

    def total(self, name: str, **labels: str) -> float:
        """The sum of the samples of a name that have these labels."""
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


def wait_for(http: httpx.Client, name: str, value: float, **labels: str) -> Scrape:
    """What is counted after an answer was sent is seen a moment later."""
    deadline = time.monotonic() + 20
    while True:
        scrape = Scrape(http)
        if scrape.total(name, **labels) == value:
            return scrape
        assert time.monotonic() < deadline, f"{name} {labels} is not {value}:\n{scrape.text}"
        time.sleep(0.01)


@pytest.fixture
def server(
    serve: Callable[..., Server], memcached_address: str, namespace: str, tmp_path: Path
) -> Server:
    """A server of the test's own, with two workers that count together."""
    return serve(SERVERS=memcached_address, NAMESPACE=namespace, WORKERS="2", TOKEN="s3cret")


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with server.client(headers={"Authorization": "Bearer s3cret"}) as client:
        yield client


def test_requests_of_all_workers_are_counted_by_route_method_and_status(
    server: Server, http: httpx.Client
) -> None:
    def put_and_get(number: int) -> None:
        with server.client(headers=http.headers) as own:
            own.put(f"/files/{number}", content=b"x" * 1000)
            own.get(f"/files/{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put_and_get, range(40)))
    http.get("/files/none")
    labels = {"route": FILE, "method": "GET"}
    wait_for(http, "memchunk_http_requests_total", 1, **labels, status="404", error="not_found")
    wait_for(http, "memchunk_http_requests_total", 40, **labels, status="200", error="")
    seen = wait_for(
        http, "memchunk_http_requests_total", 40, route=FILE, method="PUT", status="201"
    )
    assert seen.total("memchunk_http_request_duration_seconds_count", **labels) == 41
    assert seen.total("memchunk_http_request_duration_seconds_sum", **labels) > 0
    assert seen.total("memchunk_http_received_bytes_total", route=FILE, method="PUT") == 40_000
    assert seen.total("memchunk_http_sent_bytes_total", **labels) > 40_000
    assert seen.total("memchunk_files_written_total") == 40
    assert seen.total("memchunk_files_read_total") == 40


def test_large_bodies_are_counted_whole(server: Server, http: httpx.Client) -> None:
    data = os.urandom(3_000_000)
    http.put("/files/a", content=data)
    http.put("/files/b", content=iter([data, data]))  # chunked
    http.get("/files/a")
    http.get("/files/a", headers={"Range": "bytes=0-999999"})
    http.head("/files/a")
    seen = wait_for(http, "memchunk_http_requests_total", 1, route=FILE, method="HEAD")
    assert seen.total("memchunk_http_received_bytes_total", route=FILE, method="PUT") == 9_000_000
    assert seen.total("memchunk_http_sent_bytes_total", route=FILE, method="GET") == 4_000_000
    assert seen.total("memchunk_http_sent_bytes_total", route=FILE, method="HEAD") == 0


def test_what_clients_make_up_is_one_series(server: Server, http: httpx.Client) -> None:
    for number in range(5):
        http.get(f"/nowhere/{number}")
        http.request(f"MADEUP{number}", "/files/a")
    server.exchange(b"GARBAGE\r\n\r\n")
    seen = wait_for(http, "memchunk_http_requests_total", 5, route=FILE, method="OTHER")
    labels = {"route": "none", "method": "GET", "status": "404", "error": "no_such_route"}
    assert seen.total("memchunk_http_requests_total", **labels) == 5
    wait_for(http, "memchunk_http_requests_total", 1, route="none", status="400", method="OTHER")
    assert "nowhere" not in seen.text
    assert "MADEUP" not in seen.text


def test_memcached_is_counted_by_server(
    serve: Callable[..., Server], start_memcached: Callable[..., LocalMemcached]
) -> None:
    one, other = start_memcached(), start_memcached()
    http = serve(SERVERS=f"{one.address},{other.address}", WORKERS="1").client()
    for number in range(20):
        assert http.put(f"/files/{number}", content=bytes(1000)).status_code == 201
    seen = Scrape(http)
    for server in one, other:
        label = {"server": server.address}
        assert seen.total("memchunk_memcached_operations_total", **label, command="set") > 0
        assert seen.total("memchunk_memcached_sent_bytes_total", **label) > 1000
        assert seen.total("memchunk_memcached_received_bytes_total", **label) > 0
        assert seen.total("memchunk_memcached_errors_total", **label) == 0
    sent = seen.total("memchunk_memcached_sent_bytes_total")
    assert 20_000 < sent < 60_000
    other.kill()
    for number in range(20):
        http.get(f"/files/{number}")
    seen = Scrape(http)
    assert seen.total("memchunk_memcached_errors_total", server=one.address) == 0
    assert seen.total("memchunk_memcached_errors_total", server=other.address) > 0
    assert seen.total("memchunk_files_absent_total") == 0
    http.close()


def losses(scrape: Scrape) -> dict[str, float]:
    kinds = "absent", "evicted", "corrupt", "healed", "refused"
    found = {kind: scrape.total(f"memchunk_files_{kind}_total") for kind in kinds}
    return {kind: count for kind, count in found.items() if count}


def test_each_loss_has_a_counter(server: Server, http: httpx.Client, items: Items) -> None:
    assert losses(Scrape(http)) == {}
    http.get("/files/f")
    assert losses(Scrape(http)) == {"absent": 1}
    http.post("/files/f", content=os.urandom(3 * CHUNK_BYTES))
    items.overwrite("f", 1, flipped(items.chunk("f", 1), 99))
    http.get("/files/f")
    assert losses(Scrape(http)) == {"absent": 1, "corrupt": 1}
    items.lose("f", 1)
    http.get("/files/f")
    http.get("/files/f", headers={"Range": f"bytes={CHUNK_BYTES}-"})
    assert losses(Scrape(http)) == {"absent": 1, "corrupt": 1, "evicted": 2}
    http.post("/files/f", content=b"again")
    assert losses(Scrape(http)) == {"absent": 1, "corrupt": 1, "evicted": 2, "healed": 1}
    http.put("/files/g", content=b"x", headers={"Content-Digest": f"sha-256=:{'A' * 43}=:"})
    assert losses(Scrape(http)) == {"absent": 1, "corrupt": 1, "evicted": 2, "healed": 1}


def test_a_full_memcached_is_counted_as_refusing(
    serve: Callable[..., Server], start_memcached: Callable[..., LocalMemcached]
) -> None:
    memcached = start_memcached("-m", "64", "-M")
    with serve(SERVERS=memcached.address).client() as http:
        assert http.put("/files/a", content=bytes(50_000_000)).status_code == 201
        assert http.put("/files/b", content=bytes(50_000_000)).status_code == 507
        assert losses(Scrape(http)) == {"refused": 1}


def test_buffer_memory_in_use_is_shown(server: Server, http: httpx.Client) -> None:
    limit = Scrape(http).total("memchunk_buffer_limit_bytes")
    assert limit in (256 * 2**20, 2 * 256 * 2**20)  # as many workers as have started
    http.put("/files/a", content=bytes(30_000_000))
    with server.connect() as slow:
        slow.sendall(request("GET", "/files/a", "Authorization: Bearer s3cret"))
        assert slow.recv(1)
        assert Scrape(http).total("memchunk_buffer_used_bytes") >= 30_000_000
    wait_for(http, "memchunk_buffer_used_bytes", 0)


def test_buffer_memory_waited_for_is_shown(
    serve: Callable[..., Server], memcached_address: str, namespace: str
) -> None:
    server = serve(SERVERS=memcached_address, NAMESPACE=namespace, WORKERS="1", BUFFER_MEMORY="50")
    with server.client() as http, server.connect() as slow, server.connect() as waiting:
        http.put("/files/a", content=bytes(30_000_000))
        slow.sendall(request("GET", "/files/a"))
        assert slow.recv(1)
        waiting.sendall(request("GET", "/files/a"))
        seen = wait_for(http, "memchunk_buffer_waiting_bytes", 29 * 2**20)
        assert seen.total("memchunk_buffer_limit_bytes") == 50 * 2**20
        assert read_answer(waiting).status == 503
        wait_for(http, "memchunk_buffer_waiting_bytes", 0)


def test_it_wants_the_token(server: Server) -> None:
    assert httpx.get(f"{server.url}/metrics").status_code == 401


def test_a_worker_that_ended_holds_nothing_and_its_counts_stay(
    server: Server, http: httpx.Client
) -> None:
    http.put("/files/a", content=bytes(30_000_000))
    http.close()
    server.workers()
    with server.connect() as slow:
        slow.sendall(request("GET", "/files/a", "Authorization: Bearer s3cret"))
        assert slow.recv(1)
        for pid in server.workers():
            os.kill(pid, signal.SIGKILL)
    with server.client(headers={"Authorization": "Bearer s3cret"}) as again:
        seen = wait_for(again, "memchunk_buffer_used_bytes", 0)
        assert seen.total("memchunk_files_written_total") == 1
        wait_for(again, "memchunk_buffer_limit_bytes", 2 * 256 * 2**20)


def test_the_files_they_are_counted_in_are_removed(
    serve: Callable[..., Server],
    memcached_address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    server = serve(SERVERS=memcached_address)
    [directory] = tmp_path.glob("memchunk-metrics-*")
    assert list(directory.iterdir())
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert list(tmp_path.glob("memchunk-metrics-*")) == []


@pytest.mark.promtool
def test_promtool_finds_nothing_to_say(server: Server, http: httpx.Client) -> None:
    http.put("/files/a", content=b"x")
    http.get("/files/a")
    http.get("/nowhere")
    promtool = shutil.which("promtool")
    assert promtool is not None, "install promtool (apt-get install prometheus)"
    said = subprocess.run(
        [promtool, "check", "metrics"],
        input=Scrape(http).text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
