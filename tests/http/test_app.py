"""The application without a server around it: what only a fault in it can show."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable, Iterator
from typing import Any, cast

import falcon
import pytest
from falcon import testing

from memchunk import FileInfo, MemchunkError, Store, connect
from memchunk_api.app import create_app
from memchunk_api.settings import MIB, Settings


class Broken:
    """A resource with faults."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        raise KeyError("secret")

    def on_put(self, req: falcon.Request, resp: falcon.Response) -> None:
        raise MemchunkError("of no kind")


@pytest.fixture
def store(memcached_address: str, namespace: str) -> Iterator[Store]:
    with connect(memcached_address, namespace=namespace) as found:
        yield found


@pytest.fixture
def client(store: Store) -> testing.TestClient:
    app: falcon.App[Any, Any] = create_app(store, Settings())
    app.add_route("/broken", Broken())
    return testing.TestClient(app)


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_fault_is_logged_and_not_told(
    client: testing.TestClient, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    with caplog.at_level(logging.ERROR, "memchunk_api"):
        answer = client.simulate_request(method, "/broken")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["code"] == "internal_error"
    assert "secret" not in answer.text
    assert "no kind" not in answer.text
    [record] = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[0] in (KeyError, MemchunkError)


def test_it_needs_no_gunicorn(client: testing.TestClient) -> None:
    """Any WSGI server will do: no socket in the environment, no deadline."""
    data = b"x" * 1_000_000
    assert client.simulate_put("/files/a", body=data).status_code == 201
    assert client.simulate_get("/files/a").content == data
    assert client.simulate_get("/files/a", headers={"Range": "bytes=5-6"}).content == b"xx"


class Meddling:
    """A store in which somebody else replaces a file just as it is about to be read."""

    def __init__(self, store: Store, replacement: bytes) -> None:
        self._store = store
        self._replacement: bytes | None = replacement

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._store, verb)

    def _replace(self, name: str) -> None:
        if self._replacement is not None:
            self._store.put(name, self._replacement, replace=True)
            self._replacement = None

    def read_into(self, name: str, allocate: Callable[[FileInfo], memoryview]) -> int:
        def allocate_and_meddle(info: FileInfo) -> memoryview:
            buffer = allocate(info)
            self._replace(name)
            return buffer

        return self._store.read_into(name, allocate_and_meddle)

    def open(self, name: str) -> io.BufferedReader:
        file = self._store.open(name)
        self._replace(name)
        return file


@pytest.mark.parametrize("value", [None, "bytes=0-", "bytes=5-"])
def test_a_file_replaced_at_the_worst_moment(store: Store, value: str | None) -> None:
    """The new file is sent, with its own headers; the memory for the old one was given back."""
    old, new = bytes(30_000_000), b"x" * 29_000_000
    store.put("a", old)
    meddling = cast(Store, Meddling(store, new))
    app = create_app(meddling, Settings(buffer_bytes=50 * MIB))
    headers = {"Range": value} if value else {}
    answer = testing.TestClient(app).simulate_get("/files/a", headers=headers)
    assert answer.status_code == (206 if value else 200)
    assert answer.content == new[5 if value == "bytes=5-" else 0 :]
    assert answer.headers["ETag"] == f'"{hashlib.sha256(new).hexdigest()}"'
    assert answer.headers["Content-Length"] == str(len(answer.content))
    if value:
        assert answer.headers["Content-Range"].endswith(f"-28999999/{len(new)}")
    store.delete("a")


def test_two_applications_share_nothing(store: Store) -> None:
    one = create_app(store, Settings(token="one"))
    other = create_app(store, Settings())
    assert testing.TestClient(one).simulate_get("/files/a").status_code == 401
    assert testing.TestClient(other).simulate_get("/files/a").status_code == 404
