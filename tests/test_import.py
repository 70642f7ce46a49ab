"""`import memchunk` is light: it brings what a program needs to name the errors, and no more."""

from __future__ import annotations

import subprocess
import sys

import pytest

import memchunk


def imported_by(program: str) -> set[str]:
    """The packages that a program imports, when nothing else was."""
    show = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    command = [sys.executable, "-c", f"{program}\n{show}"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_the_import_brings_no_network_and_no_code_generator() -> None:
    heavy = {"pymemcache", "socket", "ssl", "logging", "dataclasses", "inspect", "ctypes", "json"}
    assert heavy & imported_by("import memchunk; memchunk.NotFoundError") == set()


def test_the_library_never_imports_a_framework() -> None:
    heavy = {"asyncio", "http", "email", "multiprocessing", "subprocess", "unittest"}
    assert heavy & imported_by("import memchunk; memchunk.connect") == set()


def test_every_public_name_is_there() -> None:
    for name in memchunk.__all__:
        assert getattr(memchunk, name) is not None
    everything: dict[str, object] = {}
    exec("from memchunk import *", everything)
    assert set(memchunk.__all__) <= set(everything)


def test_a_name_that_is_not_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'conect'"):
        memchunk.conect  # type: ignore[attr-defined]  # noqa: B018
