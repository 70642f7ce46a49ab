"""Several things at once."""

from __future__ import annotations

import threading
from collections.abc import Callable


def together(*acts: Callable[[], object]) -> list[object]:
    """Run each act in a thread of its own, all from the same moment.

    What each returned, or the exception that it raised, in their order.
    """
    outcomes: list[object] = [None] * len(acts)
    barrier = threading.Barrier(len(acts))

    def run(number: int) -> None:
        barrier.wait()
        try:
            outcomes[number] = acts[number]()
        except BaseException as error:  # the caller gets to see it
            outcomes[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes
