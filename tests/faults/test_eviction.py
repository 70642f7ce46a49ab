"""Ten times as much as memcached holds is put into it, and all of it is flushed now and then."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
from pymemcache.client.base import Client

import memchunk
from memchunk import EvictedError, NotFoundError, StorageFullError, Store
from tests.faults.contents import check, check_part, contents
from tests.servers import LocalMemcached
from tests.together import together

MIB = 1024 * 1024
MEMORY_MIB = 64
TIMES = 10
NAMES = [f"file/{number}" for number in range(200)]
LEAST_BYTES, LARGEST_BYTES = 1024, 20 * MIB
WRITERS, READERS = 4, 3


class Storm:
    """Writers, readers, and what they saw."""

    def __init__(self, store: Store, budget: int) -> None:
        self.store = store
        self.budget = budget
        self.seen: Counter[str] = Counter()
        self.is_over = threading.Event()

    def size(self, dice: random.Random) -> int:
        """Log-uniform: as many between 1 and 2 KiB as between 10 and 20 MiB."""
        return int(LEAST_BYTES * (LARGEST_BYTES / LEAST_BYTES) ** dice.random())

    def write(self, number: int) -> None:
        dice = random.Random(number)
        try:
            while self.budget > 0:
                size = self.size(dice)
                self.budget -= size
                try:
                    data = contents(f"{number} {self.budget}", size)
                    self.store.put(dice.choice(NAMES), data, replace=True)
                    self.seen["stored"] += 1
                except StorageFullError:
                    self.seen["refused"] += 1
        finally:
            self.is_over.set()

    def read(self, number: int) -> None:
        dice = random.Random(number)
        while not self.is_over.is_set():
            self.read_one(dice, dice.choice(NAMES))

    def read_one(self, dice: random.Random, name: str) -> None:
        try:
            match dice.randrange(3):
                case 0:
                    check(self.store.get(name))
                case 1:
                    self.store.stat(name)
                case _:
                    with self.store.open(name) as file:
                        beginning = file.read(200)
                        start = file.seek(dice.randrange(LARGEST_BYTES))
                        check_part(file.read(1000), start, beginning)
            self.seen["read"] += 1
        except NotFoundError:
            self.seen["not found"] += 1
        except EvictedError:
            self.seen["evicted"] += 1
        except memchunk.ChangedError:  # by a writer, while it was being read
            self.seen["changed"] += 1

    def flush(self, address: str) -> None:
        """Some of what was stored in the same second survives, so that files lose a part."""
        client = Client(address, default_noreply=False)
        while not self.is_over.wait(0.7):
            client.flush_all()
            self.seen["flushed"] += 1
        client.close()


@pytest.mark.timeout(4000)
@pytest.mark.parametrize("flushing", [False, True])
def test_every_answer_is_the_right_bytes_or_a_loss_with_a_name(
    start_memcached: Callable[..., LocalMemcached], torture: int, flushing: bool
) -> None:
    memcached = start_memcached("-m", str(MEMORY_MIB))
    with memchunk.connect(memcached.address, namespace="e") as store:
        storm = Storm(store, TIMES * MEMORY_MIB * MIB * torture)
        acts: list[Callable[[], None]] = [partial(storm.write, n) for n in range(WRITERS)]
        acts += [partial(storm.read, number) for number in range(READERS)]
        if flushing:
            acts.append(partial(storm.flush, memcached.address))
        assert together(*acts) == [None] * len(acts)
        print(*(f"{what}: {count}" for what, count in sorted(storm.seen.items())))
        assert storm.seen["read"]
        assert storm.seen["not found"] + storm.seen["evicted"]
        listed = {info.name for info in store.list()}
        assert listed <= set(NAMES)
        for name in NAMES:  # whatever was lost can be stored again, without being deleted first
            try:
                check(store.get(name))
            except (NotFoundError, EvictedError):
                store.put(name, contents(name, 1000))
                check(store.get(name))
