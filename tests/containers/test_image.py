"""The image holds what the server needs, and is asked for nothing that a service should not be."""

from __future__ import annotations

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import memchunk
from tests.containers.stack import Stack, inspect, run
from tests.packaging.test_lock import locked

IMAGE = "memchunk"


@pytest.fixture
def image(stack: Stack) -> str:
    """The image's name; the stack has built it."""
    return IMAGE


def in_image(image: str, script: str) -> str:
    return run("docker", "run", "--rm", "--read-only", image, "sh", "-c", script)


def test_it_listens_as_an_ordinary_user_and_has_a_health_check(image: str) -> None:
    config = inspect(image)["Config"]
    assert config["User"] == "memchunk"
    assert in_image(image, "id -u").strip() != "0"
    assert set(config["ExposedPorts"]) == {"8000/tcp", "4444/tcp"}
    assert "/readyz" in " ".join(config["Healthcheck"]["Test"])


def test_huge_pages_are_asked_for(image: str) -> None:
    assert "hugetlb=1" in in_image(image, "echo $GLIBC_TUNABLES")


def test_no_compiler_no_tests_no_sources(image: str) -> None:
    in_image(image, "for each in cc gcc make pytest ruff; do ! command -v $each || exit 1; done")
    in_image(image, "test ! -e /source && test ! -e /wheels")
    in_image(image, "! python -c 'import tests' 2>/dev/null")
    where = in_image(image, "python -c 'import memchunk; print(memchunk.__file__)'")
    assert "/site-packages/" in where


def test_it_holds_nothing_but_memchunk_and_what_is_locked(image: str) -> None:
    program = (
        "from importlib.metadata import distributions\n"
        "for each in distributions(): print(f'{each.name}=={each.version}')"
    )
    found = map(Requirement, in_image(image, f'python -c "{program}"').splitlines())
    inside = {f"{canonicalize_name(each.name)}{each.specifier}" for each in found}
    pinned = {f"{name}{requirement.specifier}" for name, (requirement, _) in locked().items()}
    assert inside - pinned == {f"memchunk=={memchunk.__version__}"}


def test_without_a_memcached_it_says_what_is_missing(image: str) -> None:
    said = in_image(image, "PATH=/opt/memchunk/bin; memchunk serve 2>&1 || true")
    assert "there is no memcached" in said
    assert said.count("\n") == 1
