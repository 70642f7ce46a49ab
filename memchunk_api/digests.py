"""Digest fields of RFC 9530: Repr-Digest and Content-Digest, read and written.

Pure: header values and bytes in, digests and verdicts out. No falcon, no I/O.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable

# Algorithms that are verified, by their name in the IANA registry of RFC 9530
# section 5, and by the name hashlib has for them. All others are ignored.
ALGORITHMS = {"sha-256": "sha256", "sha-512": "sha512"}

# RFC 8941: a Dictionary of Items. Inner lists mean nothing to digest fields.
_KEY = r"[a-z*][a-z0-9_\-.*]*"
_BYTES = r":[A-Za-z0-9+/=]*:"
_ITEM = (
    rf"(?:{_BYTES}"
    r'|"(?:[ !#-\[\]-~]|\\["\\])*"'
    r"|[A-Za-z*][A-Za-z0-9!#$%&'*+\-.^_`|~:/]*"
    r"|-?[0-9]{1,15}(?:\.[0-9]{1,3})?"
    r"|\?[01])"
)
_MEMBER = re.compile(rf"({_KEY})(?:=({_ITEM}))?(?:; *{_KEY}(?:={_ITEM})?)*")
_COMMA = re.compile(r"[ \t]*,[ \t]*")


def parse(value: str) -> dict[str, bytes]:
    """The digests in a Repr-Digest or Content-Digest value, by algorithm name.

    Unknown algorithms are left out; the last of two equal names counts (RFC 8941
    section 3.2).

    Raises:
        ValueError: the value is not a Dictionary, or a known digest is not its
            bytes in base64.
    """
    digests: dict[str, bytes] = {}
    for name, item in _members(value.strip(" ")):
        if name in ALGORITHMS:
            digests[name] = _digest(name, item)
    return digests


def format_sha256(sha256: str) -> str:
    """The field value for a sha256 given in hex."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode('ascii')}:"


class Verifier:
    """Hashes bytes as they pass and compares them with the digests announced."""

    def __init__(self, announced: Iterable[tuple[str, bytes]]) -> None:
        """Take pairs of algorithm name and expected digest; names may repeat."""
        self._expected = tuple(announced)
        self._hashes = {
            name: hashlib.new(ALGORITHMS[name]) for name in {name for name, _ in self._expected}
        }

    def update(self, data: bytes | memoryview) -> None:
        """Take the next bytes."""
        for running in self._hashes.values():
            running.update(data)

    def mismatch(self) -> str | None:
        """The algorithm whose digest is not that of the bytes so far, or None."""
        for name, expected in self._expected:
            if self._hashes[name].digest() != expected:
                return name
        return None


def _members(value: str) -> Iterable[tuple[str, str]]:
    position = 0
    while True:
        match = _MEMBER.match(value, position)
        if match is None:
            raise ValueError("it is not a list of algorithm=:base64:")
        yield match[1], match[2] or ""
        position = match.end()
        if position == len(value):
            return
        comma = _COMMA.match(value, position)
        if comma is None:
            raise ValueError("it is not a list of algorithm=:base64:")
        position = comma.end()


def _digest(name: str, item: str) -> bytes:
    if not re.fullmatch(_BYTES, item):
        raise ValueError(f"the {name} digest is written as {name}=:base64:")
    try:
        digest = base64.b64decode(item[1:-1], validate=True)
    except binascii.Error:
        raise ValueError(f"the {name} digest is not base64") from None
    if len(digest) != hashlib.new(ALGORITHMS[name]).digest_size:
        raise ValueError(f"the {name} digest has the wrong length")
    return digest
