"""Interrupted (Ctrl-C, a time limit) at any moment, a write leaves the old file or the new."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any

import pytest

from memchunk import NotFoundError, Store, amend, committing, writer
from tests.items import Items
from tests.test_owed import forever

OLD, NEW = os.urandom(3000), os.urandom(5000)
WHERE = {module.__file__ for module in (writer, committing, amend)}


class Interrupted(BaseException):
    """Comes out of the blue, as KeyboardInterrupt does."""


def interrupted(moment: int, act: Callable[[], object]) -> bool:
    """Do it, and interrupt it at that moment (from 0); False where it is over before.

    The moments are those before each instruction of the modules `WHERE`, and each return.
    """
    left = moment

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in WHERE:
            return None
        frame.f_trace_opcodes = True
        if event in ("opcode", "return"):
            left -= 1
            if left < 0:
                sys.settrace(None)
                raise Interrupted
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    except Interrupted:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("old", [None, OLD], ids=["new", "replaced"])
@pytest.mark.parametrize("ttl", [None, 1000])
def test_at_any_moment_of_a_put(
    store: Store, items: Items, old: bytes | None, ttl: int | None
) -> None:
    moment = 0
    while True:
        with suppress(NotFoundError):
            store.delete("f")
        if old is not None:
            store.put("f", old)
        if not interrupted(moment, lambda: store.put("f", NEW, replace=True, ttl=ttl)):
            break
        try:
            assert store.get("f") in (old, NEW)
        except NotFoundError:
            assert old is None
        store.put(f"g{moment}", b"")  # what is owed is done before the next write
        store.delete(f"g{moment}")
        moment += 1
    assert moment > 100
    assert forever(items) == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda store, name, _: store.touch(name, ttl=1000),
        lambda store, name, new: store.rename(name, new, replace=True),
        lambda store, name, new: store.update(name, new_name=new, replace=True, ttl=1000),
    ],
    ids=["touch", "rename", "both"],
)
def test_at_any_moment_of_a_change(
    store: Store, items: Items, change: Callable[[Store, str, str], object]
) -> None:
    """Chunks stay for good where their file does, and only there."""
    moment = 0
    while True:
        name, new = f"f{moment}", f"g{moment}"
        store.put(name, OLD)
        store.put(new, NEW)
        if not interrupted(moment, partial(change, store, name, new)):
            break
        store.put("h", b"", replace=True)  # what is owed is done before the next write
        held = [store.get(each) for each in (name, new) if each in store]
        assert held in ([OLD, NEW], [OLD])
        moment += 1
    assert moment > 100
    assert forever(items) == 0
    expires = items.all()
    for info in store.list():
        if info.size:
            manifest, chunk = items.manifest_key(info.name), items.chunk_key(info.name, 0)
            assert (expires[manifest] == -1) == (expires[chunk] == -1)
