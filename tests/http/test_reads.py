"""GET and HEAD: the whole file, ranges of it, conditions, headers."""

from __future__ import annotations

import base64
import hashlib

import httpx
import pytest

from tests.http.serving import Server

DATA = bytes(range(256)) * 5000  # 1,280,000 bytes: three chunks
ETAG = f'"{hashlib.sha256(DATA).hexdigest()}"'
DIGEST = f"sha-256=:{base64.b64encode(hashlib.sha256(DATA).digest()).decode()}:"
LONG_AGO, LATER = "Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"


@pytest.fixture(scope="module")
def path(server: Server) -> str:
    with server.client() as http:
        headers = {"Content-Type": "text/html"}
        http.put("/files/reads/page.html", content=DATA, headers=headers)
    return "/files/reads/page.html"


def test_the_headers_of_a_file(http: httpx.Client, path: str) -> None:
    found = http.get(path)
    assert found.content == DATA
    expected = {
        "ETag": ETAG,
        "Repr-Digest": DIGEST,
        "Content-Digest": DIGEST,
        "Accept-Ranges": "bytes",
        "Content-Type": "text/html",
        "Content-Length": str(len(DATA)),
        "Cache-Control": "no-cache",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox",
        "Content-Disposition": "attachment; filename=\"page.html\"; filename*=UTF-8''page.html",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    assert {name: found.headers.get(name) for name in expected} == expected
    assert found.headers["Last-Modified"].endswith("GMT")


def test_head_is_get_without_the_file(http: httpx.Client, path: str) -> None:
    head, get = http.head(path), http.get(path)
    assert (head.status_code, head.content) == (200, b"")
    ignored = {"date", "x-request-id", "content-digest"}  # of content there is none
    assert {k: v for k, v in head.headers.items() if k not in ignored} == {
        k: v for k, v in get.headers.items() if k not in ignored
    }
    assert http.head(path, headers={"Range": "bytes=0-1"}).status_code == 200  # for GET only


@pytest.mark.parametrize(
    ("value", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-299", 100, 300),
        ("bytes=523263-523264", 523_263, 523_265),  # over the edge of a chunk
        ("bytes=1000000-", 1_000_000, len(DATA)),
        ("bytes=-5", len(DATA) - 5, len(DATA)),
        ("bytes=-99999999", 0, len(DATA)),
        ("bytes=0-", 0, len(DATA)),
        ("bytes=1-99999999", 1, len(DATA)),
    ],
)
def test_ranges(http: httpx.Client, path: str, value: str, start: int, stop: int) -> None:
    found = http.get(path, headers={"Range": value})
    assert found.status_code == 206
    assert found.content == DATA[start:stop]
    assert found.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(DATA)}"
    assert found.headers["Content-Length"] == str(stop - start)
    assert (found.headers["ETag"], found.headers["Repr-Digest"]) == (ETAG, DIGEST)
    assert "Content-Digest" not in found.headers


@pytest.mark.parametrize(
    "value", ["bytes=0-1,3-4", "bytes=9-5", "bytes=", "chunks=0-1", "bytes=x-", "nonsense"]
)
def test_ranges_that_are_ignored(http: httpx.Client, path: str, value: str) -> None:
    found = http.get(path, headers={"Range": value})
    assert (found.status_code, found.content) == (200, DATA)


@pytest.mark.parametrize("value", [f"bytes={len(DATA)}-", "bytes=9999999-99999999", "bytes=-0"])
def test_ranges_past_the_end(http: httpx.Client, path: str, value: str) -> None:
    refused = http.get(path, headers={"Range": value})
    assert refused.status_code == 416
    assert refused.headers["Content-Range"] == f"bytes */{len(DATA)}"
    assert refused.json()["code"] == "range_not_satisfiable"


def test_ranges_of_an_empty_file(http: httpx.Client, name: str) -> None:
    http.put(f"/files/{name}", content=b"")
    assert http.get(f"/files/{name}", headers={"Range": "bytes=-5"}).status_code == 200
    refused = http.get(f"/files/{name}", headers={"Range": "bytes=0-"})
    assert (refused.status_code, refused.headers["Content-Range"]) == (416, "bytes */0")


@pytest.mark.parametrize(
    ("if_range", "status"),
    [(ETAG, 206), ('"other"', 200), ("W/" + ETAG, 200), (LATER, 200), ("nonsense", 200)],
)
def test_if_range(http: httpx.Client, path: str, if_range: str, status: int) -> None:
    found = http.get(path, headers={"Range": "bytes=2-4", "If-Range": if_range})
    assert found.status_code == status
    assert found.content == (DATA[2:5] if status == 206 else DATA)


def test_if_range_with_the_files_own_date_is_not_trusted(http: httpx.Client, path: str) -> None:
    date = http.head(path).headers["Last-Modified"]
    found = http.get(path, headers={"Range": "bytes=2-4", "If-Range": date})
    assert (found.status_code, found.content) == (200, DATA)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("extra", [{}, {"Range": "bytes=0-1"}])
@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ({"If-None-Match": ETAG}, 304),
        ({"If-None-Match": f'"x", W/{ETAG}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-Modified-Since": LATER}, 304),
        ({"If-Match": '"x"'}, 412),
        ({"If-Unmodified-Since": LONG_AGO}, 412),
        ({"If-None-Match": "unquoted"}, 400),
        ({"If-None-Match": '"x"', "If-Modified-Since": LATER}, 200),
        ({"If-Match": ETAG, "If-Modified-Since": "nonsense"}, 200),
    ],
)
def test_conditions(
    http: httpx.Client,
    path: str,
    method: str,
    extra: dict[str, str],
    condition: dict[str, str],
    status: int,
) -> None:
    found = http.request(method, path, headers=condition | extra)
    if status == 200:
        assert found.status_code == (206 if extra and method == "GET" else 200)
    else:
        assert found.status_code == status
    if status == 304:
        assert found.content == b""
        assert found.headers["ETag"] == ETAG
        assert "Content-Disposition" not in found.headers
    if status == 412:
        assert "ETag" not in found.headers
        assert found.headers["Content-Type"] == "application/problem+json"


def test_repeated_condition_headers_are_one_list(http: httpx.Client, path: str) -> None:
    headers = [("If-None-Match", '"x"'), ("If-None-Match", ETAG)]
    assert http.get(path, headers=headers).status_code == 304


def test_metadata(http: httpx.Client, path: str) -> None:
    found = http.get(path.replace("/files/", "/metadata/"))
    assert found.headers["Content-Type"] == "application/json"
    info = found.json()
    assert set(info) == {
        "name",
        "size",
        "sha256",
        "chunk_count",
        "chunk_size",
        "content_type",
        "created_at",
        "expires_at",
    }
    assert (info["name"], info["size"]) == ("reads/page.html", len(DATA))
    assert http.get("/metadata/absent").status_code == 404
    assert http.get("/metadata/a//b").status_code == 400


def test_a_connection_serves_many_requests(http: httpx.Client, path: str) -> None:
    for _ in range(5):
        assert http.get(path).headers["Connection"] == "keep-alive"
        assert http.get("/files/absent").headers["Connection"] == "keep-alive"
