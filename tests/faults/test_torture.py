"""memcached is killed, frozen and restarted while everybody works on it, and so are its clients."""

from __future__ import annotations

import math
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

import memchunk
from memchunk import Store
from tests.faults.crowd import TYPED, Crowd, Terms, last_look
from tests.faults.history import UNKNOWN_OUTCOMES, Call, objections
from tests.faults.sweep import GRACE_SECONDS, orphans
from tests.items import Items
from tests.servers import LocalMemcached

NAMES = ("a", "b", "c", "d")
ROUNDS = 8
TIMEOUT_SECONDS, DEADLINE_SECONDS = 0.5, 2.0
BUSY_SECONDS = 5.0  # how much later a call may end, on a machine that is busy with the others

Fault = Callable[[LocalMemcached, Crowd], list[Call]]

dice = random.Random()


def restart(memcached: LocalMemcached, _: Crowd) -> list[Call]:
    """Kill it and start it again, at once or after a while: all is lost."""
    start = time.monotonic()
    memcached.kill()
    time.sleep(dice.choice([0, 0.2]))
    memcached.start()
    return [Call("wipe", "", start, time.monotonic())]


def freeze(memcached: LocalMemcached, _: Crowd) -> list[Call]:
    """Stop it for a shorter or a longer time than its clients wait for an answer."""
    memcached.pause()
    time.sleep(dice.choice([0.1, 0.6, 1.2]))
    memcached.resume()
    return []


def kill_clients(_: LocalMemcached, crowd: Crowd) -> list[Call]:
    """One process is gone, in the middle of what its threads do."""
    crowd.kill_one()
    return []


@pytest.mark.timeout(20_000)
@pytest.mark.parametrize("fault", [restart, freeze, kill_clients])
def test_whatever_happens(
    start_memcached: Callable[..., LocalMemcached], torture: int, fault: Fault
) -> None:
    """Right bytes or typed errors, in time, and a history that can have been."""
    memcached = start_memcached("-m", "512", "-o", "slab_chunk_max=16384")
    seen: Counter[str] = Counter()
    with Crowd() as crowd:
        for turn in range(ROUNDS * torture):
            terms = Terms(
                memcached.address,
                namespace="t" + secrets.token_hex(6),
                names=NAMES,
                seconds=0.6,
                seed=turn,
                timeout=TIMEOUT_SECONDS,
                deadline=DEADLINE_SECONDS,
            )
            history, wipes = crowd.run(terms, lambda: strike(fault, memcached, crowd))
            seen.update(call.outcome for call in history)
            check_calls(history)
            with memchunk.connect(memcached.address, namespace=terms.namespace) as store:
                check_what_is_left(history, Items(memcached.address, terms.namespace), store, seen)
                store.reindex()
            # who is cut off between a commit and its record leaves a file that is not listed
            history = [replace(c, verb="find") if c.verb == "list" else c for c in history]
            # nor does the error of who waited in vain for a dead rename tell what stood there
            history = [c for c in history if c.outcome != "changed"]
            history += wipes + last_look(memcached.address, terms.namespace, NAMES)
            assert objections(history, NAMES) == []
    print(*(f"{what}: {count}" for what, count in sorted(seen.items())))


def strike(fault: Fault, memcached: LocalMemcached, crowd: Crowd) -> list[Call]:
    """Let it happen at some moment of the round."""
    time.sleep(dice.uniform(0.05, 0.5))
    return fault(memcached, crowd)


def check_calls(history: Sequence[Call]) -> None:
    assert {call.outcome for call in history} <= TYPED | {"ok", "cut off"}
    assert "corrupt" not in {call.outcome for call in history}
    ended = [call for call in history if call.end < math.inf]
    slowest = max(ended, key=lambda call: call.end - call.start)
    assert slowest.end - slowest.start < DEADLINE_SECONDS + BUSY_SECONDS, slowest


def check_what_is_left(
    history: Sequence[Call], items: Items, store: Store, seen: Counter[str]
) -> None:
    """Chunks without a manifest are drafts, and expire as such.

    But a change whose answer nobody waited for may have taken a manifest away and not
    its chunks: one file for each such change, at most, until it is swept.
    """
    left = orphans(items)
    for_good = [generation for generation, seconds in left.items() if seconds == math.inf]
    unknown = [
        c for c in history if c.outcome in UNKNOWN_OUTCOMES and c.verb not in ("read", "list")
    ]
    assert len(for_good) <= len(unknown)
    store.sweep()
    assert max(orphans(items).values(), default=0) <= GRACE_SECONDS
    items.close()
    seen["drafts left"] += len(left) - len(for_good)
    seen["files swept"] += len(for_good)
