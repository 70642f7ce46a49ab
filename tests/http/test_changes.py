"""What JSON and forms say of a change, and what is no form at all."""

from __future__ import annotations

import falcon
import pytest
from hypothesis import given, strategies as st

from memchunk import KEEP, InvalidNameError
from memchunk_api.changes import MEMBERS, Change
from memchunk_api.documents import parse


@pytest.mark.parametrize(
    ("members", "change"),
    [
        ({}, Change()),
        ({"name": "a/b"}, Change("a/b")),
        ({"content_type": "text/css"}, Change(content_type="text/css")),
        ({"ttl": 60}, Change(ttl=60)),
        ({"ttl": None}, Change(ttl=None)),
        ({"name": "a", "content_type": "text/css", "ttl": 1}, Change("a", "text/css", 1)),
        ({"name": "a", "replace": True}, Change("a", replace=True)),
    ],
)
def test_members(members: dict[str, object], change: Change) -> None:
    assert Change.from_members(members) == change
    assert (Change.from_members(members).ttl is KEEP) == ("ttl" not in members)


@pytest.mark.parametrize(
    "members",
    [
        {"name": None},
        {"name": 1},
        {"name": ["a"]},
        {"content_type": None},
        {"content_type": "nonsense"},
        {"content_type": "text/plain\n"},
        {"ttl": 0},
        {"ttl": -1},
        {"ttl": 1.0},
        {"ttl": True},
        {"ttl": "60"},
        {"ttl": 10**12},
        {"ttl": 10**4000},
        {"replace": None},
        {"replace": 1},
    ],
)
def test_members_that_cannot_be(members: dict[str, object]) -> None:
    with pytest.raises(falcon.HTTPBadRequest) as caught:
        Change.from_members(members)
    assert next(iter(members)).partition("_")[0] in str(caught.value.description)


@pytest.mark.parametrize("name", ["", "..", "a//b", "\ud800", "a\x00", "x" * 513])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(InvalidNameError):
        Change.from_members({"name": name})


@pytest.mark.parametrize(
    ("data", "change"),
    [
        (b"file_name=a", Change("a")),
        (b"file_name=a&file_type=text/plain", Change("a", "text/plain")),
        (b"file_type=text%2Fplain&file_name=a%2Fb+c", Change("a/b c", "text/plain")),
        ("file_name=ü 日本".encode(), Change("ü 日本")),
        (b"file_size_bytes=12", Change(size=12)),
        (b"file_size_bytes=012", Change(size=12)),
    ],
)
def test_forms(data: bytes, change: Change) -> None:
    assert Change.from_form(data) == change


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"file_name",
        b"name=a",
        b"file_name=a&x=y",
        b"file_name=a&",
        b"file_name=a\n",
        b"file_name=a\0",
        b"\xfffile_name=a",
        b"file_name=\xff",
        b" file_name=a",
        b"file_name=a;file_type=b",
        b"file_name=a&" * 100,
        b"hello world",
    ],
)
def test_what_is_no_form(data: bytes) -> None:
    if data == b"file_name=a;file_type=b":
        assert Change.from_form(data) == Change("a;file_type=b")
    else:
        assert Change.from_form(data) is None


@pytest.mark.parametrize(
    "data",
    [
        b"file_name=a&file_name=b",
        b"file_name=",
        b"file_name=%ff",
        b"file_name=%00",
        b"file_name=..",
        b"file_type=",
        b"file_type=nonsense",
        b"file_size_bytes=",
        b"file_size_bytes=-1",
        b"file_size_bytes=1e3",
        b"file_size_bytes=" + b"9" * 5000,
    ],
)
def test_forms_that_cannot_be(data: bytes) -> None:
    with pytest.raises((falcon.HTTPBadRequest, InvalidNameError)):
        Change.from_form(data)


@given(st.binary(max_size=60))
def test_no_bytes_are_more_than_a_bad_form(data: bytes) -> None:
    for guess in data, b"file_name=" + data:
        try:
            Change.from_form(guess)
        except (falcon.HTTPBadRequest, InvalidNameError):
            assert guess.startswith(b"file_")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense",
        b"[]",
        b"null",
        b'"name"',
        b'{"name": "a"',
        b'{"name": "a"} x',
        b'{"nam": "a"}',
        b'{"\\ud800": "a"}',
        b'{"name": "a", "name": "b"}',
        b'{"ttl": NaN}',
        b'{"ttl": -Infinity}',
        b'{"ttl": ' + b"9" * 5000 + b"}",
        b'{"name": "\xff"}',
        b'\xef\xbb\xbf{"name": "a"}',
        '{"name": "a"}'.encode("utf-16"),
        b'{"name": ' + b"[" * 4000 + b"]" * 4000 + b"}",
        b"[" * 8000,
    ],
)
def test_bad_json(data: bytes) -> None:
    with pytest.raises(falcon.HTTPBadRequest) as caught:
        parse(data, known=MEMBERS)
    str(caught.value.description).encode()


def test_json_with_every_character_escaped() -> None:
    escaped = b'{"name": "\\u00e4\\ud83c\\udf88"}'
    assert Change.from_members(parse(escaped, known=MEMBERS)) == Change("ä🎈")
