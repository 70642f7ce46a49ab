"""`connect()`: addresses and options become a `Store`."""

from __future__ import annotations

import math
import ssl
from collections.abc import Sequence
from typing import Literal

from memchunk.backend import Backend, check_addresses
from memchunk.names import check_namespace
from memchunk.observer import Observer
from memchunk.store import Store
from memchunk.wire import Terms

LayoutName = Literal["steady", "compact"]


def connect(
    servers: str | Sequence[str],
    *,
    namespace: str = "mc1",
    layout: LayoutName = "steady",
    timeout: float = 5.0,
    connect_timeout: float = 2.0,
    deadline: float | None = 60.0,
    tls: ssl.SSLContext | None = None,
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
        deadline: the longest time that a verb may take with memcached, in seconds, or None
            for as long as it goes on. What a put's source or `read_into`'s function takes
            does not count. Each chunk that is read from `open`, and each part of a listing,
            has that time.
        tls: talk TLS to the servers, by this context.
        observer: who is told what the store does: see `Observer`.

    Raises `ValueError` for an address, a namespace, a layout or a timeout that cannot be.
    """
    addresses = [servers] if isinstance(servers, str) else list(servers)
    check_addresses(addresses, tls=tls is not None)
    check_namespace(namespace)
    if layout not in ("steady", "compact"):
        raise ValueError(f"a layout is 'steady' or 'compact', not {layout!r}")
    terms = Terms(timeout, connect_timeout, math.inf if deadline is None else deadline, tls)
    backend = Backend(addresses, namespace, terms, observer=observer)
    return Store(backend, compact=layout == "compact")
