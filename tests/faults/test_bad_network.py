"""A network that delays, cuts, resets, trickles, repeats and garbles, under every verb.

Whatever it does, a verb gives the right bytes or an error of memchunk's own, in its time,
and a connection on which something odd was seen is not used again.
"""

from __future__ import annotations

import io
import os
import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import pytest

import memchunk
from memchunk import (
    ChangedError,
    CorruptError,
    EvictedError,
    MemchunkError,
    NotFoundError,
    StorageFullError,
    Store,
    UnavailableError,
)
from memchunk.layout import CHUNK_BYTES
from tests.relay import Relay

T = TypeVar("T")

SLOW = ("stall", "trickle")  # what makes a store wait, so that it must not wait for long
HASTY = {"timeout": 0.4, "deadline": 0.8}
PATIENT = {"timeout": 10.0, "deadline": 20.0}
# for a busy machine; a call without a deadline would take minutes
TOLERANCE_SECONDS = 5.0
PATIENCE_SECONDS = 30.0

OLD = os.urandom(CHUNK_BYTES + 1234)
NEW = os.urandom(2 * CHUNK_BYTES + 4321)
SMALL = os.urandom(3000)
VERSIONS = {"f": (OLD, NEW), "g": (OLD,), "n": (SMALL, NEW), "u": (SMALL,)}  # of each file


def read_into(store: Store) -> bytes:
    buffer = bytearray(len(OLD))
    store.read_into("f", buffer)
    return bytes(buffer)


def upload(store: Store) -> None:
    under_way = store.uploads.create("u", len(SMALL), 1000)
    for part in range(3):
        store.uploads.put_part(under_way.id, part, SMALL[part * 1000 : (part + 1) * 1000])
    store.uploads.finish(under_way.id)


READING: dict[str, Callable[[Store], bytes]] = {
    "get": lambda store: store.get("f"),
    "read_into": read_into,
    "open": lambda store: store.open("f").read(),
}
VERBS: dict[str, Callable[[Store], object]] = {
    **READING,
    "put": lambda store: store.put("n", SMALL),
    "put stream": lambda store: store.put("n", io.BytesIO(NEW)),
    "replace": lambda store: store.put("f", NEW, replace=True),
    "stat": lambda store: store.stat("f"),
    "in": lambda store: "f" in store,
    "touch": lambda store: store.touch("f", ttl=1000),
    "rename": lambda store: store.rename("f", "g"),
    "delete": lambda store: store.delete("f"),
    "list": lambda store: list(store.list()),
    "reindex": lambda store: store.reindex(),
    "upload": upload,
    "check": lambda store: store.check(),
}
# Where in the server's bytes something happens: in a status line, around a manifest, in a value.
PLACES = [0, 700, CHUNK_BYTES + 900]

FAULTS: dict[str, Callable[[Relay], None]] = {
    "delay": lambda relay: relay.delay(0.02),
    "stall": lambda relay: relay.delay(5),
    "trickle": lambda relay: relay.trickle(0.01),
    "duplicate": Relay.duplicate,
    **{f"cut after {n}": lambda relay, n=n: relay.cut_after(n) for n in PLACES},  # type: ignore[misc]
    **{f"reset after {n}": lambda relay, n=n: relay.cut_after(n, reset=True) for n in PLACES},  # type: ignore[misc]
    **{f"half-close after {n}": lambda relay, n=n: relay.half_close_after(n) for n in PLACES},  # type: ignore[misc]
    **{f"garbage after {n}": lambda relay, n=n: relay.garble_after(n) for n in PLACES},  # type: ignore[misc]
}


@pytest.fixture
def relay(memcached_address: str) -> Iterator[Relay]:
    with Relay(memcached_address) as relay:
        yield relay


@pytest.fixture
def terms(request: pytest.FixtureRequest) -> dict[str, float]:
    """How long the store waits."""
    callspec = getattr(request.node, "callspec", None)
    return HASTY if callspec and callspec.params["fault"] in SLOW else PATIENT


@pytest.fixture
def store(
    relay: Relay, memcached_address: str, namespace: str, terms: dict[str, float]
) -> Iterator[Store]:
    """A store behind the relay, with a file and an idle connection."""
    with memchunk.connect(memcached_address, namespace=namespace) as direct:
        direct.put("f", OLD)
    with memchunk.connect(relay.address, namespace=namespace, **terms) as store:  # type: ignore[arg-type]
        patiently(store.check)
        yield store


def patiently(act: Callable[[], T]) -> T:
    """Do it, again and again where a busy machine takes longer than the store waits."""
    began = time.monotonic()
    while True:
        try:
            return act()
        except UnavailableError as error:
            silent = "did not answer within" in str(error)
            if not silent or time.monotonic() > began + PATIENCE_SECONDS:
                raise
            time.sleep(0.1)


def attempt(store: Store, verb: str, deadline: float) -> MemchunkError | None:
    """Run a verb; the error that it raised. What it gives back is right, and in time."""
    began = time.monotonic()
    try:
        given = VERBS[verb](store)
    except MemchunkError as error:
        return error
    finally:
        assert time.monotonic() - began < deadline + TOLERANCE_SECONDS
    if verb in READING:
        assert given == OLD
    return None


def read_all(store: Store) -> dict[str, bytes]:
    """All files; each is one of those that were written."""
    files = {}
    for name, versions in VERSIONS.items():
        try:
            files[name] = patiently(partial(store.get, name))
        except NotFoundError:
            continue
        assert files[name] in versions
    return files


def clear(store: Store, relay: Relay, fault: str) -> None:
    relay.clear()
    if fault == "duplicate":
        # With what came twice for the true replies, a call may end before those are there. No
        # network does that to TCP, and nobody could tell.
        store.close()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("verb", VERBS)
def test_right_bytes_or_an_error_in_time(
    store: Store, relay: Relay, terms: dict[str, float], verb: str, fault: str
) -> None:
    FAULTS[fault](relay)
    error = attempt(store, verb, terms["deadline"])
    if fault == "delay":
        assert error is None
    if fault == "duplicate":
        # no connection lasts from a look to the change that depends on it, and a first answer that
        # comes again for "is the beginning still there" says no: refused, and the file as it was
        may_be = UnavailableError | ChangedError | StorageFullError
        assert error is None or isinstance(error, may_be)
    else:
        assert error is None or isinstance(error, UnavailableError)
    clear(store, relay, fault)
    patiently(store.check)
    files = read_all(store)
    if verb not in ("replace", "rename", "delete"):
        assert files["f"] == OLD
    if verb == "replace":
        assert files["f"] == (NEW if error is None else files["f"])
    if verb == "rename":  # under one name, or briefly both, never neither
        assert {"f", "g"} & files.keys()
    if error is None and verb in ("put", "put stream"):
        assert files["n"] == (SMALL if verb == "put" else NEW)


@pytest.mark.timeout(0)
def test_a_network_that_does_anything_at_any_time(store: Store, relay: Relay, torture: int) -> None:
    """One store, a fault after the other: nothing is left over from one to the next."""
    chance = random.Random(torture)
    faults = [fault for fault in FAULTS if fault not in SLOW]
    verbs = [verb for verb in VERBS if verb != "rename"]  # one that died is waited for
    for _ in range(30 * torture):
        fault, verb = chance.choice(faults), chance.choice(verbs)
        FAULTS[fault](relay)
        attempt_anything(store, verb)
        clear(store, relay, fault)
        patiently(store.check)
        read_all(store)
        patiently(lambda: store.put("f", OLD, replace=True))


def attempt_anything(store: Store, verb: str) -> None:
    """As `attempt`, where what is read may be another version by now."""
    try:
        given = VERBS[verb](store)
    except MemchunkError as error:
        assert not isinstance(error, EvictedError | CorruptError)
        return
    if verb in READING:
        assert given in (OLD, NEW)
