"""`update` changes the name, the type and the lifetime in one step, and moves no chunk."""

from __future__ import annotations

from typing import Any

import pytest

from memchunk import ChangedError, EvictedError, InvalidNameError, Store
from tests.items import Items


def test_update_changes_all_in_one_step(store: Store, items: Items) -> None:
    before = store.put("f", b"x" * 600_000)
    after = store.update("f", new_name="g", content_type="text/x-log", ttl=100)
    assert (after.name, after.content_type, after.sha256) == ("g", "text/x-log", before.sha256)
    assert after.expires_at is not None
    assert store.stat("g") == after
    assert "f" not in store
    # chunks outlive their manifest, so that a slow reader can finish
    expiries = {key.split(":")[1][0]: expires for key, expires in items.all().items()}
    assert expiries["c"] > expiries["m"] > 0


def test_update_leaves_what_is_not_named(store: Store) -> None:
    before = store.put("f", b"x", ttl=100, content_type="text/x-log")
    assert store.update("f") == before
    assert store.update("f", new_name="f") == before
    retyped = store.update("f", content_type="text/plain")
    assert (retyped.expires_at, retyped.created_at) == (before.expires_at, before.created_at)
    assert store.update("f", ttl=None).content_type == "text/plain"


def test_update_if_it_is_the_file_expected(store: Store) -> None:
    info = store.put("f", b"x")
    with pytest.raises(ChangedError):
        store.update("f", new_name="g", content_type="text/plain", if_match={"0" * 64})
    assert store.stat("f") == info
    assert "g" not in store
    assert store.update("f", new_name="g", if_match={info.sha256}).name == "g"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"new_name": "a//b"}, InvalidNameError),
        ({"content_type": "nonsense"}, ValueError),
        ({"content_type": ""}, ValueError),
        ({"ttl": 0}, ValueError),
        ({"ttl": "60"}, TypeError),
    ],
)
def test_update_refuses_what_cannot_be(
    store: Store, changes: dict[str, Any], error: type[Exception]
) -> None:
    info = store.put("f", b"x")
    with pytest.raises(error):
        store.update("f", **changes)
    assert store.stat("f") == info


def test_update_of_a_file_that_lost_chunks(store: Store, items: Items) -> None:
    store.put("f", b"x" * 2_000_000)
    items.lose("f", 1)
    changes_to_try: list[dict[str, Any]] = [
        {"new_name": "g"},
        {"ttl": 60},
        {"ttl": None, "new_name": "g"},
    ]
    for changes in changes_to_try:
        with pytest.raises(EvictedError) as caught:
            store.update("f", **changes)
        assert caught.value.missing == (1,)
    assert store.update("f", content_type="text/plain").content_type == "text/plain"
