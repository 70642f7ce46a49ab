"""The time that a call may take holds, whatever signals come, and ends with the call."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import pytest

import memchunk
from memchunk import UnavailableError
from memchunk.call import Call
from memchunk.deadline import AtLeisure, Within, deadline
from memchunk.observer import Observer
from tests.servers import LocalMemcached

METHODS = [
    Within.__enter__,
    Within.__exit__,
    Call.__exit__,
    AtLeisure.__enter__,
    AtLeisure.__exit__,
]


class Interrupt(BaseException):
    """What the handler of a signal raises."""


@contextmanager
def interrupted(function: Callable[..., object], event: str) -> Iterator[None]:
    """Cut off the function when it begins or ends (`call` or `return`), as a signal may."""

    def look(frame: FrameType, what: str, _: object) -> None:
        if frame.f_code is function.__code__ and what == event:
            sys.setprofile(None)
            raise Interrupt

    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("event", ["call", "return"])
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__qualname__)
def test_an_interrupt_leaves_no_deadline_behind(method: Callable[..., object], event: str) -> None:
    cut_off = False
    try:
        with interrupted(method, event), Call(Observer(), "f", 5), Within(5), AtLeisure():
            pass
    except Interrupt:
        cut_off = True
    assert cut_off
    assert deadline(math.inf).seconds == math.inf


def test_a_call_after_an_interrupted_one_has_its_own_time(
    memcached_address: str, namespace: str
) -> None:
    with memchunk.connect(memcached_address, namespace=namespace, deadline=0.5) as store:
        store.put("f", b"content")
        with suppress(Interrupt), interrupted(Within.__exit__, "call"):
            store.get("f")
        time.sleep(0.6)
        assert store.get("f") == b"content"


def test_one_call_in_another_shares_its_time_but_not_what_is_the_users() -> None:
    with Within(5):
        outer = deadline(math.inf)
        with Within(60):
            assert deadline(math.inf) is outer
            with AtLeisure():
                assert deadline(math.inf) is not outer
                with Within(7):
                    assert deadline(math.inf).seconds == 7
                assert deadline(math.inf).seconds == math.inf
            assert deadline(math.inf) is outer
        assert deadline(math.inf) is outer
    assert deadline(math.inf).seconds == math.inf


@contextmanager
def signalled(every: float, rescue: Callable[[], None]) -> Iterator[None]:
    """A signal comes so often, as to what is profiled; after five seconds to the rescue."""
    until = time.monotonic() + 5

    def handle(*_: object) -> None:
        if time.monotonic() > until:
            rescue()

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, every, every)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("unix", [False, True])
@pytest.mark.parametrize(("limit", "other"), [("timeout", "deadline"), ("deadline", "timeout")])
@pytest.mark.parametrize("verb", ["get", "put"])
def test_a_wait_ends_in_a_program_that_takes_signals(
    start_memcached: Callable[..., LocalMemcached], verb: str, limit: str, other: str, unix: bool
) -> None:
    server = start_memcached(unix=unix)
    limits: dict[str, float] = {limit: 0.4, other: 60}
    content = os.urandom(20_000_000)  # more than there is room for on the way
    with memchunk.connect(server.address, **limits) as store:  # type: ignore[arg-type]
        store.put("f", b"content")
        server.pause()
        try:
            with signalled(0.05, server.resume), pytest.raises(UnavailableError, match=r"0\.4 s"):
                if verb == "get":
                    store.get("f")
                else:
                    store.put("g", content)
        finally:
            server.resume()
