"""`connect()`: addresses and options become a `Store`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from memchunk.backend import Backend, check_addresses
from memchunk.names import check_namespace
from memchunk.observer import Observer
from memchunk.store import Store

LEAST_TIMEOUT_SECONDS = 0.001

LayoutName = Literal["steady", "compact"]


def connect(
    servers: str | Sequence[str],
    *,
    namespace: str = "mc1",
    layout: LayoutName = "steady",
    timeout: float = 5.0,
    connect_timeout: float = 2.0,
    observer: Observer | None = None,
) -> Store:
    """A store on the memcached at `servers`; nothing is sent before the first verb.

    Args:
        servers: `"host:port"`, `"[v6]:port"`, `"unix:/path"`, or a list of such.
        namespace: what all keys begin with; stores with different ones share a
            memcached without seeing each other. 1 to 64 of `A-Z a-z 0-9 . _ -`.
        layout: `"steady"` keeps files of all sizes about equally long in a full memcached;
            `"compact"` saves memory where all files have much the same size, between 160
            and 500 KB say, at the price of early losses in a mixture.
        timeout: the longest wait for memcached to take or give bytes, in seconds.
        connect_timeout: the longest wait for a connection, in seconds.
        observer: who is told what the store does: see `Observer`.

    Raises `ValueError` for an address, a namespace, a layout or a timeout that cannot be.
    """
    addresses = [servers] if isinstance(servers, str) else list(servers)
    check_addresses(addresses)
    check_namespace(namespace)
    if layout not in ("steady", "compact"):
        raise ValueError(f"a layout is 'steady' or 'compact', not {layout!r}")
    if min(timeout, connect_timeout) < LEAST_TIMEOUT_SECONDS:  # 0 would be for ever
        raise ValueError(f"a timeout is at least {LEAST_TIMEOUT_SECONDS} seconds")
    backend = Backend(
        addresses,
        namespace,
        timeout=timeout,
        connect_timeout=connect_timeout,
        observer=observer,
    )
    return Store(backend, compact=layout == "compact")
