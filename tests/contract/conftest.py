"""The contract, and a server to hold to it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from memchunk.layout import CHUNK_BYTES
from memchunk_api.service import CONTRACT
from tests.http.serving import Server
from tests.items import Items, flipped

NAMESPACE = "contract" + secrets.token_hex(6)
# What is there when the server is asked, until it is overwritten or deleted.
FILES = ("whole", "evicted", "corrupt")


@pytest.fixture(scope="session")
def contract() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(CONTRACT.read_text())
    return loaded


@pytest.fixture(scope="session")
def server(memcached_address: str) -> Iterator[Server]:
    """A server with a file of each kind."""
    running = Server(SERVERS=memcached_address, NAMESPACE=NAMESPACE, BODY_TIMEOUT="5")
    with running.client() as http:
        for name in FILES:
            http.put(f"/files/{name}", content=bytes(3 * CHUNK_BYTES)).raise_for_status()
    items = Items(memcached_address, NAMESPACE)
    # Their first chunks: where a later one is lost, a range breaks off after its status.
    items.lose("evicted", 0)
    items.overwrite("corrupt", 0, flipped(items.chunk("corrupt", 0), 9))
    items.close()
    yield running
    running.stop()
