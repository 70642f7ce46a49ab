"""What README and docs show is true: each program runs, each piece of data can be parsed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memchunk import MemchunkError, Store, errors
from tests.certificates import make_certificate
from tests.documents import (
    BLOCKS,
    KINDS,
    NOT_RUN,
    PAGES,
    PARSED,
    ROOT,
    Block,
    blocks,
    commands,
    exemption,
    pages_with,
    read_blocks,
)
from tests.servers import LocalMemcached, docker_answers

README = (ROOT / "README.md").read_text()
TLS = "cache.example.com:11211"
CA = "/etc/memcached/ca.pem"
_ADDRESS = re.compile(r"\b(?:10\.0\.0\.\d+|127\.0\.0\.1|cache\.example\.com):11211\b")

WITHOUT_ENGINE = """
import pytest

@pytest.fixture(scope="session")
def memcached():
    return "{address}"
"""


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_is_of_a_kind_that_is_tried(block: Block) -> None:
    assert block.kind in KINDS, f"{block} is of the kind {block.kind!r}: see tests/documents.py"


@pytest.mark.parametrize("block", [each for each in BLOCKS if each.kind in PARSED], ids=str)
def test_data_can_be_parsed(block: Block) -> None:
    assert PARSED[block.kind](block.text)


@pytest.mark.parametrize("block", blocks("console"), ids=str)
def test_what_is_not_run_is_said_to_be(block: Block) -> None:
    assert commands(block)
    assert [command for command in commands(block) if exemption(command) is None] == []


def test_nothing_is_left_out_that_nobody_shows() -> None:
    shown = {
        exemption(command)
        for block in BLOCKS
        if block.kind in {"sh", "console"}
        for command in commands(block)
    }
    assert set(NOT_RUN) - shown == set()


@pytest.mark.parametrize("page", pages_with("python"))
def test_the_programs_run(
    page: str, start_memcached: Callable[..., LocalMemcached], tmp_path: Path
) -> None:
    """One after the other, each with what those before it left; each store reaches its servers."""
    certificate = make_certificate(tmp_path)
    addresses: dict[str, str] = {}

    def at_home(match: re.Match[str]) -> str:
        if match[0] not in addresses:
            options: dict[str, Any] = {"tls": certificate.trusted()} if match[0] == TLS else {}
            extra = certificate.options() if options else ()
            addresses[match[0]] = start_memcached("-m", "64", *extra, **options).address
        return addresses[match[0]]

    variables: dict[str, Any] = {}
    for block in blocks("python", page):
        if block.file is None:
            program = _ADDRESS.sub(at_home, block.text).replace(CA, str(certificate.chain))
            exec(compile(program, str(block), "exec"), variables)
            store = variables.get("store")
            if isinstance(store, Store):
                store.check()
                store.close()


@pytest.mark.parametrize(
    "page", sorted({each.page for each in blocks("python") if each.file is not None})
)
def test_the_tests_pass(page: str, memcached_address: str, tmp_path: Path) -> None:
    """Those that a page shows for the user's own programs; in a container where Docker answers."""
    for block in blocks("python", page):
        if block.file is not None:
            (tmp_path / block.file).write_text(block.text)
    if not docker_answers():
        compile((tmp_path / "conftest.py").read_text(), "conftest.py", "exec")
        (tmp_path / "conftest.py").write_text(WITHOUT_ENGINE.format(address=memcached_address))
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_error_is_explained() -> None:
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, MemchunkError):
            assert f"`{error.__name__}`" in README or f"memchunk.{error.__name__}`" in README


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s:]*)(?:#([^)\s]+))?\)", path.read_text()):
        there = path.parent / target if target else path
        assert there.exists(), f"{path.name} links to {target}, which is not there"
        if anchor:
            assert anchor in _anchors(there), f"{path.name} links to {target}#{anchor}"


def test_every_test_that_is_named_is_there() -> None:
    named = re.findall(r"`((?:\w+/)?test_\w+\.py)`", (ROOT / "docs" / "guarantees.md").read_text())
    assert named
    assert [each for each in named if not (ROOT / "tests" / each).exists()] == []


def _anchors(page: Path) -> set[str]:
    """What the headings of a page can be linked by."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert {page for page in pages if f"({page})" not in index} == set()


def test_blocks_are_found_with_their_lines() -> None:
    [first, second] = read_blocks("x.md", "a\n```sh\nls\n```\n- b\n  ```json\n  {}\n  ```\n")
    assert (first.line, first.kind, first.text) == (2, "sh", "ls\n")
    assert (second.line, second.kind, second.text) == (6, "json", "  {}\n")
