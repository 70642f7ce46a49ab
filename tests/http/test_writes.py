"""POST, PUT and DELETE: what is stored, under which name, on which condition."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from urllib.parse import quote

import httpx
import pytest

from memchunk import MAX_FILE_BYTES
from tests.http.conftest import NAMESPACE
from tests.http.serving import Server, request
from tests.items import Items


def etag(data: bytes) -> str:
    return f'"{hashlib.sha256(data).hexdigest()}"'


def digest(data: bytes, algorithm: str = "sha-256") -> str:
    hashed = hashlib.new(algorithm.replace("-", ""), data).digest()
    return f"{algorithm}=:{base64.b64encode(hashed).decode()}:"


@pytest.mark.parametrize("size", [0, 1, 200_000, 1_000_000])
def test_post_creates_and_get_returns_the_same_bytes(
    http: httpx.Client, name: str, size: int
) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    created = http.post(f"/files/{name}", content=data)
    assert created.status_code == 201
    assert created.headers["Location"] == f"/files/{name}"
    assert created.headers["ETag"] == etag(data)
    info = created.json()
    assert (info["name"], info["size"]) == (name, size)
    assert http.get(created.headers["Location"]).content == data
    assert http.get(f"/metadata/{name}").json() == info


def test_post_creates_only(http: httpx.Client, name: str) -> None:
    http.post(f"/files/{name}", content=b"first")
    again = http.post(f"/files/{name}", content=b"second")
    assert again.status_code == 409
    assert again.json()["code"] == "already_exists"
    assert http.get(f"/files/{name}").content == b"first"


def test_a_taken_name_is_told_with_what_would_replace_it(http: httpx.Client, name: str) -> None:
    for each in name, name + "2":
        http.put(f"/files/{each}", content=b"x")
    named = base64.b64encode(name.encode()).decode()
    tus = {"Tus-Resumable": "1.0.0", "Upload-Length": "1", "Upload-Metadata": f"name {named}"}
    rename = {"file_name": name + "2"}
    for answer, way in (
        (http.post(f"/files/{name}", content=b"y"), "(PUT)"),
        (http.post(f"/files?name={quote(name)}", content=b"y"), "(PUT)"),
        (http.post("/uploads", headers=tus), "(replace in Upload-Metadata)"),
        (http.put(f"/files/{name}", data=rename), '(PATCH /metadata with "replace": true)'),
        (
            http.patch(f"/metadata/{name}", json={"name": name + "2"}),
            '(PATCH /metadata with "replace": true)',
        ),
    ):
        assert answer.status_code == 409
        assert answer.json()["message"].endswith(f"choose another name, or replace it {way}")


def test_put_creates_then_replaces(http: httpx.Client, name: str) -> None:
    created = http.put(f"/files/{name}", content=b"first")
    assert (created.status_code, created.headers["Location"]) == (201, f"/files/{name}")
    replaced = http.put(f"/files/{name}", content=b"second")
    assert replaced.status_code == 200
    assert "Location" not in replaced.headers
    assert http.get(f"/files/{name}").content == b"second"


def test_delete(http: httpx.Client, name: str) -> None:
    http.put(f"/files/{name}", content=b"x")
    deleted = http.delete(f"/files/{name}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    for method in "GET", "HEAD", "DELETE":
        assert http.request(method, f"/files/{name}").status_code == 404


def test_the_largest_file_and_one_byte_more(http: httpx.Client, name: str) -> None:
    data = bytes(MAX_FILE_BYTES)
    assert http.put(f"/files/{name}", content=data).status_code == 201
    assert len(http.get(f"/files/{name}").content) == MAX_FILE_BYTES
    refused = http.put(f"/files/{name}", content=data + b"x")
    assert refused.status_code == 413
    assert refused.json()["code"] == "too_large"
    assert http.head(f"/files/{name}").headers["ETag"] == etag(data)
    http.delete(f"/files/{name}")


# --- names


@pytest.mark.parametrize(
    "unusual",
    [
        "ä ö/ü.txt",
        "100%",
        "a?b#c",
        "a+b&c=d",
        "semi;colon",
        '"quoted"',
        "日本",
        "\u202etxt.exe",
        "~:@!",
    ],
)
def test_unusual_names(http: httpx.Client, name: str, unusual: str) -> None:
    full = f"{name}/{unusual}"
    path = "/files/" + quote(full, safe="/")
    created = http.put(path, content=b"x")
    assert (created.status_code, created.json()["name"]) == (201, full)
    found = http.get(created.headers["Location"])
    assert found.content == b"x"
    last = unusual.rpartition("/")[2]
    disposition = found.headers["Content-Disposition"]
    assert disposition.startswith("attachment;")
    assert disposition.endswith(f"filename*=UTF-8''{quote(last, safe='!#$&+-.^_`|~')}")


def test_an_encoded_slash_is_a_slash(http: httpx.Client, name: str) -> None:
    http.put(f"/files/{name}", content=b"x")
    assert http.get("/files/" + quote(name, safe="")).content == b"x"


@pytest.mark.parametrize(
    "path",
    [
        "/files/",
        "/files//a",
        "/files/a/",
        "/files/a//b",
        "/files/%2e%2e/a",
        "/files/a/%2e",
        "/files/%00",
        "/files/a%0ab",
        "/files/" + "x" * 513,
        "/files/%ff",
        "/files/%ed%a0%80",  # a surrogate
    ],
)
@pytest.mark.parametrize("method", ["PUT", "POST", "GET", "HEAD", "DELETE"])
def test_bad_names(server: Server, path: str, method: str) -> None:
    answer = server.exchange(request(method, path, "Content-Length: 0"))
    assert answer.status == 400
    if method != "HEAD":
        assert answer.problem()["code"] in ("invalid_name", "bad_request")
        assert answer.problem()["detail"]


def test_a_name_in_the_query(http: httpx.Client, name: str) -> None:
    created = http.post("/files", params={"name": name + " ü+"}, content=b"x")
    assert (created.status_code, created.json()["name"]) == (201, name + " ü+")
    assert http.post("/files", params={"name": name + " ü+"}, content=b"x").status_code == 409


def test_without_a_name_one_is_made(http: httpx.Client) -> None:
    names = set()
    for _ in range(2):
        created = http.post("/files", content=b"x", headers={"Content-Type": "image/png"})
        assert created.status_code == 201
        assert re.fullmatch(r"/files/[0-9a-f]{32}\.png", created.headers["Location"])
        assert http.get(created.headers["Location"]).content == b"x"
        names.add(created.json()["name"])
    assert len(names) == 2


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/files?nam=x"),
        ("POST", "/files?name=a&name=b"),
        ("POST", "/files?name="),
        ("POST", "/files?name=%ff"),
        ("POST", "/files?name=..%2fa"),
        ("POST", "/files?" + "&".join(["a=b"] * 100)),
        ("PUT", "/files/never?name=b"),
        ("PUT", "/files/never?ttl=1&ttl=2"),
        ("PUT", "/files/never?TTL=1"),
        ("PUT", "/files/never?ttl"),
    ],
)
def test_bad_queries(http: httpx.Client, method: str, path: str) -> None:
    refused = http.request(method, path, content=b"x")
    assert refused.status_code == 400
    assert refused.json()["detail"]
    assert http.get("/files/never").status_code == 404


# --- lifetimes


@pytest.mark.parametrize(
    "ttl", ["0", "-1", "1.5", "1e3", "soon", "", " 1", "%D9%A1", "9" * 12, "9" * 5000, "inf", "nan"]
)
def test_bad_lifetimes(http: httpx.Client, name: str, ttl: str) -> None:
    refused = http.put(f"/files/{name}?ttl={ttl}", content=b"x")
    assert refused.status_code in (400, 414)
    assert http.get(f"/files/{name}").status_code == 404


def test_a_lifetime_shows_in_the_headers(http: httpx.Client, name: str) -> None:
    for method, path in ("POST", f"/files?name={name}"), ("PUT", f"/files/{name}"):
        info = http.request(
            method,
            path,
            params={"name": name, "ttl": "3600"} if method == "POST" else {"ttl": "3600"},
            content=b"x",
        ).json()
        created = datetime.fromisoformat(info["created_at"])
        expires = datetime.fromisoformat(info["expires_at"])
        assert timedelta(seconds=3599) < expires - created < timedelta(seconds=3602)
        headers = http.get(f"/files/{name}").headers
        assert 3500 < int(headers["Cache-Control"].removeprefix("max-age=")) <= 3601
        assert headers["Expires"].endswith("GMT")


def test_a_file_expires(http: httpx.Client, name: str) -> None:
    http.put(f"/files/{name}?ttl=1", content=b"x")
    while (found := http.get(f"/files/{name}")).status_code == 200:
        assert found.content == b"x"
    assert found.status_code == 404


def test_the_default_lifetime(serve: Callable[..., Server], memcached_address: str) -> None:
    server = serve(SERVERS=memcached_address, NAMESPACE="ttl" + NAMESPACE, DEFAULT_TTL="600")
    with server.client() as http:
        assert http.put("/files/a", content=b"x").json()["expires_at"] is not None
        for ttl, least, most in ("60", 50, 61), (None, 590, 601):
            http.put("/files/a", content=b"x", params={"ttl": ttl} if ttl else {})
            age = http.get("/files/a").headers["Cache-Control"].removeprefix("max-age=")
            assert least < int(age) <= most


# --- media types


@pytest.mark.parametrize(
    ("ending", "sent", "stored"),
    [
        (".png", None, "image/png"),
        ("", None, "application/octet-stream"),
        (".png", "application/x-www-form-urlencoded", "image/png"),
        (".png", "Application/X-WWW-Form-Urlencoded; charset=utf-8", "image/png"),
        (".png", "text/html; charset=utf-8", "text/html; charset=utf-8"),
        (".png", "application/octet-stream", "application/octet-stream"),
    ],
)
def test_media_types(
    http: httpx.Client, name: str, ending: str, sent: str | None, stored: str
) -> None:
    headers = {"Content-Type": sent} if sent else {}
    http.put(f"/files/{name}{ending}", content=b"a=b", headers=headers)
    found = http.get(f"/files/{name}{ending}")
    assert (found.headers["Content-Type"], found.content) == (stored, b"a=b")


@pytest.mark.parametrize("sent", ["nonsense", "a/", "text/plain\u00e4", "text/plain; " + "x" * 300])
def test_what_is_no_media_type_is_refused(http: httpx.Client, name: str, sent: str) -> None:
    headers = {"Content-Type": sent.encode("latin-1")}
    refused = http.put(f"/files/{name}", content=b"x", headers=headers)  # type: ignore[arg-type]
    assert refused.status_code == 400
    assert "content type" in refused.json()["detail"]


# --- preconditions


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": etag(b"first")}, 200),
        ({"If-Match": '"other", ' + etag(b"first")}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"other"'}, 412),
        ({"If-Match": "W/" + etag(b"first")}, 412),
        ({"If-None-Match": "*"}, 412),
        ({"If-None-Match": etag(b"first")}, 412),
        ({"If-None-Match": '"other"'}, 200),
        ({"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 412),
        ({"If-Unmodified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 200),
        ({"If-Match": etag(b"first")[1:-1]}, 400),
        ({"If-None-Match": ""}, 400),
    ],
)
def test_conditional_put(
    http: httpx.Client, name: str, headers: dict[str, str], status: int
) -> None:
    http.put(f"/files/{name}", content=b"first")
    answer = http.put(f"/files/{name}", content=b"second", headers=headers)
    assert answer.status_code == status
    expected = b"second" if status == 200 else b"first"
    assert http.get(f"/files/{name}").content == expected


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": "*"}, 412),
        ({"If-Match": '"x"'}, 412),
        ({"If-None-Match": "*"}, 201),
        ({"If-None-Match": '"x"'}, 201),
    ],
)
def test_conditional_put_where_there_is_no_file(
    http: httpx.Client, name: str, headers: dict[str, str], status: int
) -> None:
    answer = http.put(f"/files/{name}", content=b"x", headers=headers)
    assert answer.status_code == status
    assert http.get(f"/files/{name}").status_code == (200 if status == 201 else 404)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": etag(b"x")}, 204),
        ({"If-Match": "*"}, 204),
        ({"If-Match": '"other"'}, 412),
        ({"If-None-Match": "*"}, 412),
        ({"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 412),
        ({"If-Match": "nonsense"}, 400),
    ],
)
def test_conditional_delete(
    http: httpx.Client, name: str, headers: dict[str, str], status: int
) -> None:
    assert http.delete(f"/files/{name}", headers=headers).status_code in (404, 400)
    http.put(f"/files/{name}", content=b"x")
    answer = http.delete(f"/files/{name}", headers=headers)
    assert answer.status_code == status
    assert http.get(f"/files/{name}").status_code == (404 if status == 204 else 200)


def test_a_condition_on_post(http: httpx.Client, name: str) -> None:
    only_new = {"If-None-Match": "*"}
    assert http.post(f"/files/{name}", content=b"x", headers=only_new).status_code == 201
    assert http.post(f"/files/{name}", content=b"x", headers=only_new).status_code == 412
    assert http.post(f"/files/{name}x", content=b"x", headers={"If-Match": "*"}).status_code == 412


def test_a_damaged_file_is_stored_again(
    http: httpx.Client, name: str, memcached_address: str
) -> None:
    items = Items(memcached_address, NAMESPACE)
    for method, headers in (
        ("POST", {}),
        ("PUT", {"If-None-Match": "*"}),
        ("PUT", {}),
        ("PUT", {"If-Match": etag(b"first")}),
        ("PUT", {"If-Match": '"other", ' + etag(b"first")}),
    ):
        http.put(f"/files/{name}", content=b"first")
        items.lose(name, 0)
        assert http.get(f"/files/{name}").status_code == 410
        stored = http.request(method, f"/files/{name}", content=b"second", headers=headers)
        assert stored.is_success, stored.text
        assert http.get(f"/files/{name}").content == b"second"
    items.lose(name, 0)
    for wrong in {"If-Match": etag(b"first")}, {"If-Match": "W/" + etag(b"second")}:
        assert http.put(f"/files/{name}", content=b"x", headers=wrong).status_code == 412
    assert http.delete(f"/files/{name}", headers={"If-Match": etag(b"second")}).status_code == 204
    items.close()


def test_of_many_creators_exactly_one_wins(server: Server, name: str) -> None:
    """Promise 1, whole or nothing: the bytes are those of the one that was told 201."""

    def create(turn: int) -> tuple[int, bytes]:
        data = bytes([turn]) * 700_000
        with server.client() as http:
            path, headers = f"/files/{name}", {"If-None-Match": "*"}
            return http.put(path, content=data, headers=headers).status_code, data

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(create, range(8)))
    assert sorted(status for status, _ in results) == [201] + [412] * 7
    [winner] = [data for status, data in results if status == 201]
    with server.client() as http:
        assert http.get(f"/files/{name}").content == winner


def test_of_many_updates_of_one_version_exactly_one_wins(server: Server, name: str) -> None:
    with server.client() as http:
        http.put(f"/files/{name}", content=b"original")

    def update(turn: int) -> tuple[int, bytes]:
        data = bytes([turn]) * 700_000
        with server.client() as http:
            path, headers = f"/files/{name}", {"If-Match": etag(b"original")}
            return http.put(path, content=data, headers=headers).status_code, data

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(update, range(8)))
    assert sorted(status for status, _ in results) == [200] + [412] * 7
    [winner] = [data for status, data in results if status == 200]
    with server.client() as http:
        assert http.get(f"/files/{name}").content == winner


# --- digests


@pytest.mark.parametrize("header", ["Repr-Digest", "Content-Digest"])
@pytest.mark.parametrize("algorithm", ["sha-256", "sha-512"])
def test_an_announced_digest(http: httpx.Client, name: str, header: str, algorithm: str) -> None:
    data = b"x" * 600_000
    path = f"/files/{name}"
    wrong = http.put(path, content=data, headers={header: digest(b"other", algorithm)})
    assert wrong.status_code == 422
    assert wrong.json()["code"] == "digest_mismatch"
    assert http.get(path).status_code == 404
    right = http.put(path, content=data, headers={header: digest(data, algorithm)})
    assert right.status_code == 201


def test_all_announced_digests_count(http: httpx.Client, name: str) -> None:
    path = f"/files/{name}"
    for headers in (
        {"Repr-Digest": digest(b"x"), "Content-Digest": digest(b"y")},
        {"Repr-Digest": digest(b"y"), "Content-Digest": digest(b"x")},
        {"Repr-Digest": f"{digest(b'x')}, {digest(b'y', 'sha-512')}"},
    ):
        assert http.put(path, content=b"x", headers=headers).status_code == 422
    headers = {"Repr-Digest": f"{digest(b'x')}, md5=:AAAA:", "Content-Digest": digest(b"x")}
    assert http.put(path, content=b"x", headers=headers).status_code == 201


@pytest.mark.parametrize("value", ["no sense", "sha-256=:AAAA:", "sha-256=abc", "sha-256", ""])
def test_a_malformed_digest(http: httpx.Client, name: str, value: str) -> None:
    refused = http.put(f"/files/{name}", content=b"x", headers={"Repr-Digest": value})
    assert refused.status_code == 400
    assert "Repr-Digest" in refused.json()["detail"]
