"""Records that are nearly right, from a memcached that anybody may write to.

Each decoder gives what was recorded or the error that is its own, quickly and in little memory.
"""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from memchunk import CorruptError, InvalidNameError, journal, manifest
from memchunk.expiry import expiry
from memchunk.layout import Rule
from memchunk.manifest import MAX_MANIFEST_BYTES, Manifest
from memchunk.names import check_name, check_prefix, manifest_key
from tests.faults.mangle import mangled

CORPUS = Path(__file__).parent / "corpus"
ROUNDS = 10_000
NAME = "reports/q3.pdf"


def example(**changes: object) -> Manifest:
    return Manifest(
        **{
            "name": NAME,
            "sha256": "0" * 64,
            "layout": Rule(523_264, compact=False).lay_out(1_000_000),
            "generation": "0123456789abcdef" * 2,
            "content_type": "application/pdf",
            "created_ms": 1_700_000_000_000,
            "expires": expiry(None, 0),
            "crc32s": (1, 2),
            **changes,
        }  # type: ignore[arg-type]
    )


def files(kind: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / kind).iterdir())]


MANIFESTS = [
    manifest.encode(example()),
    manifest.encode(example(expires=1_800_000_000)),
    manifest.encode(example(move="0" * 32, moving_to="other", moving_since=1_700_000_000)),
    *files("manifests"),
]
JOURNALS = [
    journal.added(NAME, "01234567") + journal.removed(NAME, "01234567"),
    b"".join(journal.added(f"f{number}", f"{number:08x}") for number in range(20)),
    *files("journals"),
]
NAMES = [NAME.encode(), "résumé/ö".encode(), b"a" * 512, *files("names")]


def decode_manifest(data: bytes) -> None:
    for name in (NAME, None):
        try:
            decoded = manifest.decode(data, name)
        except CorruptError:
            continue
        assert manifest.decode(manifest.encode(decoded), name) == decoded
        assert sum(map(decoded.layout.length, range(decoded.layout.chunk_count))) == (
            decoded.layout.size
        )


def replay(data: bytes) -> None:
    replayed = journal.Replay()
    replayed.read(data)
    names = set(replayed.names())
    again = journal.Replay()
    again.read(journal.compacted(data, dict.fromkeys(names, "01234567")))
    assert set(again.names()) == names
    for name in names:
        assert manifest_key("mc1", name)


def check(data: bytes) -> None:
    name = data.decode("utf-8", "surrogateescape")
    for rule in (check_name, check_prefix):
        try:
            rule(name)
        except InvalidNameError:
            continue
        assert len(name.encode()) <= 512
        key = manifest_key("mc1", name)
        assert key.isascii()
        assert key.isprintable()
        assert " " not in key
        assert len(key) <= 250


DECODERS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "manifest": (decode_manifest, MANIFESTS),
    "journal": (replay, JOURNALS),
    "name": (check, NAMES),
}


@pytest.mark.parametrize("kind", DECODERS)
def test_what_was_odd_before(kind: str) -> None:
    decode, originals = DECODERS[kind]
    for data in originals:
        decode(data)


@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", DECODERS)
def test_mangled_records_raise_nothing_else(kind: str, torture: int) -> None:
    """A million of them with `make torture`."""
    decode, originals = DECODERS[kind]
    for seed in range(ROUNDS * (100 if torture > 1 else 1)):
        try:
            decode(mangled(random.Random(seed), originals))
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


@pytest.mark.parametrize(
    "data",
    [
        b"[" * MAX_MANIFEST_BYTES,
        b'{"a":' * (MAX_MANIFEST_BYTES // 5),
        b"9" * MAX_MANIFEST_BYTES,
        b'{"size":' + b"9" * 60_000 + b"}",
        b'{"' + b"a" * 60_000 + b'":1}',
        b"1e400",
        b'"\\ud800"',
        b"\xff" * MAX_MANIFEST_BYTES,
    ],
    ids=lambda data: repr(data[:12]),
)
def test_a_manifest_that_is_made_to_hurt(data: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(CorruptError):
        manifest.decode(data, NAME)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 * MAX_MANIFEST_BYTES
