"""The shell lines that README and docs show are run, and do what is said of them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from memchunk_api import outcomes
from memchunk_api.cli import main
from tests.documents import ROOT, Block, blocks, commands, exemption, pages_with
from tests.http.commanding import CommandLine
from tests.http.serving import Server
from tests.servers import LocalMemcached

URL = "http://127.0.0.1:8000"
# curl fails where the server refuses; the verbs of memchunk are those of this tree
PROGRAMS = f"""
curl() {{ command curl --silent --show-error --fail "$@"; }}
memchunk() {{ "{sys.executable}" -m memchunk_api "$@"; }}
"""
DD = re.compile(r"[\d+]+ (records|bytes) ")  # it reports what it did
FILES = "q3.pdf", "a.jpg", "b.jpg", "photos/a.jpg", "docs/x.md", "site/index.html", "site/css/a.css"


def lines_to_run(block: Block) -> str:
    """A block without the commands that are not run."""
    lines = block.text.splitlines(keepends=True)
    return "".join(line for line in lines if exemption(line) is None)


@pytest.fixture
def run_page(
    serve: Callable[..., Server],
    start_memcached: Callable[..., LocalMemcached],
    tmp_path: Path,
) -> Callable[[str], str]:
    """A function that runs all shell lines of a page, one after the other, on a new server.

    Returns what they write to standard output; none may fail, or write to standard error.
    """
    server = serve(SERVERS=start_memcached("-m", "1024").address)
    for each in FILES:
        (tmp_path / each).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / each).write_text(each)

    def run(page: str) -> str:
        script = "".join(lines_to_run(block) for block in blocks("sh", page))
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", PROGRAMS + script.replace(URL, server.url)],
            cwd=tmp_path,
            env=CommandLine(tmp_path, server.url).environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert not [line for line in done.stderr.splitlines() if not DD.match(line)]
        return done.stdout

    return run


# What is on the standard output of a page's lines, and in its files when they are over.
SAID = {
    "docs/quick-start.md": ['"name": "backup/big"', '"name": "other"', '"name": "sub/new.dat"'],
    "docs/command-line.md": ["photos/b.jpg", "site/css/a.css", "name:    q3.pdf\n"],
    "README.md": ['"name": "backup/big"', "photos/a.jpg"],
}
WRITTEN = {"docs/command-line.md": {"copy.pdf": "q3.pdf"}}


@pytest.mark.parametrize("page", pages_with("sh"))
def test_the_shell_lines_work(page: str, run_page: Callable[[str], str], tmp_path: Path) -> None:
    said = run_page(page)
    for each in SAID.get(page, []):
        assert each in said
    if (tmp_path / "part").exists():
        content = (tmp_path / "bigoldfile.dat").read_bytes()
        assert (tmp_path / "part").read_bytes() == content[1000:2000]
        assert (tmp_path / "copy.dat").read_bytes() == content
    for name, text in WRITTEN.get(page, {}).items():
        assert (tmp_path / name).read_text() == text


@pytest.mark.parametrize("block", blocks("text"), ids=str)
def test_every_verb_that_is_shown_is_there(block: Block) -> None:
    verbs = {command.split()[1] for command in commands(block) if command.startswith("memchunk ")}
    assert verbs <= main.commands.keys()


def test_the_page_on_the_command_line_has_every_exit_status() -> None:
    page = (ROOT / "docs" / "command-line.md").read_text()
    listed = {int(number) for number in re.findall(r"^\| ([0-9]+) \|", page, re.MULTILINE)}
    assert listed == {0, *outcomes.EXIT_STATUS.values()}
