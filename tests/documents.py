"""The code blocks of README and docs: what they are, and what becomes of each kind.

Programs and shell lines are run (`test_docs.py`, `http/test_docs.py`), data is parsed. What cannot
be run here is named in `NOT_RUN`, with the reason; a block of a kind not known here is a fault.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])

PARSED: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {"json": json.loads, "yaml": yaml.safe_load, "toml": tomllib.loads}
)
RUN = {
    "python",  # a program; one that begins with `# NAME.py` is that file, for pytest
    "sh",  # lines that are run on a server of the test's own
}
SHOWN = {
    "console",  # `$ ` and a command that is in NOT_RUN
    "text",  # what is seen on a terminal, or drawn; after `$ `, a verb of the command line
}
KINDS = {*PARSED, *RUN, *SHOWN}

# What a command that is not run begins with, and why it is not.
NOT_RUN = MappingProxyType(
    {
        "make ": "the workshop: CI runs each of its targets",
        "pip install ": "tests/packaging installs what was built",
        "docker ": "tests/containers builds the image and runs the stack",
        "systemctl ": "the machine's own services",
        "python3 -m venv /opt/": "outside of the test's directory",
        "/opt/": "outside of the test's directory",
        "install -m ": "outside of the test's directory",
        "pytest": "the files beside it are run with pytest",
    }
)

_BLOCK = re.compile(r"^( *)```(.*)\n((?:.*\n)*?)\1```$", re.MULTILINE)
_FILE = re.compile(r"# (\w+\.py)\n")


@dataclass(frozen=True)
class Block:
    """A code block: the page it is on, the line where it begins, its kind, its text."""

    page: str
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str | None:
        """The name of the file that it is, or None."""
        found = _FILE.match(self.text) if self.kind == "python" else None
        return found and found[1]


def read_blocks(page: str, markdown: str) -> list[Block]:
    """The code blocks of a page, in order."""
    found = [
        Block(page, markdown.count("\n", 0, each.start()) + 1, each[2].strip(), each[3])
        for each in _BLOCK.finditer(markdown)
    ]
    assert markdown.count("```") == 2 * len(found), f"{page} has a block that does not end"
    return found


BLOCKS = [
    block for path in PAGES for block in read_blocks(str(path.relative_to(ROOT)), path.read_text())
]


def blocks(kind: str, page: str | None = None) -> list[Block]:
    """The blocks of a kind, of one page or of all."""
    return [each for each in BLOCKS if each.kind == kind and page in (None, each.page)]


def pages_with(kind: str) -> list[str]:
    """The pages that have blocks of a kind."""
    return sorted({each.page for each in blocks(kind)})


def exemption(command: str) -> str | None:
    """What in `NOT_RUN` lets a command be left out, or None."""
    return next((start for start in NOT_RUN if command.startswith(start)), None)


def commands(block: Block) -> list[str]:
    """The commands of a block: what follows `$ `, or every line of an `sh` block."""
    lines = block.text.replace("\\\n", " ").splitlines()
    if block.kind == "sh":
        return [line for line in lines if line and not line.startswith("#")]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
