"""What the benchmarks share: taking turns, medians, the JSON and the bars that they write.

Contestants take turns within a round, so that whatever else the machine does meanwhile
meets all of them alike. Those that compete for processors have a process each (`apart`).
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

DOCS = Path(__file__).parent.parent / "docs" / "benchmarks"


def take_turns(contestants: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """The median time of each contestant, in seconds, over `rounds` rounds after a first one."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, act in contestants.items():
            began = time.perf_counter()
            act()
            if turn:
                times[name].append(time.perf_counter() - began)
    return {name: median(each) for name, each in times.items()}


@contextmanager
def apart(make: Callable[[], Callable[[], object]]) -> Iterator[Callable[[], None]]:
    """What `make` makes, in a process of its own, where it is called when this is called.

    In one process, those who had their turn before leave the system's scheduler with other
    habits (which threads wake which) and the allocator with other memory.
    """

    def serve() -> None:
        act = make()
        there.send("ready")
        while there.recv() == "act":
            act()
            there.send("done")

    def run() -> None:
        here.send("act")
        here.recv()

    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=serve, daemon=True)
    process.start()
    there.close()
    here.recv()
    yield run
    here.send("end")
    process.join()


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    model = platform.processor()
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    version = subprocess.run(["memcached", "--version"], capture_output=True, text=True, check=True)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "memcached": version.stdout.split()[-1],
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
    }


def save(name: str, command: str, figures: Any) -> None:
    """Write `docs/benchmarks/NAME.json`: the command, the machine and the figures."""
    DOCS.mkdir(parents=True, exist_ok=True)
    record = {"command": command, "machine": machine(), "figures": figures}
    (DOCS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")


def bars(
    name: str, title: str, unit: str, groups: Mapping[str, Mapping[str, float]], *, note: str = ""
) -> None:
    """Draw `docs/benchmarks/NAME.svg`: a panel for each group, a bar for each contestant."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = name  # the same figures make the same file
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(
        len(groups),
        1,
        figsize=(8, 0.9 + 0.36 * sum(map(len, groups.values())) + 0.5 * len(groups)),
        height_ratios=[len(each) + 1 for each in groups.values()],
        squeeze=False,
    )
    for panel, (heading, each) in zip(panels[:, 0], groups.items(), strict=True):
        labels, values = list(each), list(each.values())
        colors = ["#2a6f97" if "memchunk" in label else "#b0b7bd" for label in labels]
        drawn = panel.barh(labels, values, color=colors)
        shown = [f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in values]
        panel.bar_label(drawn, shown, padding=3, fontsize=8)
        panel.set_title(heading, loc="left", fontsize=9)
        panel.invert_yaxis()
        panel.spines[["top", "right", "bottom"]].set_visible(False)
        panel.tick_params(labelsize=8, left=False, bottom=False, labelbottom=False)
        panel.margins(x=0.12)
    figure.suptitle(f"{title} ({unit})", x=0.01, ha="left", fontsize=11)
    figure.text(0.01, 0.005, note, fontsize=7, color="#555555")
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    DOCS.mkdir(parents=True, exist_ok=True)
    figure.savefig(DOCS / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)
