from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st

from memchunk.expiry import (
    CHUNK_MARGIN_SECONDS,
    LATEST_SECOND,
    MAX_RELATIVE_SECONDS,
    chunk_exptime,
    expiry,
    exptime,
)

NOW = 1_790_000_000.75
TTLS = st.integers(1, LATEST_SECOND - int(NOW) - 100)


def absolute(exptime: int) -> int:
    """When memcached forgets an item with this exptime (memcached.c, realtime)."""
    return exptime if exptime > 60 * 60 * 24 * 30 else math.floor(NOW) + exptime


@given(TTLS)
def test_a_ttl_up_to_years_is_what_memcached_understands(ttl: int) -> None:
    expires = expiry(ttl, NOW)
    assert expires is not None
    assert NOW + ttl <= expires < NOW + ttl + 1
    assert absolute(exptime(expires, NOW)) == expires


@given(TTLS)
def test_a_chunk_never_expires_before_its_manifest(ttl: int) -> None:
    expires = expiry(ttl, NOW)
    assert absolute(chunk_exptime(expires, NOW)) == absolute(exptime(expires, NOW)) + (
        CHUNK_MARGIN_SECONDS
    )


def test_the_rule_of_thirty_days() -> None:
    assert exptime(int(NOW) + MAX_RELATIVE_SECONDS, NOW) == MAX_RELATIVE_SECONDS
    assert exptime(int(NOW) + MAX_RELATIVE_SECONDS + 1, NOW) == int(NOW) + MAX_RELATIVE_SECONDS + 1


def test_no_ttl_is_no_end() -> None:
    assert expiry(None, NOW) is None
    assert exptime(None, NOW) == chunk_exptime(None, NOW) == 0


def test_a_time_in_the_past_never_becomes_no_end() -> None:
    assert exptime(int(NOW), NOW) == 1
    assert exptime(1, NOW) == 1


@pytest.mark.parametrize("ttl", [0, -1, -0.5, 0.0, math.nan, math.inf, -math.inf, 1e300, 10**400])
def test_numbers_that_are_no_lifetime(ttl: float) -> None:
    with pytest.raises(ValueError, match="ttl"):
        expiry(ttl, NOW)


@pytest.mark.parametrize("ttl", ["60", True, b"1", [1], 1j])
def test_things_that_are_no_lifetime(ttl: float) -> None:
    with pytest.raises(TypeError, match="ttl"):
        expiry(ttl, NOW)


def test_a_fraction_of_a_second_is_rounded_up() -> None:
    assert expiry(0.1, 100.0) == 101
