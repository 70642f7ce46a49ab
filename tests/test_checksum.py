"""The crc32 of bytes: the same number from whatever computes it."""

from __future__ import annotations

import platform
import subprocess
import sys
import zlib

import pytest
from hypothesis import given, strategies as st

from memchunk.checksum import crc32

WITHOUT_ISAL = """
import sys
sys.modules["isal"] = None  # as where it is not installed
import zlib
from memchunk.checksum import crc32
assert crc32 is zlib.crc32
"""


@given(first=st.binary(max_size=2000), rest=st.binary(max_size=2000))
def test_it_is_that_of_zlib(first: bytes, rest: bytes) -> None:
    assert crc32(memoryview(rest), crc32(first)) == zlib.crc32(first + rest)


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "aarch64", "arm64"), reason="isal is not made for it"
)
def test_isal_computes_it_where_it_is_installed() -> None:
    assert crc32.__module__.startswith("isal")


def test_zlib_computes_it_elsewhere() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_ISAL], check=True)
