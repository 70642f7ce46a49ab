"""A server that the tests share, each with file names of its own, and servers to hurt."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import closing

import httpx
import pytest

from tests.http.scripted import Script
from tests.http.serving import Server
from tests.items import Items

NAMESPACE = "http" + secrets.token_hex(6)


@pytest.fixture(scope="session")
def server(memcached_address: str) -> Iterator[Server]:
    """The server most tests ask: two workers, the default budget, on the shared memcached."""
    running = Server(SERVERS=memcached_address, NAMESPACE=NAMESPACE, WORKERS="2", BODY_TIMEOUT="1")
    yield running
    running.stop()


@pytest.fixture(scope="module", autouse=True)
def _room(memcached_address: str) -> Iterator[None]:
    """Delete what the tests of a module leave there: a full server evicts."""
    yield
    with closing(Items(memcached_address, NAMESPACE)) as items:
        items.delete_all()


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    """A client of `server`."""
    with server.client() as client:
        yield client


@pytest.fixture
def name() -> str:
    """A file name that no other test uses."""
    return "test/" + secrets.token_hex(8)


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
def script() -> Iterator[Callable[..., Script]]:
    """A function that starts a server with its answers: see `Script`."""
    started: list[Script] = []

    def start(*answers: bytes) -> Script:
        started.append(Script(*answers))
        started[-1].listen()
        return started[-1]

    yield start
    for each in started:
        each.close()
