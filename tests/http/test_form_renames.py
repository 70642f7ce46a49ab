"""PUT with a form that renames: the new content, under a new name, in one request."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, cast

import httpx
import pytest
from falcon import testing

from memchunk import FileInfo, Store
from memchunk_api.app import create_app
from memchunk_api.settings import Settings
from tests.http.conftest import NAMESPACE
from tests.http.serving import Server, assert_absent, read_answer, request
from tests.http.test_forms import BIG, END, FORM, part
from tests.http.test_losses import assert_problem
from tests.http.test_writes import etag
from tests.items import Items
from tests.servers import LocalMemcached

FILE_FIRST, NAME_FIRST = "file first", "name first"
in_both_orders = pytest.mark.parametrize("order", [FILE_FIRST, NAME_FIRST])
of_both_sizes = pytest.mark.parametrize("content", [b"new", BIG], ids=["small", "big"])


def form(content: bytes, new_name: str | bytes, order: str = FILE_FIRST) -> bytes:
    encoded = new_name.encode() if isinstance(new_name, str) else new_name
    parts = [part(content, 'name="file"; filename="c.dat"'), part(encoded, 'name="file_name"')]
    return b"".join(parts if order == FILE_FIRST else reversed(parts)) + END


def put(http: httpx.Client, name: str, body: bytes, **headers: str) -> httpx.Response:
    headers = {key.replace("_", "-"): value for key, value in headers.items()}
    return http.put(f"/files/{name}", content=body, headers={"Content-Type": FORM} | headers)


@in_both_orders
@of_both_sizes
@pytest.mark.parametrize("is_there", [False, True])
def test_the_new_content_gets_the_new_name(
    http: httpx.Client, server: Server, name: str, order: str, content: bytes, is_there: bool
) -> None:
    if is_there:
        http.put(f"/files/{name}", content=b"old")
    answer = put(http, name, form(content, name + " ü#2.css", order))
    assert answer.status_code == 201
    assert answer.json()["name"] == name + " ü#2.css"
    assert answer.headers["ETag"] == etag(content)
    found = http.get(answer.headers["Location"])
    assert found.content == content
    assert found.headers["Content-Type"] == "text/css"  # as if it had been put there
    assert_absent(server, name)


@in_both_orders
@of_both_sizes
def test_where_the_new_name_is_taken_nothing_changes(
    http: httpx.Client, name: str, order: str, content: bytes
) -> None:
    http.put(f"/files/{name}", content=b"old")
    http.put(f"/files/{name}2", content=b"other")
    answer = put(http, name, form(content, name + "2", order))
    problem = assert_problem(answer, 409, "already_exists")
    assert "stored" not in problem
    assert http.get(f"/files/{name}").content == b"old"
    assert http.get(f"/files/{name}2").content == b"other"


@in_both_orders
@of_both_sizes
@pytest.mark.parametrize(
    "new_name", ["", "..", "a//b", "a\x00", "x" * 513, "x" * 10_240, b"\xff", "a\r\nb"]
)
def test_a_bad_new_name_changes_nothing(
    http: httpx.Client, name: str, order: str, content: bytes, new_name: str | bytes
) -> None:
    http.put(f"/files/{name}", content=b"old")
    answer = put(http, name, form(content, new_name, order))
    assert answer.status_code == 400
    assert answer.json()["detail"]
    assert http.get(f"/files/{name}").content == b"old"


@in_both_orders
def test_the_same_name_is_no_rename(http: httpx.Client, name: str, order: str) -> None:
    for status in 201, 200:
        answer = put(http, name, form(b"new", name, order))
        assert answer.status_code == status
        assert http.get(f"/files/{name}").content == b"new"


def test_two_new_names(http: httpx.Client, server: Server, name: str) -> None:
    body = part(b"a", 'name="file_name"') + form(b"new", "b")
    assert put(http, name, body).status_code == 400
    assert_absent(server, name)


def test_a_damaged_file_in_the_way_is_no_obstacle(
    http: httpx.Client, server: Server, name: str, memcached_address: str
) -> None:
    """As everywhere: what cannot be read is stored again."""
    http.put(f"/files/{name}2", content=b"other")
    items = Items(memcached_address, NAMESPACE)
    items.lose(name + "2", 0)
    items.close()
    assert put(http, name, form(b"new", name + "2")).is_success
    assert http.get(f"/files/{name}2").content == b"new"
    assert_absent(server, name)


@in_both_orders
@of_both_sizes
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": etag(b"old")}, 201),
        ({"If-Match": '"other"'}, 412),
        ({"If-None-Match": "*"}, 412),
        ({"If-Match": "*"}, 201),
    ],
)
def test_conditions_are_about_the_old_name(
    http: httpx.Client,
    server: Server,
    name: str,
    order: str,
    content: bytes,
    headers: dict[str, str],
    status: int,
) -> None:
    http.put(f"/files/{name}", content=b"old")
    answer = put(http, name, form(content, name + "2", order), **headers)
    assert answer.status_code == status
    if status == 201:
        assert http.get(f"/files/{name}2").content == content
        assert_absent(server, name)
    else:
        assert http.get(f"/files/{name}").content == b"old"
        assert_absent(server, name + "2")


def test_with_conditions_a_taken_name_is_still_a_conflict(http: httpx.Client, name: str) -> None:
    http.put(f"/files/{name}", content=b"old")
    http.put(f"/files/{name}2", content=b"other")
    answer = put(http, name, form(b"new", name + "2"), If_Match=etag(b"old"))
    assert_problem(answer, 409, "already_exists")
    assert http.get(f"/files/{name}").content == b"old"


@pytest.mark.parametrize("cut", [1, 10, 60, 200])
def test_a_form_cut_short_changes_nothing(server: Server, name: str, cut: int) -> None:
    body = form(BIG, name + "2")
    headers = [f"Content-Type: {FORM}", f"Content-Length: {len(body)}"]
    with server.client() as http:
        http.put(f"/files/{name}", content=b"old")
        assert (
            server.exchange(request("PUT", f"/files/{name}", *headers), body[:-cut]).status == 400
        )
        assert http.get(f"/files/{name}").content == b"old"
    assert_absent(server, name + "2")


def test_on_post_a_new_name_means_nothing(http: httpx.Client, server: Server, name: str) -> None:
    """There the filename is the name, or the path."""
    mark = secrets.token_hex(8)
    created = http.post("/files", files={"file": (mark, b"x")}, data={"file_name": mark + "2"})
    assert created.json()["name"] == mark
    created = http.post(f"/files/{name}", files={"file": (mark, b"x")}, data={"file_name": "y"})
    assert created.json()["name"] == name


class Meddling:
    """A store in which somebody else puts a file just before another is renamed."""

    def __init__(self, store: Store, taken: str) -> None:
        self._store = store
        self._taken = taken

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._store, verb)

    def __contains__(self, name: str) -> bool:
        return name in self._store

    def update(self, name: str, *, new_name: str, **changes: Any) -> FileInfo:
        self._store.put(self._taken, b"other", replace=True)
        return self._store.update(name, new_name=new_name, **changes)


def put_meanwhile(store: Store, taken: str) -> testing.Result:
    """The answer to a form for `a` that renames it to `b`, while somebody else takes a name."""
    client = testing.TestClient(create_app(cast(Store, Meddling(store, taken)), Settings()))
    return client.simulate_put("/files/a", body=form(b"new", "b"), headers={"Content-Type": FORM})


def test_a_file_put_by_somebody_else_at_the_worst_moment_is_not_renamed(store: Store) -> None:
    store.put("a", b"old")
    answer = put_meanwhile(store, taken="a")
    assert answer.status_code == 412
    assert "stored" not in answer.json
    assert store.get("a") == b"other"
    assert "b" not in store


def test_a_name_taken_at_the_worst_moment_is_told_with_what_was_stored(store: Store) -> None:
    """The content is safe under the path's name, and nobody else's file is harmed."""
    store.put("a", b"old")
    answer = put_meanwhile(store, taken="b")
    assert (answer.status_code, answer.json["stored"]) == (409, ["a"])
    assert (store.get("a"), store.get("b")) == (b"new", b"other")


def test_without_memcached_the_content_has_one_of_its_names(
    serve: Callable[..., Server], start_memcached: Callable[..., LocalMemcached]
) -> None:
    memcached = start_memcached()
    server = serve(SERVERS=memcached.address, WORKERS="1")
    body = form(BIG, "b")
    headers = [f"Content-Type: {FORM}", f"Content-Length: {len(body)}"]
    with server.client() as http, server.connect() as connection:
        http.put("/files/a", content=b"old")
        connection.sendall(request("PUT", "/files/a", *headers) + body[:-5])
        memcached.pause()
        connection.sendall(body[-5:])
        assert read_answer(connection).status == 503
        memcached.resume()
        while (found := http.get("/files/a")).status_code == 503:
            pass  # a server that was away is given a moment
        assert found.content in (b"old", BIG)
        assert http.get("/files/b").status_code == 404
