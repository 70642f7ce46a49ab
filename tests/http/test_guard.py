"""The token: every route wants it, whole and exact, and it is never written down."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator

import pytest
from falcon import inspect

from memchunk import Store
from memchunk_api.app import create_app
from memchunk_api.settings import Settings
from tests.http.conftest import NAMESPACE
from tests.http.serving import Server, request

TOKEN = "c0rrect-h0rse"
OPEN = {"/livez", "/readyz"}


@pytest.fixture(scope="module")
def guarded(memcached_address: str) -> Iterator[Server]:
    running = Server(SERVERS=memcached_address, NAMESPACE="guard" + NAMESPACE, TOKEN=TOKEN)
    yield running
    running.stop()


def test_every_route_but_the_probes_wants_it(guarded: Server, store: Store) -> None:
    routes = inspect.inspect_routes(create_app(store, Settings()))
    assert {route.path for route in routes} >= OPEN
    with guarded.client() as http:
        for route in routes:
            path = re.sub(r"{\w+(:\w+)?}", "x", route.path)
            for method in "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
                status = http.request(method, path).status_code
                assert (status != 401) == (route.path in OPEN), (method, path, status)


def basic(credentials: bytes) -> bytes:
    return b"Basic " + base64.b64encode(credentials)


@pytest.mark.parametrize(
    "given",
    [
        b"Bearer",
        b"Bearer " + TOKEN[:-1].encode(),
        b"Bearer " + TOKEN.encode() + b"x",
        b"Bearer " + TOKEN.upper().encode(),
        b"Bearer " + TOKEN.encode() + b"\xff",
        b"Bearer \xc3\xbc",
        b"Bearer " + b"x" * 5000,
        basic(b":"),
        basic(TOKEN.encode()),
        basic(TOKEN.encode() + b":"),
        basic(b"who:" + TOKEN.encode() + b":"),
        basic(b"who:x:" + TOKEN.encode()),
        basic(b"who:\xff"),
        b"Basic " + b"=" * 7,
        b"Basic \xff",
        TOKEN.encode(),
    ],
)
def test_what_is_not_it_is_refused(guarded: Server, given: bytes) -> None:
    with guarded.client() as http:
        assert http.get("/files", headers={b"Authorization": given}).status_code == 401


def test_a_password_may_have_colons(
    serve: Callable[..., Server], memcached_address: str, namespace: str
) -> None:
    server = serve(SERVERS=memcached_address, NAMESPACE=namespace, TOKEN="a:b:c")
    with server.client() as http:
        right, wrong = basic(b"who:a:b:c"), basic(b"who:a:b")
        assert http.get("/files", headers={b"Authorization": right}).status_code == 200
        assert http.get("/files", headers={b"Authorization": wrong}).status_code == 401


def test_it_is_never_written_down(
    serve: Callable[..., Server], memcached_address: str, namespace: str
) -> None:
    """Wherever a client puts it, and whatever goes wrong with its request."""
    server = serve(SERVERS=memcached_address, NAMESPACE=namespace, TOKEN=TOKEN)
    with server.client() as http:
        for headers in (
            {b"Authorization": b"Bearer " + TOKEN.encode()},
            {b"Authorization": basic(b"who:" + TOKEN.encode())},
            {b"Authorization": TOKEN.encode()},
            {b"Cookie": TOKEN.encode(), b"Referer": b"http://x/?" + TOKEN.encode()},
        ):
            for path in "/files/none", "/files", "/nowhere", "/files/%ff", "/livez":
                http.get(f"{path}?token={TOKEN}", headers=headers)
                http.put(f"{path}?ttl={TOKEN}", content=b"x", headers=headers)
        http.get(f"http://who:{TOKEN}@127.0.0.1:{server.port}/files/none")
    authorized = f"Authorization: Bearer {TOKEN}"
    for broken in (
        request("GET", "/files", authorized, "Bad Header: x"),
        request("GET", f"http://who:{TOKEN}@here/files/x"),
        request("BREW", f"/files?token={TOKEN}", authorized),
        request("PUT", "/files/x", authorized, "Transfer-Encoding: chunked", body=b"x\r\n"),
        request("GET", "/files", f"Authorization: Bearer {TOKEN}" + "x" * 9000),
        request("GET", "/files", f"{TOKEN}\x00: x"),
    ):
        server.exchange(broken)
    log = server.log()
    assert log.count("\n") > 40
    assert TOKEN not in log
    assert basic(b"who:" + TOKEN.encode())[6:].decode() not in log
