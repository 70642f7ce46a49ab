"""What the attacks share. They run for minutes, and only when asked for: `make faults`.

`make torture` runs them for long: then `torture` is large.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.http.serving import Server

LONG = 10  # times as much as in CI


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give what is done so many times over as many times the time, where it sets none itself."""
    if os.environ.get("MEMCHUNK_TORTURE"):
        for item in items:
            if "torture" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.timeout(LONG * 120))


@pytest.fixture(scope="session")
def torture() -> int:
    """How many times as much as in CI there is to be done."""
    return LONG if os.environ.get("MEMCHUNK_TORTURE") else 1


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """A function that starts a server of the test's own: see `Server`."""
    started: list[Server] = []

    def start(**environ: str) -> Server:
        started.append(Server(**environ))
        return started[-1]

    yield start
    for running in started:
        running.stop()
