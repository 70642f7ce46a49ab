"""RFC 9110 sections 13 and 14, as far as they can be had without a server."""

from __future__ import annotations

import string
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from memchunk_api import conditional
from memchunk_api.conditional import (
    ByteRange,
    EntityTag,
    Preconditions,
    TagList,
    UnsatisfiableRangeError,
    Validators,
    Verdict,
)
from memchunk_api.description import http_date

NOW = datetime(2024, 5, 17, 12, 0, 0, 987_000, tzinfo=UTC)
CURRENT = Validators("abc", NOW)
BEFORE, AT, AFTER = (http_date(NOW + timedelta(seconds=seconds)) for seconds in (-1, 0, 1))

# RFC 9110 section 8.8.3: etagc
tags = st.builds(
    EntityTag,
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters='"\x7f'))
    .map(lambda text: "".join(c for c in text if not "\x7f" <= c < "\x80"))
    .filter(lambda text: all(c <= "~" or c >= "\x80" for c in text)),
    st.booleans(),
)


def verdict(headers: dict[str, str], current: Validators | None, *, reading: bool) -> str:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Preconditions.parse(named).evaluate(current, reading=reading).name


@given(st.lists(tags, min_size=1), st.sampled_from([", ", ",", " ,, ,\t"]))
def test_a_list_of_entity_tags_reads_back(written: list[EntityTag], comma: str) -> None:
    assert TagList.parse(comma.join(map(str, written))).tags == tuple(written)


@given(st.text(string.printable, max_size=30))
def test_whatever_a_client_sends_is_a_list_of_tags_or_a_value_error(value: str) -> None:
    try:
        parsed = TagList.parse(value)
    except ValueError:
        return
    assert parsed.any or TagList.parse(", ".join(map(str, parsed.tags))) == parsed


@pytest.mark.parametrize(
    "value", ["", "abc", '"abc', '"a" "b"', '"a", *', "W/", 'w/"a"', ",", '"a"b']
)
def test_malformed_lists_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match="entity tag"):
        TagList.parse(value)


def test_the_error_names_the_header() -> None:
    with pytest.raises(ValueError, match="If-None-Match"):
        Preconditions.parse({"if-none-match": "nonsense"})


@pytest.mark.parametrize(
    ("headers", "reading", "expected"),
    [
        ({}, True, "PROCEED"),
        ({"if_match": '"abc"'}, False, "PROCEED"),
        ({"if_match": '"x", "abc"'}, False, "PROCEED"),
        ({"if_match": "*"}, False, "PROCEED"),
        ({"if_match": '"x"'}, False, "FAILED"),
        ({"if_match": 'W/"abc"'}, False, "FAILED"),  # strong comparison
        ({"if_none_match": '"abc"'}, True, "NOT_MODIFIED"),
        ({"if_none_match": 'W/"abc"'}, True, "NOT_MODIFIED"),  # weak comparison
        ({"if_none_match": "*"}, True, "NOT_MODIFIED"),
        ({"if_none_match": "*"}, False, "FAILED"),
        ({"if_none_match": '"abc"'}, False, "FAILED"),
        ({"if_none_match": '"x"'}, False, "PROCEED"),
        ({"if_modified_since": AT}, True, "NOT_MODIFIED"),
        ({"if_modified_since": AFTER}, True, "NOT_MODIFIED"),
        ({"if_modified_since": BEFORE}, True, "PROCEED"),
        ({"if_modified_since": AFTER}, False, "PROCEED"),  # GET and HEAD only
        ({"if_modified_since": "yesterday"}, True, "PROCEED"),
        ({"if_unmodified_since": AT}, False, "PROCEED"),
        ({"if_unmodified_since": BEFORE}, False, "FAILED"),
        ({"if_unmodified_since": "soon"}, False, "PROCEED"),
        # section 13.2.2: a tag makes the date of its kind irrelevant
        ({"if_match": '"abc"', "if_unmodified_since": BEFORE}, False, "PROCEED"),
        ({"if_none_match": '"x"', "if_modified_since": AFTER}, True, "PROCEED"),
        # ... and what fails is said before what is not modified
        ({"if_match": '"x"', "if_none_match": '"abc"'}, True, "FAILED"),
        ({"if_match": '"abc"', "if_none_match": '"abc"'}, True, "NOT_MODIFIED"),
    ],
)
def test_precedence(headers: dict[str, str], reading: bool, expected: str) -> None:
    assert verdict(headers, CURRENT, reading=reading) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"if_match": "*"}, "FAILED"),
        ({"if_match": '"abc"'}, "FAILED"),
        ({"if_unmodified_since": AFTER}, "FAILED"),
        ({"if_none_match": "*"}, "PROCEED"),
        ({"if_none_match": '"abc"'}, "PROCEED"),
    ],
)
def test_without_a_file(headers: dict[str, str], expected: str) -> None:
    assert verdict(headers, None, reading=False) == expected


@pytest.mark.parametrize(
    ("value", "size", "expected"),
    [
        ("bytes=0-0", 10, ByteRange(0, 1)),
        ("bytes=2-4", 10, ByteRange(2, 5)),
        ("bytes=2-", 10, ByteRange(2, 10)),
        ("bytes=2-99", 10, ByteRange(2, 10)),
        (f"bytes=2-{'9' * 5000}", 10, ByteRange(2, 10)),
        ("bytes=-3", 10, ByteRange(7, 10)),
        ("bytes=-99", 10, ByteRange(0, 10)),
        ("BYTES = 2-4", 10, ByteRange(2, 5)),
        ("bytes=, 2-4 ,", 10, ByteRange(2, 5)),
        (None, 10, None),
        ("", 10, None),
        ("bytes", 10, None),
        ("bytes=", 10, None),
        ("bytes=-", 10, None),
        ("bytes=4-2", 10, None),
        ("bytes=a-b", 10, None),
        ("bytes=+1-2", 10, None),
        ("bytes=1-2-3", 10, None),
        ("bytes=0-1,3-4", 10, None),
        ("bytes=\u0661-2", 10, None),
        ("lines=0-1", 10, None),
        ("bytes=-5", 0, None),
    ],
)
def test_ranges(value: str | None, size: int, expected: ByteRange | None) -> None:
    assert conditional.parse_range(value, size) == expected


@pytest.mark.parametrize(
    ("value", "size"), [("bytes=10-", 10), ("bytes=99-100", 10), ("bytes=0-0", 0), ("bytes=-0", 10)]
)
def test_ranges_past_the_end(value: str, size: int) -> None:
    with pytest.raises(UnsatisfiableRangeError):
        conditional.parse_range(value, size)


@given(st.text(string.digits + "-,= bytes", max_size=20), st.integers(0, 1000))
def test_no_range_leaves_the_file(value: str, size: int) -> None:
    try:
        found = conditional.parse_range("bytes=" + value, size)
    except UnsatisfiableRangeError:
        return
    assert found is None or 0 <= found.start < found.stop <= size


@given(st.integers(1, 10**6), st.data())
def test_a_range_is_what_slicing_would_give(size: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, size - 1))
    last = data.draw(st.integers(first, 2 * size))
    found = conditional.parse_range(f"bytes={first}-{last}", size)
    assert found is not None
    assert range(size)[first : last + 1] == range(found.start, found.stop)
    assert found.content_range(size) == f"bytes {first}-{found.stop - 1}/{size}"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, True),
        ('"abc"', True),
        ('W/"abc"', False),
        ('"x"', False),
        ("*", False),
        ("nonsense", False),
        (AT, False),  # a second is too long to tell two files apart
    ],
)
def test_if_range(value: str | None, expected: bool) -> None:
    assert conditional.if_range_holds(value, CURRENT) is expected


@pytest.mark.parametrize(
    "value",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ],
)
def test_all_three_forms_of_date(value: str) -> None:
    assert conditional.parse_date(value) == datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)


@given(st.text(max_size=40))
def test_whatever_a_client_sends_is_a_date_or_none(value: str) -> None:
    found = conditional.parse_date(value)
    assert found is None or found.tzinfo is UTC


def test_verdict_without_headers_is_falsy() -> None:
    assert not Preconditions.parse({"if-modified-since": "never"})
    assert Preconditions.parse({"if-match": "*"})
    assert Preconditions().evaluate(None, reading=False) is Verdict.PROCEED
