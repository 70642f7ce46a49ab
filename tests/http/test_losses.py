"""Promise 2 over HTTP: every loss has a status of its own, and a problem document."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import count

import httpx
import pytest
from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheServerError

from tests.http.conftest import NAMESPACE
from tests.http.serving import Server, request
from tests.items import Items, flipped
from tests.servers import LocalMemcached

DATA = bytes(range(256)) * 8000  # 2,048,000 bytes: four chunks


@pytest.fixture
def items(memcached_address: str) -> Iterator[Items]:
    found = Items(memcached_address, NAMESPACE)
    yield found
    found.close()


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, object]:
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers
    assert "Content-Disposition" not in answer.headers
    problem: dict[str, object] = answer.json()
    assert problem["status"] == status
    assert problem["code"] == code
    assert problem["type"] == "about:blank"
    assert problem["title"]
    assert problem["detail"] == problem["message"]
    assert problem["instance"] == answer.request.url.raw_path.decode().partition("?")[0]
    return problem


def test_absent(http: httpx.Client, name: str) -> None:
    for path in f"/files/{name}", f"/metadata/{name}":
        assert_problem(http.get(path), 404, "not_found")
    assert_problem(http.delete(f"/files/{name}"), 404, "not_found")
    assert_problem(http.get(f"/files/{name}", headers={"Range": "bytes=0-1"}), 404, "not_found")


def test_evicted(http: httpx.Client, name: str, items: Items) -> None:
    http.put(f"/files/{name}", content=DATA)
    items.lose(name, 1, 3)
    for path in f"/files/{name}", f"/metadata/{name}":
        assert assert_problem(http.get(path), 410, "evicted")["missing"] == [1, 3]
    assert http.head(f"/files/{name}").status_code == 410


def test_corrupt(http: httpx.Client, name: str, items: Items) -> None:
    http.put(f"/files/{name}", content=DATA)
    items.overwrite(name, 2, flipped(items.chunk(name, 2), 1000))
    assert_problem(http.get(f"/files/{name}"), 422, "corrupt")


def test_a_corrupt_manifest(http: httpx.Client, name: str, items: Items) -> None:
    http.put(f"/files/{name}", content=DATA)
    key = items.manifest_key(name)
    items.client.set(key, flipped(items.client.get(key), 30))
    for path in f"/files/{name}", f"/metadata/{name}":
        assert_problem(http.get(path), 422, "corrupt")
    assert http.put(f"/files/{name}", content=DATA).is_success
    assert http.get(f"/files/{name}").content == DATA


@pytest.mark.parametrize(
    ("harm", "status", "code"), [("lose", 410, "evicted"), ("flip", 422, "corrupt")]
)
def test_a_range_tells_before_its_first_byte(
    http: httpx.Client, name: str, items: Items, harm: str, status: int, code: str
) -> None:
    http.put(f"/files/{name}", content=DATA)
    if harm == "lose":
        items.lose(name, 2)
    else:
        items.overwrite(name, 2, flipped(items.chunk(name, 2), 1000))
    bad = http.get(f"/files/{name}", headers={"Range": f"bytes={2 * 523_264}-"})
    assert_problem(bad, status, code)
    assert "Content-Range" not in bad.headers
    good = http.get(f"/files/{name}", headers={"Range": "bytes=0-99"})
    assert (good.status_code, good.content) == (206, DATA[:100])


@pytest.mark.parametrize("harm", ["lose", "flip"])
def test_a_range_that_breaks_later_is_cut(
    http: httpx.Client, server: Server, name: str, items: Items, harm: str
) -> None:
    """Fewer bytes than announced, all of them right, and then the end of the connection."""
    http.put(f"/files/{name}", content=DATA)
    if harm == "lose":
        items.lose(name, 2)
    else:
        items.overwrite(name, 2, flipped(items.chunk(name, 2), 1000))
    with server.connect() as connection:
        connection.settimeout(10)  # less than an idle connection is kept for
        connection.sendall(request("GET", f"/files/{name}", "Range: bytes=0-"))
        with connection.makefile("rb") as stream:
            head, _, body = stream.read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 206 ")
    assert f"content-length: {len(DATA)}".encode() in head
    assert body == DATA[: 2 * 523_264]
    with pytest.raises(httpx.RemoteProtocolError):
        http.get(f"/files/{name}", headers={"Range": "bytes=0-"})


def test_a_route_that_is_none(http: httpx.Client) -> None:
    for path in "/file", "/files/../x", "/metadata", "/a%20b/ä":
        assert_problem(http.get(path), 404, "no_such_route")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", "/files/x", {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"}),
        ("DELETE", "/files", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("POST", "/livez", {"GET", "HEAD", "OPTIONS"}),
        ("PUT", "/metadata/x", {"GET", "HEAD", "PATCH", "OPTIONS"}),
    ],
)
def test_a_method_that_is_not_allowed(
    http: httpx.Client, method: str, path: str, allowed: set[str]
) -> None:
    answer = http.request(method, path)
    assert_problem(answer, 405, "method_not_allowed")
    assert set(answer.headers["Allow"].split(", ")) == allowed


def test_a_method_that_nobody_has_heard_of(http: httpx.Client) -> None:
    assert_problem(http.request("BREW", "/files/x"), 400, "bad_request")


def test_health(http: httpx.Client) -> None:
    for path in "/livez", "/readyz":
        assert http.get(path).status_code == 200
        assert http.head(path).status_code == 200


def test_a_full_memcached_is_not_ready(
    serve: Callable[..., Server], start_memcached: Callable[..., LocalMemcached]
) -> None:
    """503 as for one that is away, and the code tells them apart."""
    memcached = start_memcached("-m", "16", "-M")
    with (
        closing(Client(memcached.address, default_noreply=False)) as client,
        pytest.raises(MemcacheServerError),
    ):
        for number in count():  # items of a canary's size, until there is no room
            client.set(f"{number:060}", bytes(32))
    with serve(SERVERS=memcached.address).client() as http:
        problem = assert_problem(http.get("/readyz"), 503, "storage_full")
        assert memcached.address in str(problem["detail"])


def test_every_server_must_be_ready(
    serve: Callable[..., Server], start_memcached: Callable[..., LocalMemcached]
) -> None:
    servers = [start_memcached() for _ in range(3)]
    with serve(SERVERS=",".join(each.address for each in servers)).client() as http:
        assert http.get("/readyz").status_code == 200
        servers[1].pause()  # it takes connections, and answers nothing
        problem = assert_problem(http.get("/readyz"), 503, "unavailable")
        assert problem["server"] == servers[1].address


def test_unavailable(
    serve: Callable[..., Server], start_memcached: Callable[..., LocalMemcached]
) -> None:
    memcached = start_memcached()
    server = serve(SERVERS=memcached.address)
    with server.client() as http:
        assert http.put("/files/a", content=DATA).status_code == 201
        memcached.kill()
        for answer in (
            http.get("/files/a"),
            http.get("/files/a", headers={"Range": "bytes=0-1"}),
            http.get("/metadata/a"),
            http.put("/files/a", content=DATA),
            http.put("/files/a", content=DATA, headers={"If-Match": "*"}),
            http.delete("/files/a"),
            http.get("/readyz"),
        ):
            problem = assert_problem(answer, 503, "unavailable")
            assert memcached.address in str(problem["detail"])
            assert problem["server"] == memcached.address
            assert int(answer.headers["Retry-After"]) > 0
        assert http.head("/files/a").status_code == 503
        assert http.get("/livez").status_code == 200
        memcached.start()
        assert http.get("/readyz").status_code == 200
        assert http.put("/files/a", content=DATA).status_code == 201


def test_storage_full(
    serve: Callable[..., Server], start_memcached: Callable[..., LocalMemcached]
) -> None:
    """-M: memcached refuses rather than evicts. The old file stays."""
    memcached = start_memcached("-m", "8", "-M")
    server = serve(SERVERS=memcached.address)
    with server.client() as http:
        assert http.put("/files/a", content=b"old").status_code == 201
        assert_problem(http.put("/files/a", content=bytes(20_000_000)), 507, "storage_full")
        assert http.get("/files/a").content == b"old"


def test_a_file_larger_than_memcached(
    serve: Callable[..., Server], start_memcached: Callable[..., LocalMemcached]
) -> None:
    """A cache that evicts a file's beginning while its end arrives has not stored it."""
    memcached = start_memcached("-m", "8")
    server = serve(SERVERS=memcached.address)
    with server.client() as http:
        assert_problem(http.put("/files/a", content=bytes(20_000_000)), 507, "storage_full")
        assert_problem(http.get("/files/a"), 404, "not_found")


@pytest.fixture
def nonsense() -> Iterator[str]:
    """The address of something that is no memcached."""
    done = threading.Event()

    def talk(listener: socket.socket) -> None:
        listener.settimeout(0.05)
        while not done.is_set():
            with suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(1)
                    connection.recv(1000)
                    connection.sendall(b"\xff\xfe nonsense\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=talk, args=[listener])
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        done.set()
        thread.join()


def test_a_server_that_talks_nonsense(serve: Callable[..., Server], nonsense: str) -> None:
    with serve(SERVERS=nonsense, WORKERS="1").client() as http:
        assert_problem(http.get("/files/a"), 503, "unavailable")
