"""The budget of buffers, under threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from memchunk_api.buffers import MIB, Budget, BusyError


def wait_for_queue(budget: Budget, length: int) -> None:
    with budget._changed:
        assert budget._changed.wait_for(lambda: len(budget._queue) >= length, 10)


def test_a_lease_is_as_long_as_asked_for() -> None:
    budget = Budget(10 * MIB)
    for size in 0, 1, MIB - 1, MIB, MIB + 1, 10 * MIB:
        lease = budget.lease(size)
        assert len(lease.view) == size
        lease.view[:] = b"x" * size
        lease.release()
        lease.release()  # harmless


def test_what_is_held_never_exceeds_the_total() -> None:
    budget = Budget(8 * MIB)

    def one(turn: int) -> None:
        lease = budget.lease((turn % 8 + 1) * MIB)
        with budget._changed:
            assert budget._held + sum(map(len, budget._idle)) <= 8 * MIB
        lease.release()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(400)))
    assert budget._held == 0


def test_who_waits_too_long_is_told() -> None:
    budget = Budget(4 * MIB, wait=0.01)
    lease = budget.lease(3 * MIB)
    with pytest.raises(BusyError, match="try again"):
        budget.lease(2 * MIB)
    with pytest.raises(BusyError), budget.reserve(2 * MIB):
        pass
    lease.release()
    budget.lease(4 * MIB).release()


def test_a_large_request_is_not_starved_by_small_ones() -> None:
    budget = Budget(4 * MIB, wait=30)
    first = budget.lease(MIB)
    order: list[str] = []

    def take(size: int, label: str) -> None:
        lease = budget.lease(size)
        order.append(label)
        lease.release()

    large = threading.Thread(target=take, args=(4 * MIB, "large"))
    large.start()
    wait_for_queue(budget, 1)
    small = threading.Thread(target=take, args=(MIB, "small"))  # would fit now
    small.start()
    wait_for_queue(budget, 2)
    first.release()
    large.join()
    small.join()
    assert order == ["large", "small"]


def test_giving_up_lets_the_next_one_through() -> None:
    budget = Budget(4 * MIB, wait=0.2)
    held = budget.lease(2 * MIB)
    done = threading.Event()

    def want_too_much() -> None:
        with pytest.raises(BusyError):
            budget.lease(4 * MIB)
        done.set()

    thread = threading.Thread(target=want_too_much)
    thread.start()
    wait_for_queue(budget, 1)
    budget._wait = 30
    budget.lease(MIB).release()
    assert done.wait(10)
    thread.join()
    held.release()


def test_large_buffers_are_used_again_but_not_wasted() -> None:
    budget = Budget(64 * MIB)
    lease = budget.lease(20 * MIB)
    lease.view[0] = 7
    lease.release()
    again = budget.lease(19 * MIB)
    assert again.view[0] == 7
    again.release()
    other = budget.lease(2 * MIB)  # 20 MiB would be too good for it
    assert other.view[0] == 0
    assert budget._held == 2 * MIB
    other.release()


def test_idle_buffers_make_room() -> None:
    budget = Budget(30 * MIB, wait=0.01)
    budget.lease(20 * MIB).release()
    with budget.reserve(15 * MIB):
        assert budget._idle == []


def test_few_buffers_stay_idle() -> None:
    budget = Budget(64 * MIB)
    leases = [budget.lease(2 * MIB) for _ in range(10)]
    for lease in leases:
        lease.release()
    assert len(budget._idle) == 2


def test_a_reservation_ends_with_an_error_too() -> None:
    budget = Budget(MIB, wait=0.01)
    with pytest.raises(KeyError), budget.reserve(MIB):
        raise KeyError
    with budget.reserve(MIB):
        pass
