"""GET /files: pages of JSON, plain lines, and what cannot be listed."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Iterator
from urllib.parse import urljoin

import httpx
import pytest

import memchunk
from memchunk import Store
from memchunk_api.listing import DEFAULT_LIMIT, MOST_LIMIT
from tests.http.conftest import NAMESPACE
from tests.http.serving import Server, request
from tests.http.test_limits import RECEIVE_BUFFER
from tests.http.test_losses import assert_problem
from tests.items import Items
from tests.servers import LocalMemcached

PLAIN = {"Accept": "text/plain"}

# In the order of their code points.
NAMES = ['"a"', "#b?c=d&e", "100%", "a b+c", "sub/c", "ä", "日本", "\u202ed.txt", "🎈"]


@pytest.fixture
def directory(http: httpx.Client) -> str:
    """The prefix of a few files with unusual names."""
    prefix = f"list/{secrets.token_hex(8)}/"
    for name in NAMES:
        assert http.post("/files", params={"name": prefix + name}, content=b"x").is_success
    return prefix


@pytest.fixture
def many(memcached_address: str, namespace: str) -> Iterator[Store]:
    """A store with more files than a page has."""
    with memchunk.connect(memcached_address, namespace=namespace) as store:
        for number in range(MOST_LIMIT + 1):
            store.put(f"{number:05}", b"")
        yield store


def test_the_files_in_the_order_of_their_names(http: httpx.Client, directory: str) -> None:
    answer = http.get("/files", params={"prefix": directory})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Vary"] == "Accept"
    listed = answer.json()
    assert [info["name"] for info in listed["files"]] == sorted(directory + name for name in NAMES)
    assert listed["next"] is None
    assert "Link" not in answer.headers
    for info in listed["files"]:
        assert httpx.get(answer.url.join("/metadata/" + quoted(info["name"]))).json() == info


def quoted(name: str) -> str:
    return "".join(f"%{byte:02x}" for byte in name.encode())


@pytest.mark.parametrize("accept", ["application/json", "text/plain"])
@pytest.mark.parametrize("limit", [1, 2, len(NAMES) - 1, len(NAMES)])
def test_pages_lead_on_to_the_end(
    http: httpx.Client, directory: str, limit: int, accept: str
) -> None:
    """By `next` as by the Link header, each name once and in order."""
    found: list[str] = []
    answer = http.get(
        "/files", params={"prefix": directory, "limit": limit}, headers={"Accept": accept}
    )
    while True:
        if accept == "text/plain":
            page = answer.text.splitlines()
        else:
            page = [info["name"] for info in answer.json()["files"]]
        assert 1 <= len(page) <= limit
        found += page
        if "next" not in answer.links:
            break
        assert len(page) == limit
        if accept != "text/plain":
            assert answer.json()["next"] == found[-1]
        url = urljoin(str(answer.url), answer.links["next"]["url"])
        answer = http.get(url, headers={"Accept": accept})
    if accept != "text/plain":
        assert answer.json()["next"] is None
    assert found == sorted(directory + name for name in NAMES)


def test_after_a_name_that_is_gone(http: httpx.Client, directory: str) -> None:
    """Somebody who deletes while another pages does not end the other's list."""
    http.delete("/files/" + quoted(directory + "a b+c"))
    answer = http.get("/files", params={"prefix": directory, "after": directory + "a b+c"})
    names = [info["name"] for info in answer.json()["files"]]
    assert names == sorted(directory + name for name in NAMES if name > "a b+c")


def test_plain_lines(http: httpx.Client, directory: str) -> None:
    answer = http.get("/files", params={"prefix": directory}, headers=PLAIN)
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    lines = "".join(f"{name}\n" for name in sorted(directory + name for name in NAMES))
    assert answer.content == lines.encode()


def test_no_files(http: httpx.Client) -> None:
    prefix = secrets.token_hex(16)
    assert http.get("/files", params={"prefix": prefix}).json() == {"files": [], "next": None}
    empty = http.get("/files", params={"prefix": prefix}, headers=PLAIN)
    assert (empty.status_code, empty.content) == (200, b"")


def test_limits_and_all_lines(
    serve: Callable[..., Server], memcached_address: str, namespace: str, many: Store
) -> None:
    server = serve(SERVERS=memcached_address, NAMESPACE=namespace)
    with server.client() as http:
        for limit, expected in (None, DEFAULT_LIMIT), (MOST_LIMIT, MOST_LIMIT), (7, 7):
            query = {} if limit is None else {"limit": limit}
            listed = http.get("/files", params=query).json()
            assert len(listed["files"]) == expected
            assert listed["next"] == f"{expected - 1:05}"
        every = "".join(f"{number:05}\n" for number in range(MOST_LIMIT + 1))
        assert http.get("/files", headers=PLAIN).text == every
    for version in "1.0", "1.1":
        head = f"GET /files HTTP/{version}\r\nHost: here\r\nAccept: text/plain\r\n\r\n"
        with server.connect() as connection:
            connection.sendall(head.encode())
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as stream:
                found = stream.read()
        # A list of unknown length ends visibly: by its chunks, or it has a length.
        assert (b"content-length: 6006" in found.lower()) == (version == "1.0")
        assert found.endswith(b"01000\n" if version == "1.0" else b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("application/json, text/plain", "application/json"),
        ("text/plain;q=0.5, application/json;q=0.4", "text/plain; charset=utf-8"),
        ("text/*", "text/plain; charset=utf-8"),
        ("text/html, text/plain;q=0.1", "text/plain; charset=utf-8"),
        ("application/json;q=0, */*", "text/plain; charset=utf-8"),
        ("text/html", None),
        ("nonsense", None),
        ("text/plain;q=0", None),
    ],
)
def test_what_the_client_prefers(
    server: Server, accept: str | None, content_type: str | None
) -> None:
    headers = [f"Accept: {accept}"] if accept is not None else []
    answer = server.exchange(request("GET", "/files?limit=1", *headers))
    if content_type is None:
        assert answer.status == 406
        assert answer.problem()["code"] == "not_acceptable"
    else:
        assert answer.status == 200
        assert f"content-type: {content_type}\r\n" in answer.head.lower()


@pytest.mark.parametrize("accept", ["application/json", "text/plain"])
def test_head_has_the_headers_and_no_list(http: httpx.Client, directory: str, accept: str) -> None:
    query = {"prefix": directory, "limit": "2"}
    got = http.get("/files", params=query, headers={"Accept": accept})
    head = http.head("/files", params=query, headers={"Accept": accept})
    assert (head.status_code, head.content) == (200, b"")
    for header in "Content-Type", "Content-Length", "Link", "Vary":
        assert head.headers[header] == got.headers[header]
    assert http.head("/files", headers=PLAIN).status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        *(f"limit={limit}" for limit in ("-1", "0", "abc", "", "1001", "9" * 400, "1.5", "%D9%A1")),
        "limit=1&limit=2",
        "prefix=%00",
        "prefix=a%0a",
        "prefix=%ff",
        "prefix=" + "x" * 513,
        "after=%00",
        "offset=1",
    ],
)
def test_bad_queries(http: httpx.Client, query: str) -> None:
    for headers in {}, PLAIN:
        answer = http.get(f"/files?{query}", headers=headers)
        assert answer.status_code == 400
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["detail"]


def test_without_memcached_there_is_no_list(
    serve: Callable[..., Server], start_memcached: Callable[..., LocalMemcached]
) -> None:
    """Not an empty one."""
    memcached = start_memcached()
    server = serve(SERVERS=memcached.address)
    with server.client() as http:
        http.put("/files/a", content=b"x")
        memcached.kill()
        for headers in {}, PLAIN:
            assert_problem(http.get("/files", headers=headers), 503, "unavailable")
        assert http.head("/files").status_code == 503


def test_a_list_that_breaks_off_does_not_look_like_one_that_ends(
    serve: Callable[..., Server],
    start_memcached: Callable[..., LocalMemcached],
) -> None:
    memcached = start_memcached()
    with memchunk.connect(memcached.address) as store:
        for number in range(9 * MOST_LIMIT):
            store.put(f"{number:05}" + "x" * 500, b"")
    server = serve(SERVERS=memcached.address)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        connection.connect(("127.0.0.1", server.port))
        # The first names are on their way, far from all; then memcached is gone.
        connection.sendall(request("GET", "/files", "Accept: text/plain"))
        assert connection.recv(12) == b"HTTP/1.1 200"
        memcached.kill()
        with connection.makefile("rb") as stream:
            rest = stream.read()
    assert b"00001xx" in rest
    assert not rest.endswith(b"0\r\n\r\n")


def test_of_whom_the_chunks_are_gone_the_name_is_listed(
    http: httpx.Client, directory: str, memcached_address: str
) -> None:
    """So that a person can see, and clean up."""
    items = Items(memcached_address, NAMESPACE)
    items.lose(directory + "100%", 0)
    items.close()
    listed = http.get("/files", params={"prefix": directory}).json()
    assert directory + "100%" in [info["name"] for info in listed["files"]]
