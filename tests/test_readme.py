"""What the README shows is run, and what it lists is all there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from memchunk import MemchunkError, errors

README = (Path(__file__).parent.parent / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_program_runs(memcached_address: str, namespace: str) -> None:
    [program] = blocks("python")
    here = f'"{memcached_address}", namespace="{namespace}"'
    assert '"127.0.0.1:11211"' in program
    variables: dict[str, Any] = {}
    exec(program.replace('"127.0.0.1:11211"', here), variables)
    assert variables["version"] == b"1.7"
    variables["store"].close()


def test_every_error_is_explained() -> None:
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, MemchunkError):
            assert f"`{error.__name__}`" in README or f"memchunk.{error.__name__}`" in README
