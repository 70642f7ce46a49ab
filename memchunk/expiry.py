"""Lifetimes, in seconds and in memcached's terms.

Chunks are stored with a short lifetime of their own and get that of the file only
once the manifest names them: whatever a writer that died left behind is gone
within `DRAFT_SECONDS`.
Pure: the clock is passed in.
"""

from __future__ import annotations

import enum
import math
from datetime import UTC, datetime

MAX_RELATIVE_SECONDS = 30 * 24 * 3600  # above, memcached reads an exptime as a time of day
LATEST_SECOND = 2**31 - 1  # memcached reads exptime as a signed 32-bit number: 2038-01-19
NEVER = 0
CLOCK_SECONDS = 1  # so often memcached's clock ticks: an item may go so much before its time

CHUNK_MARGIN_SECONDS = 60  # chunks outlive their manifest, so that a slow reader can finish
DRAFT_SECONDS = 3600  # the lifetime of chunks without a manifest; no put takes longer


class Keep(enum.Enum):
    """Stands for what is not to change, where None means something else."""

    KEEP = "keep"


KEEP = Keep.KEEP


def expiry(ttl: int | float | None, now: float) -> int | None:
    """When a file stored `now` for `ttl` seconds expires, in seconds since 1970.

    Raises `TypeError` or `ValueError` for a `ttl` that is no lifetime.
    """
    if ttl is None:
        return None
    if isinstance(ttl, bool) or not isinstance(ttl, int | float):
        raise TypeError(f"a ttl is a number of seconds or None, not {type(ttl).__name__}")
    if not ttl > 0:
        raise ValueError("a ttl is more than 0 seconds; leave it out for a file that stays")
    if not ttl < LATEST_SECOND - CHUNK_MARGIN_SECONDS - now:
        last = datetime.fromtimestamp(LATEST_SECOND, UTC)
        raise ValueError(f"memcached cannot count past {last:%Y-%m-%d}; use a smaller ttl")
    return math.ceil(now + ttl)


def exptime(expires: int | None, now: float) -> int:
    """The exptime that makes memcached forget an item at `expires` (protocol.txt)."""
    if expires is None:
        return NEVER
    remaining = max(1, expires - math.floor(now))
    return remaining if remaining <= MAX_RELATIVE_SECONDS else expires


def chunk_exptime(expires: int | None, now: float) -> int:
    """The exptime for the chunks of a file that expires at `expires`."""
    return exptime(None if expires is None else expires + CHUNK_MARGIN_SECONDS, now)
