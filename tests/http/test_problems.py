"""The table of errors, and the documents made from it."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

import pytest

from memchunk import CorruptError, EvictedError, MemchunkError, UnavailableError
from memchunk_api import problems
from memchunk_api.buffers import BusyError


def subclasses(cls: type[Exception]) -> Iterator[type[Exception]]:
    for child in cls.__subclasses__():
        if child.__module__ == "memchunk.errors":
            yield child
        yield from subclasses(child)


@pytest.mark.parametrize("cls", [*subclasses(MemchunkError), BusyError])
def test_every_error_has_a_status_of_its_own(cls: type[Exception]) -> None:
    assert cls in problems.STATUS
    assert 400 <= problems.STATUS[cls] < 600


def test_the_statuses_are_those_of_the_design() -> None:
    by_name = {cls.__name__: int(status) for cls, status in problems.STATUS.items()}
    assert by_name == {
        "InvalidNameError": 400,
        "TooLargeError": 413,
        "NotFoundError": 404,
        "AlreadyExistsError": 409,
        "ChangedError": 412,
        "EvictedError": 410,
        "CorruptError": 422,
        "DigestMismatchError": 422,
        "UploadIncompleteError": 409,
        "LockedError": 423,
        "WrongOffsetError": 409,
        "StorageFullError": 507,
        "UnavailableError": 503,
        "BusyError": 503,
    }


def test_codes_tell_all_errors_apart() -> None:
    codes = [getattr(cls, "code", None) for cls in problems.STATUS]
    codes += list(problems.HTTP_CODES.values())
    assert None not in codes
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("cls", problems.STATUS)
def test_the_table_is_read_backwards(cls: type[Exception]) -> None:
    code = getattr(cls, "code", "")
    problem = problems.document(problems.STATUS[cls], code=code, message="what happened")
    error = problems.exception(problem)
    assert type(error) is (UnavailableError if cls is BusyError else cls)
    assert str(error) == "what happened"


def test_what_an_exception_holds_comes_back() -> None:
    evicted = problems.exception({"code": "evicted", "missing": [1, 3, "x", None, True]})
    assert isinstance(evicted, EvictedError)
    assert evicted.missing == (1, 3)
    away = problems.exception({"code": "unavailable", "server": "10.0.0.1:11211"})
    assert isinstance(away, UnavailableError)
    assert away.server == "10.0.0.1:11211"


@pytest.mark.parametrize("way", ["PUT", 'PATCH /metadata with "replace": true', "replace=True"])
def test_how_to_insist_is_said_in_the_words_of_the_library(way: str) -> None:
    message = f"there is a file 'a' already; choose another name, or replace it ({way})"
    error = problems.exception({"code": "already_exists", "message": message})
    assert str(error).endswith("; choose another name, or replace it (replace=True)")


@pytest.mark.parametrize("message", ["'replace it (a)' is there already", "replace it (PUT)\n"])
def test_what_only_looks_like_it_is_left_alone(message: str) -> None:
    error = problems.exception({"code": "already_exists", "message": message})
    assert str(error) == message


def test_documents_of_no_exception() -> None:
    for code in [*problems.HTTP_CODES.values(), "of another kind", None, 7, ["evicted"]]:
        assert problems.exception({"code": code}) is None
    assert problems.exception({}) is None


def test_an_error_between_the_known_ones_counts_as_its_parent() -> None:
    class RatherCorruptError(CorruptError):
        pass

    assert problems.status_of(RatherCorruptError("")) is HTTPStatus.UNPROCESSABLE_ENTITY
    assert problems.status_of(MemchunkError("")) is None


def test_a_document() -> None:
    assert problems.document(410, code="evicted", message="gone", instance="/files/ä", n=[1]) == {
        "type": "about:blank",
        "title": "Gone",
        "status": 410,
        "detail": "gone",
        "instance": "/files/%C3%A4",
        "code": "evicted",
        "message": "gone",
        "n": [1],
    }
