"""What every test may ask for. All of them run on a real memcached: see servers.py."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import settings

import memchunk
from memchunk import Store
from tests.items import Items
from tests.servers import LocalMemcached, shared_server

ORIGIN = pytest.StashKey[str]()
MUCH_BYTES = 2 * 1024 * 1024

# no deadline: an example that waits for a busy machine has done nothing wrong
settings.register_profile("memchunk", deadline=None)
settings.load_profile("memchunk")

# what a shell starts in the background ignores Ctrl-C, and so would all that a test starts
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def memcached_address(pytestconfig: pytest.Config) -> Iterator[str]:
    """The server that all tests share, of 1024 MiB; each test in a `namespace` of its own."""
    with shared_server() as (address, origin):
        pytestconfig.stash[ORIGIN] = f"{origin} at {address}"
        yield address


@pytest.fixture
def namespace(memcached_address: str) -> Iterator[str]:
    """A namespace that no other test uses. Much that a test leaves in it is deleted.

    All of them together would fill the server, and evict what a later test relies on.
    """
    items = Items(memcached_address, "t" + secrets.token_hex(6))
    before = items.bytes_of_all()
    yield items.namespace
    if items.bytes_of_all() - before > MUCH_BYTES:
        items.delete_all()
    items.close()


@pytest.fixture
def store(memcached_address: str, namespace: str) -> Iterator[Store]:
    """A store in the test's namespace of the shared server."""
    with memchunk.connect(memcached_address, namespace=namespace) as store:
        yield store


@pytest.fixture
def items(memcached_address: str, namespace: str) -> Iterator[Items]:
    """The items of that store."""
    items = Items(memcached_address, namespace)
    yield items
    items.close()


@pytest.fixture
def start_memcached() -> Iterator[Callable[..., LocalMemcached]]:
    """A function that starts a server to hurt: `start_memcached("-m", "64", unix=True)`."""
    started: list[LocalMemcached] = []

    def start(*options: str, **where: Any) -> LocalMemcached:
        started.append(LocalMemcached(*options, **where))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say which memcached the tests ran on."""
    if ORIGIN in config.stash:
        terminalreporter.write_line(f"memcached: {config.stash[ORIGIN]}")
