"""How long files live in a full memcached: `python -m benchmarks.retention`.

A memcached of 512 MiB is filled four times over with files of one mix of sizes; then
the files are looked for, the newest first.

- *whole*: the bytes of files still whole, as a share of memcached's memory. About 0.9 is
  the ceiling for large files: the next one no longer fits.
- *early losses*: of the newest files that together make 80 % of memory, the share that is
  no longer whole. An ideal LRU loses none.
"""

from __future__ import annotations

import argparse
import math
import os
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheServerError

import memchunk
from benchmarks.lab import DOCS, save
from memchunk.embedded import Memcached

MIB = 1024 * 1024
MEMORY_MIB = 512
FILLS = 4
ATTEMPTS = 5

COMMAND = "python -m benchmarks.retention"


def about(size: int) -> Callable[[random.Random], int]:
    """Sizes within 5 % of `size`."""
    return lambda chance: int(size * chance.uniform(0.95, 1.05))


MIXES: dict[str, Callable[[random.Random], int]] = {
    "log-uniform 1 KiB..50 MiB": lambda chance: int(
        math.exp(chance.uniform(math.log(1024), math.log(50 * MIB)))
    ),
    "uniform 5..50 MiB": lambda chance: chance.randint(5 * MIB, 50 * MIB),
    "all about 150 KB": about(150_000),
    "all about 300 KB": about(300_000),
    "all about 600 KB": about(600_000),
    "all about 1.2 MB": about(1_200_000),
}


class Memchunk:
    """Files as memchunk stores them."""

    def __init__(self, address: str, layout: str) -> None:
        self._store = memchunk.connect(address, layout=layout, timeout=30)  # type: ignore[arg-type]

    def put(self, name: str, content: memoryview) -> bool:
        for _ in range(ATTEMPTS):
            try:
                self._store.put(name, content)
            except memchunk.StorageFullError:
                continue
            return True
        return False

    def is_whole(self, name: str, content: memoryview) -> bool:
        try:
            found = self._store.get(name)
        except (memchunk.EvictedError, memchunk.NotFoundError):
            return False
        assert found == content, "a wrong byte"
        return True


class Pieces:
    """What programs do without memchunk: pieces of 1,000,000 bytes by pymemcache's set and get."""

    BYTES = 1_000_000

    def __init__(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        self._client = Client((host, int(port)), default_noreply=False, timeout=30)

    def _keys(self, name: str, size: int) -> Iterator[tuple[str, slice]]:
        for start in range(0, size, self.BYTES):
            yield f"{name}:{start}", slice(start, min(start + self.BYTES, size))

    def put(self, name: str, content: memoryview) -> bool:
        for key, part in self._keys(name, len(content)):
            for _ in range(ATTEMPTS):
                try:
                    self._client.set(key, bytes(content[part]))
                except MemcacheServerError:
                    continue
                break
            else:
                return False
        return True

    def is_whole(self, name: str, content: memoryview) -> bool:
        return all(
            self._client.get(key) == content[part] for key, part in self._keys(name, len(content))
        )


CONTESTANTS: dict[str, Callable[[str], Memchunk | Pieces]] = {
    "memchunk": partial(Memchunk, layout="steady"),
    'memchunk, layout="compact"': partial(Memchunk, layout="compact"),
    "pieces of 1,000,000 bytes": Pieces,
}


@dataclass(frozen=True)
class Outcome:
    """What became of the files of one run."""

    whole: float
    early_losses: float
    refused: int


def run(contestant: str, mix: str, seed: int, options: Sequence[str] = ()) -> Outcome:
    """Fill a memcached of its own, and look what is left."""
    chance = random.Random(f"{mix} {seed}")
    noise = memoryview(os.urandom(51 * MIB))
    port = 21_000 + os.getpid() % 1_000
    with Memcached(MEMORY_MIB, address=f"127.0.0.1:{port}", options=options) as memcached:
        files = CONTESTANTS[contestant](memcached.address)
        contents: list[memoryview] = []
        total = refused = 0
        while total < FILLS * MEMORY_MIB * MIB:
            start = chance.randrange(MIB)
            contents.append(noise[start : start + MIXES[mix](chance)])
            total += len(contents[-1])
            refused += not files.put(f"f{len(contents) - 1}", contents[-1])
        whole = newest = young = lost = 0
        for number in reversed(range(len(contents))):
            size = len(contents[number])
            there = files.is_whole(f"f{number}", contents[number])
            whole += there * size
            newest += size
            if newest <= 0.8 * MEMORY_MIB * MIB:
                young += 1
                lost += not there
    return Outcome(whole / MEMORY_MIB / MIB, lost / young, refused)


def main() -> None:
    """Run all mixes, print a table, and write JSON and SVG."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--options", default="", help="further options of memcached's")
    parser.add_argument("--dry", action="store_true", help="write nothing")
    arguments = parser.parse_args()
    seeds = range(arguments.seeds)
    # nothing here is timed, so two runs at once do no harm
    with ProcessPoolExecutor(2) as pool:
        runs = {
            (mix, contestant): [
                pool.submit(run, contestant, mix, seed, arguments.options.split()) for seed in seeds
            ]
            for mix in MIXES
            for contestant in CONTESTANTS
        }
        figures: dict[str, dict[str, list[Outcome]]] = {}
        print(f"{'mix':26}{'':28}whole, each seed{'':8}early losses{'':12}refused")
        for (mix, contestant), futures in runs.items():
            outcomes = [future.result() for future in futures]
            figures.setdefault(mix, {})[contestant] = outcomes
            print(
                f"{mix:26}{contestant:28}"
                + " ".join(f"{each.whole:.2f}" for each in outcomes).ljust(24)
                + " ".join(f"{each.early_losses:.1%}" for each in outcomes).ljust(24)
                + " ".join(str(each.refused) for each in outcomes),
                flush=True,
            )
    if not arguments.dry:
        save(
            "retention",
            COMMAND,
            {
                mix: {
                    contestant: {
                        "whole": [round(each.whole, 3) for each in outcomes],
                        "early_losses": [round(each.early_losses, 4) for each in outcomes],
                        "refused": [each.refused for each in outcomes],
                    }
                    for contestant, outcomes in by_contestant.items()
                }
                for mix, by_contestant in figures.items()
            },
        )
        draw(figures)


def draw(figures: dict[str, dict[str, list[Outcome]]]) -> None:
    """The frontier: how much is whole against what is lost early, a panel for each mix."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "retention"
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(2, 3, figsize=(9, 5.6), sharex=True, sharey=True)
    colors = ["#2a6f97", "#e09f3e", "#9aa0a6"]
    for panel, (mix, by_contestant) in zip(panels.flat, figures.items(), strict=True):
        for color, (contestant, outcomes) in zip(colors, by_contestant.items(), strict=True):
            panel.scatter(
                [100 * each.early_losses for each in outcomes],
                [each.whole for each in outcomes],
                color=color,
                label=contestant,
                alpha=0.85,
                clip_on=False,
                zorder=3,
            )
        panel.set_title(mix, fontsize=9)
        panel.set_xscale("symlog", linthresh=1)
        panel.set_xlim(-0.15, 100)
        panel.set_ylim(0, 1)
        panel.grid(alpha=0.25)
        panel.tick_params(labelsize=8)
    figure.supxlabel(
        "early losses, % of the files young enough to be there (left is better)", fontsize=9
    )
    figure.supylabel("whole, share of memory (up is better)", fontsize=9)
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncols=3, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.95))
    DOCS.mkdir(parents=True, exist_ok=True)
    figure.savefig(DOCS / "retention.svg", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
