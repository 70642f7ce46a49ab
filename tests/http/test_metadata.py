"""PATCH /metadata and the form that does the same: names, types, lifetimes, in one step."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest

from tests.http.conftest import NAMESPACE
from tests.http.serving import Server, assert_absent, request
from tests.http.test_losses import assert_problem
from tests.http.test_writes import digest, etag
from tests.items import Items, flipped
from tests.servers import LocalMemcached

DATA = bytes(range(256)) * 3000  # 768,000 bytes: two chunks

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def patch(http: httpx.Client, name: str, /, **members: Any) -> httpx.Response:
    return http.patch(f"/metadata/{quote(name)}", json=members)


def send_form(http: httpx.Client, name: str, /, **fields: str) -> httpx.Response:
    return http.put(f"/files/{quote(name)}", data=fields)


def rename_by_patch(http: httpx.Client, name: str, new_name: str) -> httpx.Response:
    return patch(http, name, name=new_name)


def rename_by_form(http: httpx.Client, name: str, new_name: str) -> httpx.Response:
    return send_form(http, name, file_name=new_name)


Rename = Callable[[httpx.Client, str, str], httpx.Response]
both_ways = pytest.mark.parametrize("rename", [rename_by_patch, rename_by_form])


# --- names


@both_ways
def test_a_rename(http: httpx.Client, server: Server, name: str, rename: Rename) -> None:
    before = http.put(f"/files/{name}", content=DATA).json()
    answer = rename(http, name, name + " ü?#%")
    assert answer.status_code == 200
    assert answer.json() == before | {"name": name + " ü?#%"}
    assert answer.headers["Location"] == f"/files/{name}%20%C3%BC%3F%23%25"
    assert http.get(answer.headers["Location"]).content == DATA
    assert http.get(answer.headers["Content-Location"]).json() == answer.json()
    assert_absent(server, name)


@both_ways
def test_a_rename_onto_itself_changes_nothing(
    http: httpx.Client, name: str, rename: Rename
) -> None:
    before = http.put(f"/files/{name}", content=DATA).json()
    answer = rename(http, name, name)
    assert (answer.status_code, answer.json()) == (200, before)
    assert "Location" not in answer.headers
    assert http.get(f"/files/{name}").content == DATA


@both_ways
def test_a_rename_onto_another_file(http: httpx.Client, name: str, rename: Rename) -> None:
    http.put(f"/files/{name}", content=DATA)
    http.put(f"/files/{name}2", content=b"other")
    assert_problem(rename(http, name, name + "2"), 409, "already_exists")
    assert http.get(f"/files/{name}").content == DATA
    assert http.get(f"/files/{name}2").content == b"other"


def test_a_rename_that_replaces_another_file(http: httpx.Client, name: str) -> None:
    http.put(f"/files/{name}", content=DATA)
    http.put(f"/files/{name}2", content=b"other")
    assert patch(http, name, name=name + "2", replace=True).status_code == 200
    assert http.get(f"/files/{name}2").content == DATA
    assert_problem(http.get(f"/files/{name}"), 404, "not_found")


@both_ways
def test_a_rename_of_no_file(http: httpx.Client, server: Server, name: str, rename: Rename) -> None:
    assert_problem(rename(http, name, name + "2"), 404, "not_found")
    assert_absent(server, name + "2")


@both_ways
@pytest.mark.parametrize("new_name", ["", "..", "a//b", "a/", "a\x00", "x" * 513])
def test_a_rename_to_what_is_no_name(
    http: httpx.Client, name: str, rename: Rename, new_name: str
) -> None:
    http.put(f"/files/{name}", content=DATA)
    assert_problem(rename(http, name, new_name), 400, "invalid_name")
    assert http.get(f"/files/{name}").content == DATA


@both_ways
def test_a_rename_of_a_file_that_is_lost(
    http: httpx.Client, name: str, memcached_address: str, rename: Rename
) -> None:
    items = Items(memcached_address, NAMESPACE)
    http.put(f"/files/{name}", content=DATA)
    items.lose(name, 1)
    assert_problem(rename(http, name, name + "2"), 410, "evicted")
    key = items.manifest_key(name)
    items.client.set(key, flipped(items.client.get(key), 30))
    assert_problem(rename(http, name, name + "2"), 422, "corrupt")
    items.close()


# --- types and lifetimes


def test_a_type(http: httpx.Client, name: str) -> None:
    http.put(f"/files/{name}", content=b"x")
    assert patch(http, name, content_type="text/css").json()["content_type"] == "text/css"
    assert http.get(f"/files/{name}").headers["Content-Type"] == "text/css"
    assert send_form(http, name, file_type="a/b").json()["content_type"] == "a/b"
    assert http.get(f"/files/{name}").headers["Content-Type"] == "a/b"


@pytest.mark.parametrize("way", ["member", "query", "form"])
def test_a_lifetime(http: httpx.Client, name: str, way: str) -> None:
    """It counts from now on, and can be taken away again."""
    http.put(f"/files/{name}", content=b"x")
    path, query = f"/metadata/{name}", {"ttl": "3600"}
    if way == "member":
        answer = patch(http, name, ttl=3600)
    elif way == "query":
        answer = http.patch(path, params=query, json={})
    else:
        answer = http.put(f"/files/{name}", params=query, data={"file_type": "a/b"})
    lasts = datetime.fromisoformat(answer.json()["expires_at"]) - datetime.now().astimezone()
    assert timedelta(seconds=3500) < lasts < timedelta(seconds=3602)
    assert http.get(path).json() == answer.json()
    assert patch(http, name, ttl=None).json()["expires_at"] is None
    assert http.get(path).json()["expires_at"] is None


def test_all_at_once(http: httpx.Client, server: Server, name: str) -> None:
    http.put(f"/files/{name}", content=DATA)
    info = patch(http, name, name=name + "2", content_type="text/css", ttl=60).json()
    assert (info["name"], info["content_type"]) == (name + "2", "text/css")
    assert info["expires_at"] is not None
    assert http.get(f"/metadata/{name}2").json() == info
    assert_absent(server, name)


def test_no_change(http: httpx.Client, name: str) -> None:
    before = http.put(f"/files/{name}", content=b"x").json()
    assert patch(http, name).json() == before
    assert http.get(f"/metadata/{name}").json() == before


def test_what_stays_out_of_a_change_is_kept(http: httpx.Client, name: str) -> None:
    http.put(f"/files/{name}?ttl=3600", content=b"x", headers={"Content-Type": "text/css"})
    before = http.get(f"/metadata/{name}").json()
    assert patch(http, name, name=name + "2").json() == before | {"name": name + "2"}


# --- conditions


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": etag(DATA)}, 200),
        ({"If-Match": '"other", ' + etag(DATA)}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"other"'}, 412),
        ({"If-None-Match": "*"}, 412),
        ({"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 412),
        ({"If-Match": "nonsense"}, 400),
    ],
)
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_conditions(
    http: httpx.Client, server: Server, name: str, method: str, headers: dict[str, str], status: int
) -> None:
    http.put(f"/files/{name}", content=DATA)
    if method == "PATCH":
        answer = http.patch(f"/metadata/{name}", json={"name": name + "2"}, headers=headers)
    else:
        answer = http.put(f"/files/{name}", data={"file_name": name + "2"}, headers=headers)
    assert answer.status_code == status
    stands, absent = (name + "2", name) if status == 200 else (name, name + "2")
    assert http.get(f"/files/{stands}").content == DATA
    assert_absent(server, absent)


# --- bad requests


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"nonsense", 400),
        (b"[]", 400),
        (b'{"name": null}', 400),
        (b'{"name": "a", "name": "b"}', 400),
        (b'{"size": 1}', 400),
        (b'{"ttl": NaN}', 400),
        (b'{"ttl": 1.5}', 400),
        (b'{"ttl": 0}', 400),
        (b'{"ttl": true}', 400),
        (b'{"ttl": 1' + b"0" * 4000 + b"}", 400),
        (b'{"name": "\\ud800"}', 400),
        (b'{"\\ud800": 1}', 400),
        (b'{"content_type": "\\ud800/x"}', 400),
        (b"[" * 8000, 400),
        (b'{"name": "' + b"x" * 8000 + b'"}', 400),
        (b'{"name": "' + b"x" * 9000 + b'"}', 413),
    ],
)
@pytest.mark.parametrize("content_type", ["application/json", "application/merge-patch+json"])
def test_bad_patches(
    http: httpx.Client, name: str, body: bytes, status: int, content_type: str
) -> None:
    before = http.put(f"/files/{name}", content=b"x").json()
    headers = {"Content-Type": content_type}
    answer = http.patch(f"/metadata/{name}", content=body, headers=headers)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"]
    assert http.get(f"/metadata/{name}").json() == before


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "nonsense"]
)
def test_a_patch_of_another_type(http: httpx.Client, name: str, content_type: str | None) -> None:
    http.put(f"/files/{name}", content=b"x")
    headers = {"Content-Type": content_type} if content_type else {}
    answer = http.patch(f"/metadata/{name}", content=b"{}", headers=headers)
    assert_problem(answer, 415, "unsupported_media_type")
    assert answer.headers["Accept-Patch"] == "application/json, application/merge-patch+json"


def test_a_patch_with_a_charset(http: httpx.Client, name: str) -> None:
    http.put(f"/files/{name}", content=b"x")
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    body = json.dumps({"content_type": "a/b"}).encode()
    assert http.patch(f"/metadata/{name}", content=body, headers=headers).status_code == 200


@pytest.mark.parametrize("query", ["ttl=0", "ttl=1&ttl=2", "name=x", "ttl=soon"])
def test_bad_queries(http: httpx.Client, name: str, query: str) -> None:
    http.put(f"/files/{name}", content=b"x")
    assert http.patch(f"/metadata/{name}?{query}", json={}).status_code == 400
    form = {"file_name": name + "2"}
    assert http.put(f"/files/{name}?{query}", data=form).status_code == 400


def test_a_lifetime_given_twice(http: httpx.Client, name: str) -> None:
    http.put(f"/files/{name}", content=b"x")
    answer = http.patch(f"/metadata/{name}?ttl=60", json={"ttl": 60})
    assert answer.status_code == 400
    assert "twice" in answer.json()["detail"]


def test_a_patch_that_stalls_or_is_cut_short(server: Server, name: str) -> None:
    headers = ["Content-Type: application/json", "Content-Length: 10"]
    head = request("PATCH", f"/metadata/{name}", *headers)
    assert server.exchange(head, b"{", finish=False).status == 408
    assert server.exchange(head, b"{").status == 400


def test_a_patch_is_what_its_digest_says(http: httpx.Client, name: str) -> None:
    http.put(f"/files/{name}", content=b"x")
    headers = {"Content-Type": "application/json"}
    for told, status in (b"{} ", 422), (b"{}", 200):
        headers["Content-Digest"] = digest(told)
        answer = http.patch(f"/metadata/{name}", content=b"{}", headers=headers)
        assert answer.status_code == status


def test_a_bad_name_is_told_before_the_body_is_read(server: Server) -> None:
    headers = ["Content-Type: application/json", "Content-Length: 10"]
    assert server.exchange(request("PATCH", "/metadata/..", *headers), finish=False).status == 400


def test_without_memcached(
    serve: Callable[..., Server], start_memcached: Callable[..., LocalMemcached]
) -> None:
    memcached = start_memcached()
    server = serve(SERVERS=memcached.address)
    with server.client() as http:
        http.put("/files/a", content=b"x")
        memcached.kill()
        assert_problem(patch(http, "a", name="b"), 503, "unavailable")
        assert_problem(send_form(http, "a", file_name="b"), 503, "unavailable")


# --- forms


def test_a_size_that_is_right_or_wrong(http: httpx.Client, server: Server, name: str) -> None:
    http.put(f"/files/{name}", content=DATA)
    wrong = send_form(http, name, file_name=name + "2", file_size_bytes="1")
    assert wrong.status_code == 400
    assert str(len(DATA)) in wrong.json()["detail"]
    assert_absent(server, name + "2")
    right = send_form(http, name, file_name=name + "2", file_size_bytes=str(len(DATA)))
    assert (right.status_code, right.json()["name"]) == (200, name + "2")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello world",
        b"a=b",
        b"file_name=x&other=y",
        b"file_name=x\n",
        b"file_name=x" + b"&" * 9000,
        b"\x00\xff" * 1000,
    ],
)
def test_an_urlencoded_body_that_is_no_such_form_is_a_file(
    http: httpx.Client, name: str, body: bytes
) -> None:
    """As curl --data-binary sends it."""
    for status in 201, 200:
        answer = http.put(f"/files/{name}", content=body, headers=FORM)
        assert answer.status_code == status
        assert http.get(f"/files/{name}").content == body


def test_on_post_an_urlencoded_body_is_always_a_file(http: httpx.Client, name: str) -> None:
    body = b"file_name=x"
    assert http.post(f"/files/{name}", content=body, headers=FORM).status_code == 201
    assert http.get(f"/files/{name}").content == body


def test_of_another_type_a_body_is_always_a_file(http: httpx.Client, name: str) -> None:
    body = urlencode({"file_name": "x"}).encode()
    answer = http.put(f"/files/{name}", content=body, headers={"Content-Type": "text/plain"})
    assert answer.status_code == 201
    assert http.get(f"/files/{name}").content == body


def test_a_form_in_chunks_is_a_file(http: httpx.Client, name: str) -> None:
    """What does not say how long it is is not waited for."""
    http.put(f"/files/{name}", content=iter([b"file_name=x"]), headers=FORM)
    assert http.get(f"/files/{name}").content == b"file_name=x"


def test_a_form_that_waits_for_a_word_of_ours(server: Server, name: str) -> None:
    with server.client() as http:
        http.put(f"/files/{name}", content=b"x")
    body = urlencode({"file_name": name + "2"}).encode()
    headers = [f"Content-Type: {FORM['Content-Type']}", f"Content-Length: {len(body)}"]
    head = request("PUT", f"/files/{name}", *headers, "Expect: 100-continue")
    with server.connect() as connection:
        connection.sendall(head)
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_small_file_and_its_digest(http: httpx.Client, name: str) -> None:
    for told, status in (b"other", 422), (b"a=b", 201):
        headers = FORM | {"Repr-Digest": digest(told)}
        assert http.put(f"/files/{name}", content=b"a=b", headers=headers).status_code == status
