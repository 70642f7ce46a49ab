"""One stack for all tests here. `.ci/containers` finds the engine; without one they fail."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.containers.stack import Stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The stack of docker-compose.yml, healthy."""
    running = Stack()
    yield running
    running.down()
