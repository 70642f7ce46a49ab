"""How long an import takes, beside pymemcache's own: `python -m benchmarks.imports`.

Processor time, each time in a new interpreter, whose own start does not count; nor does
compiling, which an installed package has behind it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from statistics import median

from benchmarks.lab import save

COMMAND = "python -m benchmarks.imports"
ROUNDS = 41
PEER = "import pymemcache"
PROGRAMS = (PEER, "import memchunk", "import memchunk; memchunk.connect")


def main() -> None:
    """Measure, print a table, and write JSON."""
    times: dict[str, list[float]] = {program: [] for program in PROGRAMS}
    for _ in range(ROUNDS):
        for program in PROGRAMS:
            times[program].append(_seconds(program))
    figures = {}
    print(f"{'':36}{'ms':>8}{'÷ pymemcache':>15}")
    for program in PROGRAMS:
        seconds, peer = median(times[program]), median(times[PEER])
        figures[program] = {
            "ms": round(1000 * seconds, 1),
            "to_pymemcache": round(seconds / peer, 2),
        }
        print(f"{program:36}{1000 * seconds:8.1f}{seconds / peer:15.2f}")
    save("imports", COMMAND, figures)


def _seconds(program: str) -> float:
    clock = "time.process_time()"
    timed = f"import time; began = {clock}; {program}; print({clock} - began)"
    command = [sys.executable, "-c", timed]
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    return float(done.stdout)


if __name__ == "__main__":
    main()
