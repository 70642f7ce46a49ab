"""What the attacks share. They run for minutes, and only when asked for: `make faults`.

`make torture` runs them for long: then `torture` is large.
"""

from __future__ import annotations

import os

import pytest

LONG = 6  # times as much as in CI


@pytest.fixture(scope="session")
def torture() -> int:
    """How many times as much as in CI there is to be done."""
    return LONG if os.environ.get("MEMCHUNK_TORTURE") else 1
