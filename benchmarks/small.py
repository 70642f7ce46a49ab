"""How many small files a second, beside plain values: `python -m benchmarks.small`.

A put of a new file is one round trip (what stands there, the chunk, the manifest, its record in
the journal). A get of a file that this store has neither read nor stored before is two (the
manifest; the chunk), the next get of it is one (both). pymemcache's `set` and `get` of a bare
value are one.
"""

from __future__ import annotations

import itertools
import os

from pymemcache.client.base import Client

import memchunk
from benchmarks.lab import bars, save, take_turns
from memchunk.embedded import Memcached

COMMAND = "python -m benchmarks.small"
ADDRESS = "127.0.0.1:21921"
SIZE = 4096
BATCH = 400
ROUNDS = 15


def main() -> None:
    """Measure, print a table, and write JSON and SVG."""
    with (
        Memcached(512, address=ADDRESS),
        memchunk.connect(ADDRESS) as store,
        memchunk.connect(ADDRESS) as other,
    ):
        host, port = ADDRESS.split(":")
        client = Client((host, int(port)), default_noreply=False, no_delay=True)
        value = os.urandom(SIZE)
        numbers = itertools.count()
        store.put("kept", value)
        client.set("kept", value)
        strange = [f"other/{number}" for number in range(BATCH * (ROUNDS + 1))]
        for name in strange:
            other.put(name, value)
        unread = iter(strange)

        def batch(act):  # type: ignore[no-untyped-def]
            def run() -> None:
                for _ in range(BATCH):
                    act()

            return run

        times = take_turns(
            {
                "get: memchunk, one file again and again": batch(lambda: store.get("kept")),
                "get: memchunk, each file for the first time": batch(
                    lambda: store.get(next(unread))
                ),
                "get: pymemcache, a bare value": batch(lambda: client.get("kept")),
                "put: memchunk": batch(lambda: store.put(f"f{next(numbers)}", value)),
                "put: pymemcache, a bare value": batch(
                    lambda: client.set(f"v{next(numbers)}", value)
                ),
            },
            rounds=ROUNDS,
        )
    rates = {name: BATCH / seconds for name, seconds in times.items()}
    figures = {}
    print(f"{'4 KiB':44}{'per second':>12}{'÷ pymemcache':>15}")
    for name, rate in rates.items():
        ratio = rate / rates[f"{name[:3]}: pymemcache, a bare value"]
        figures[name] = {"per_second": round(rate), "to_pymemcache": round(ratio, 2)}
        print(f"{name:44}{rate:12,.0f}{ratio:15.2f}")
    save("small", COMMAND, figures)
    groups = {
        heading: {n.removeprefix(prefix): r for n, r in rates.items() if n.startswith(prefix)}
        for heading, prefix in (("storing", "put: "), ("reading", "get: "))
    }
    bars("small", "Files of 4 KiB", "per second, more is better", groups)


if __name__ == "__main__":
    main()
