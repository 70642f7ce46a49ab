"""The page in a real browser, on a real server, on a real memcached."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.chromium import PROGRAMS, Visit, find_chromium, run_chromium
from tests.browser.sights import path_of
from tests.http.serving import Server
from tests.items import Items
from tests.throttle import Throttle

NAMESPACE = "page" + secrets.token_hex(6)

expect.set_options(timeout=20_000)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The browser that all tests share. Without one they are skipped, but fail in CI."""
    path = find_chromium()
    if path is None:
        missing = f"there is no browser: install one of {', '.join(PROGRAMS)}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    with run_chromium(path) as browser:
        yield browser


@pytest.fixture(scope="session")
def shared_server(memcached_address: str) -> Iterator[Server]:
    running = Server(SERVERS=memcached_address, NAMESPACE=NAMESPACE, WORKERS="2")
    yield running
    running.stop()


@pytest.fixture
def server(shared_server: Server) -> Server:
    """A server that holds no file."""
    with shared_server.client() as http:
        while files := http.get("/files").json()["files"]:
            for file in files:
                http.delete(path_of(file["name"])).raise_for_status()
    return shared_server


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """A function that starts a server of the test's own: see `Server`."""
    started: list[Server] = []

    def start(*flags: str, **environ: str) -> Server:
        started.append(Server(*flags, **environ))
        return started[-1]

    yield start
    for running in started:
        running.stop()


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    """A client of `server`, to put files there and look at them."""
    with server.client() as http:
        yield http


@pytest.fixture
def items(memcached_address: str) -> Iterator[Items]:
    """What `server` has in memcached."""
    found = Items(memcached_address, NAMESPACE)
    yield found
    found.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """A function that opens a browser context on a server; a fault in it fails the test."""
    opened: list[Visit] = []

    def open_one(server: Server | Throttle, *, host: str = "127.0.0.1", **options: Any) -> Visit:
        opened.append(Visit(browser, f"http://{host}:{server.port}", **options))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


@pytest.fixture
def look(visit: Callable[..., Visit], server: Server) -> Visit:
    """A visit of `server`."""
    return visit(server)


@pytest.fixture
def page(look: Visit) -> Page:
    """Its page."""
    return look.page


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """A function that makes a file to upload, of that many bytes."""

    def make(name: str, size: int = 1000) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(secrets.token_bytes(size))
        return path

    return make
