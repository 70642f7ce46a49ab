from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import pytest

import memchunk
from memchunk.call import Call
from memchunk.deadline import AtLeisure, Within, deadline
from memchunk.observer import Observer

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
