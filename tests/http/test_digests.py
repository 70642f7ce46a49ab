"""RFC 9530's digest fields, written and read."""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress

import pytest
from hypothesis import given, strategies as st

from memchunk_api import digests

SHA256 = hashlib.sha256(b"x").digest()
SHA512 = hashlib.sha512(b"x").digest()


def field(name: str, digest: bytes) -> str:
    return f"{name}=:{base64.b64encode(digest).decode()}:"


@given(st.binary(min_size=32, max_size=32))
def test_what_is_written_reads_back(digest: bytes) -> None:
    assert digests.parse(digests.format_sha256(digest.hex())) == {"sha-256": digest}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (field("sha-256", SHA256), {"sha-256": SHA256}),
        (
            f"{field('sha-512', SHA512)} ,\t{field('sha-256', SHA256)}",
            {"sha-512": SHA512, "sha-256": SHA256},
        ),
        (field("md5", b"12345678"), {}),
        ('unixsum=7, odd="a,b\\"c"; q=1, yes, no=?0, half=0.5, word=a/b:c', {}),
        (f"{field('sha-256', SHA512[:32])}, {field('sha-256', SHA256)}", {"sha-256": SHA256}),
        (f"{field('sha-256', SHA256)};p=1", {"sha-256": SHA256}),
    ],
)
def test_dictionaries(value: str, expected: dict[str, bytes]) -> None:
    assert digests.parse(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "sha-256",
        "sha-256=",
        "sha-256=abc",
        "sha-256=:abc:",
        "sha-256=:!!!:",
        field("sha-256", SHA512),
        field("sha-256", SHA256) + ",",
        field("sha-256", SHA256) + " " + field("sha-512", SHA512),
        "SHA-256=:AAAA:",
        base64.b64encode(SHA256).decode(),
        SHA256.hex(),
        "\x00",
        "a=(1 2)",
    ],
)
def test_malformed_fields_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"digest|list of algorithm"):
        digests.parse(value)


@given(st.text(max_size=60))
def test_whatever_a_client_sends_is_digests_or_a_value_error(value: str) -> None:
    with suppress(ValueError):
        digests.parse(value)


@given(st.lists(st.binary(max_size=50)))
def test_the_verifier_tells_what_differs(blocks: list[bytes]) -> None:
    whole = b"".join(blocks)
    right = ("sha-256", hashlib.sha256(whole).digest())
    wrong = ("sha-512", hashlib.sha512(whole + b"!").digest())
    for announced, expected in ([], None), ([right], None), ([right, wrong], "sha-512"):
        verifier = digests.Verifier(announced)
        for block in blocks:
            verifier.update(block)
        assert verifier.mismatch() == expected
