"""Many clients at once on few names: what they saw is what can have been."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

import memchunk
from tests.faults.crowd import Crowd, Terms, last_look
from tests.faults.history import Call, objections
from tests.faults.sweep import orphans, short_lived
from tests.items import Items
from tests.servers import LocalMemcached

NAMES = ("a", "b", "c", "d")
ROUNDS = 12
SECONDS = 0.5
OUTCOMES = {"ok", "not_found", "already_exists", "changed"}


@pytest.mark.timeout(4000)
def test_what_clients_saw_at_once_can_have_been(
    start_memcached: Callable[..., LocalMemcached], torture: int
) -> None:
    """Small slots, so that small files have many chunks."""
    memcached = start_memcached("-m", "512", "-o", "slab_chunk_max=16384")
    seen: Counter[tuple[str, str]] = Counter()
    with Crowd() as crowd:
        for turn in range(ROUNDS * torture):
            namespace = "r" + secrets.token_hex(6)
            terms = Terms(memcached.address, namespace, NAMES, seconds=SECONDS, seed=turn)
            history, _ = crowd.run(terms, partial(sweep, terms))
            history += last_look(memcached.address, namespace, NAMES)
            assert {call.outcome for call in history} <= OUTCOMES
            assert objections(history, NAMES) == []
            items = Items(memcached.address, namespace)
            assert orphans(items) == {}
            assert short_lived(items) == set()
            items.close()
            seen.update((call.verb, call.outcome) for call in history)
    print(*(f"{verb} {outcome}: {count}" for (verb, outcome), count in sorted(seen.items())))
    for verb in ("put", "create", "match", "read", "delete", "rename", "replace", "list"):
        assert seen[verb, "ok"], f"no {verb} has ever succeeded"


def sweep(terms: Terms) -> list[Call]:
    """Sweep as often as it goes: no file is overlooked, however often it is renamed meanwhile."""
    until = time.monotonic() + terms.seconds
    with memchunk.connect(terms.address, namespace=terms.namespace) as store:
        while time.monotonic() < until:
            store.sweep()
    return []
