"""Names as addresses and headers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import pytest
from hypothesis import given, strategies as st

from memchunk import FileInfo, InvalidNameError
from memchunk.names import check_name
from memchunk_api import description

NOW = datetime(2024, 5, 17, 12, 0, 0, 987_000, tzinfo=UTC)


def is_name(text: str) -> bool:
    try:
        check_name(text)
    except InvalidNameError:
        return False
    return True


names = st.text(max_size=100).filter(is_name)


@given(names)
def test_a_location_leads_back_to_its_name(name: str) -> None:
    path = description.location(name)
    assert path.isascii()
    assert not set(path) & set(' "<>?#\\^`{|}')
    assert unquote(path) == f"/files/{name}"


@given(names)
def test_a_disposition_is_a_header_that_holds_the_filename(name: str) -> None:
    value = description.disposition(name)
    assert value.isascii()
    assert value.isprintable()
    assert value.count('"') == 2
    assert unquote(value.rpartition("''")[2]) == name.rpartition("/")[2]


@pytest.mark.parametrize(
    ("content_type", "ending"),
    [(None, ""), ("image/png", ".png"), ("IMAGE/PNG; x=y", ".png"), ("made/up", "")],
)
def test_an_invented_name_ends_as_its_type_does(content_type: str | None, ending: str) -> None:
    assert description.invented_name("c0ffee", content_type) == "c0ffee" + ending


def test_how_long_a_file_may_be_kept_by_others() -> None:
    info = FileInfo("n", 1, "0" * 64, 1, 1, "text/plain", NOW, None)
    assert description.validators(info, NOW)["Cache-Control"] == "no-cache"
    ending = FileInfo("n", 1, "0" * 64, 1, 1, "text/plain", NOW, NOW + timedelta(seconds=90))
    headers = description.validators(ending, NOW)
    assert headers["Cache-Control"] == "max-age=90"
    assert headers["Expires"] == "Fri, 17 May 2024 12:01:30 GMT"
    late = description.validators(ending, NOW + timedelta(hours=1))
    assert late["Cache-Control"] == "max-age=0"
