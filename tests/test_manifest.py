from __future__ import annotations

import json
import zlib
from typing import Any

import pytest
from hypothesis import given, strategies as st

from memchunk import CorruptError
from memchunk.expiry import LATEST_SECOND
from memchunk.layout import MAX_FILE_BYTES, Layout, Rule
from memchunk.manifest import (
    LATEST_MS,
    MAX_MANIFEST_BYTES,
    Manifest,
    UnknownVersionError,
    check_content_type,
    decode,
    encode,
)
from tests.items import flipped

NAME = "reports/q3.pdf"
EXAMPLE = Manifest(
    name=NAME,
    sha256="ab" * 32,
    layout=Rule().lay_out(1_000_000),
    generation="0123456789abcdef" * 2,
    content_type="application/pdf",
    created_ms=1_790_000_000_123,
    expires=1_790_000_600,
    crc32s=(0, 0xFFFFFFFF),
)

MOVES: list[dict[str, Any]] = [
    {},
    {"move": "01" * 16, "moved_from": "old"},
    {"move": "01" * 16, "moving_to": "new", "moving_since": 1_790_000_000},
]


def sealed(record: object) -> bytes:
    """A record with a right crc32 at its end, whatever is in it."""
    body = json.dumps(record, separators=(",", ":")).encode()[:-1]
    return b'%b,"crc32":"%08x"}' % (body, zlib.crc32(body))


def fields(**changes: Any) -> dict[str, Any]:
    record = json.loads(encode(EXAMPLE))
    del record["crc32"]
    return {**record, **changes}


@given(
    st.text(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1
    ).filter(lambda name: len(name.encode()) <= 512 and name not in (".", "..")),
    st.integers(0, MAX_FILE_BYTES),
    st.none() | st.integers(0, LATEST_SECOND),
    st.data(),
)
def test_what_is_encoded_is_decoded(
    name: str, size: int, expires: int | None, data: st.DataObject
) -> None:
    layout = Rule().lay_out(size)
    crc32s = data.draw(
        st.lists(
            st.integers(0, 2**32 - 1),
            min_size=layout.chunk_count,
            max_size=layout.chunk_count,
        )
    )
    manifest = EXAMPLE._replace(
        name=name,
        layout=layout,
        expires=expires,
        crc32s=tuple(crc32s),
        **data.draw(st.sampled_from(MOVES)),
    )
    assert decode(encode(manifest), name) == manifest


def test_it_is_json_that_a_person_can_read() -> None:
    record = json.loads(encode(EXAMPLE))
    assert (record["memchunk"], record["name"], record["size"]) == (1, NAME, 1_000_000)


def test_one_flipped_bit_anywhere_is_noticed() -> None:
    value = encode(EXAMPLE)
    for position in range(len(value)):
        with pytest.raises(CorruptError):
            decode(flipped(value, position), NAME)


def test_a_manifest_cut_short_anywhere_is_noticed() -> None:
    value = encode(EXAMPLE)
    for length in range(len(value)):
        with pytest.raises(CorruptError):
            decode(value[:length], NAME)


def test_the_manifest_of_another_name_is_refused() -> None:
    with pytest.raises(CorruptError, match="another name"):
        decode(encode(EXAMPLE), "reports/q4.pdf")


@pytest.mark.parametrize("version", [0, 2, "1", None, 10**9])
def test_a_version_not_known_here_is_refused(version: object) -> None:
    with pytest.raises(UnknownVersionError, match="upgrade"):
        decode(sealed(fields(memchunk=version)), NAME)


@pytest.mark.parametrize(
    "changes",
    [
        {"size": -1},
        {"size": MAX_FILE_BYTES + 1},
        {"size": 1.0},
        {"size": True},
        {"size": None},
        {"size": "1000000"},
        {"size": 2_000_000},
        {"chunk_size": 0},
        {"chunk_size": -5},
        {"padding": -1},
        {"padding": 523_264},
        {"padding": 100_000},
        {"sha256": "AB" * 32},
        {"sha256": "ab" * 31},
        {"sha256": None},
        {"generation": "g" * 32},
        {"generation": 7},
        {"generation": "0" * 31},
        {"crc32s": "0" * 8},
        {"crc32s": "0" * 24},
        {"crc32s": "x" * 16},
        {"crc32s": [0, 1]},
        {"created_ms": -1},
        {"created_ms": 2**60},
        {"created_ms": LATEST_MS + 1},
        {"created_ms": True},
        {"expires": LATEST_SECOND + 1},
        {"expires": 0.5},
        {"expires": True},
        {"content_type": "text/html\r\nX: y"},
        {"content_type": 7},
        {"name": 7},
        {"move": "x" * 32},
        {"move": 7},
        {"moved_from": "../x"},
        {"moving_to": ""},
        {"moving_since": -1},
        {"moving_since": False},
        {"unknown": 1},
    ],
    ids=str,
)
def test_every_field_is_checked(changes: dict[str, object]) -> None:
    with pytest.raises(CorruptError):
        decode(sealed(fields(**changes)), NAME)


def test_nothing_follows_the_object() -> None:
    body = encode(EXAMPLE)[: -len(b',"crc32":"01234567"}')] + b"} {"
    with pytest.raises(CorruptError, match="JSON object"):
        decode(body + b',"crc32":"%08x"}' % zlib.crc32(body), NAME)


def test_a_crc32_is_written_in_one_way() -> None:
    value = encode(EXAMPLE)
    check = value[-len('01234567"}') :]
    assert check != check.upper()
    with pytest.raises(CorruptError, match="crc32"):
        decode(value[: -len(check)] + check.upper(), NAME)


@pytest.mark.parametrize("name", ["", "a//b", "a\nb", "x" * 513, 7, None, ["f"]])
@pytest.mark.parametrize("asked_for", [None, NAME])
def test_a_name_that_no_file_can_have_is_refused(name: object, asked_for: str | None) -> None:
    with pytest.raises(CorruptError):
        decode(sealed(fields(name=name)), asked_for)


@pytest.mark.parametrize("field", sorted(fields()))
def test_every_field_is_needed(field: str) -> None:
    record = fields()
    del record[field]
    with pytest.raises(CorruptError):
        decode(sealed(record), NAME)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{}",
        b"\x00" * 100,
        b"9" * MAX_MANIFEST_BYTES,
        b"x" * (MAX_MANIFEST_BYTES + 1),
        sealed([1, 2]),
        sealed({}),
        b'[[,"crc32":"%08x"}' % zlib.crc32(b"[["),
    ],
    ids=lambda value: repr(value[:12]),
)
def test_other_things_are_refused(value: bytes) -> None:
    with pytest.raises(CorruptError):
        decode(value, NAME)


def test_deep_nesting_is_refused() -> None:
    body = b'{"memchunk":1,"size":' + b"[" * 30_000
    with pytest.raises(CorruptError):
        decode(b'%b,"crc32":"%08x"}' % (body, zlib.crc32(body)), NAME)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_manifest_or_a_corrupt_error(value: bytes) -> None:
    with pytest.raises(CorruptError):
        decode(value, NAME)


@given(
    st.dictionaries(
        st.sampled_from(sorted(fields())),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.none()),
    )
)
def test_any_fields_give_a_manifest_or_a_corrupt_error(changes: dict[str, object]) -> None:
    try:
        manifest = decode(sealed(fields(**changes)), NAME)
    except CorruptError:
        return
    assert decode(encode(manifest), NAME) == manifest


def test_a_manifest_past_its_limit_is_not_written() -> None:
    many = Layout(10_000, 1)
    with pytest.raises(ValueError, match="limit"):
        encode(EXAMPLE._replace(layout=many, crc32s=(0,) * many.chunk_count))


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "text/plain; charset=utf-8", 'multipart/x; a="b c"', "a/b;c", "image/svg+xml"],
)
def test_content_types_that_are_allowed(content_type: str) -> None:
    check_content_type(content_type)


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text",
        "text/",
        "/plain",
        "text/pl ain",
        "a/b\r\nc: d",
        "a/b; é",
        "a/b" + "c" * 255,
        None,
    ],
)
def test_content_types_that_are_not_allowed(content_type: str) -> None:
    with pytest.raises(ValueError, match="content type"):
        check_content_type(content_type)


def test_the_latest_moment_that_can_be_told() -> None:
    latest = EXAMPLE._replace(created_ms=LATEST_MS)
    assert decode(encode(latest), NAME).info().created_at.year == 9999
