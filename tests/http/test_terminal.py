"""The command line as a person sees it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from memchunk_api import terminal
from memchunk_api.client import Client
from tests.http.commanding import CommandLine
from tests.http.serving import Server

OVERRIDE = "\N{RIGHT-TO-LEFT OVERRIDE}"


@pytest.fixture
def run(tmp_path: Path, server: Server) -> CommandLine:
    return CommandLine(tmp_path, server.url)


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client


def test_progress_of_a_put_and_a_get(
    run: CommandLine, client: Client, name: str, tmp_path: Path
) -> None:
    (tmp_path / f"[red]{OVERRIDE}x").write_bytes(bytes(2_097_152))
    status, seen = run.on_terminal("put", f"[red]{OVERRIDE}x", "--name", f"{name}/")
    assert status == 0
    assert f"{name}/[red]\\u202ex" in seen
    assert "2.0/2.0 MiB" in seen
    status, seen = run.on_terminal("get", f"{name}/[red]{OVERRIDE}x", "-o", "copy")
    assert status == 0
    assert "2.0/2.0 MiB" in seen
    assert (tmp_path / "copy").read_bytes() == bytes(2_097_152)


def test_an_error_takes_the_place_of_the_bar(run: CommandLine, client: Client, name: str) -> None:
    client.put(name, b"old")
    (run.directory / "x").write_bytes(b"new")
    status, seen = run.on_terminal("put", "x", "--name", name)
    assert status == 4
    assert seen.rstrip().splitlines()[-1].lstrip().startswith("memchunk: there is a file")


def test_a_list_is_a_table(run: CommandLine, client: Client, name: str) -> None:
    client.put(f"{name}/plain.txt", b"12345")
    client.put(f"{name}/[bold]{OVERRIDE}gpj.exe", bytes(3_000_000), ttl=7300)
    status, seen = run.on_terminal("ls", name)
    assert status == 0
    heading, *rows = [line.split() for line in seen.splitlines()]
    assert heading == ["size", "type", "age", "expires", "name"]
    assert rows[0][:2] == ["2.9", "MiB"]
    assert rows[0][-3:] == ["in", "2", "h", f"{name}/[bold]\\u202egpj.exe"][-3:]
    assert rows[1][:3] == ["5", "B", "text/plain"]
    assert rows[1][-2:] == ["never", f"{name}/plain.txt"]


def test_a_long_name_is_not_cut(run: CommandLine, client: Client, name: str) -> None:
    long = f"{name}/" + "x" * 200
    client.put(long, b"")
    _, seen = run.on_terminal("ls", "-l", name)
    assert seen.endswith(f"  {long}\r\n")


def test_an_empty_list_is_told(run: CommandLine, name: str) -> None:
    status, seen = run.on_terminal("ls", name)
    assert status == 0
    assert "no such files" in seen


def test_facts_and_errors_show_names_as_they_are(
    run: CommandLine, client: Client, name: str
) -> None:
    client.put(f"{name}{OVERRIDE}x", b"")
    status, seen = run.on_terminal("stat", f"{name}{OVERRIDE}x")
    assert status == 0
    assert f"{name}\\u202ex" in seen
    assert OVERRIDE not in seen
    status, seen = run.on_terminal("get", f"{name}{OVERRIDE}none")
    assert status == 3
    assert OVERRIDE not in seen


def test_names_that_play_tricks() -> None:
    tricks = {
        "a\x1b[2Jb": "a\\x1b[2Jb",
        "a\nb": "a\\nb",
        f"a{OVERRIDE}b": "a\\u202eb",
        "a\N{RIGHT-TO-LEFT MARK}b": "a\\u200fb",
        "a\N{LINE SEPARATOR}b": "a\\u2028b",
        "a\udc80b": "a\\udc80b",
        "a\x9bb": "a\\x9bb",
    }
    for name, shown in tricks.items():
        assert terminal.shown(name) == shown
    for honest in "a b", "\u05d0\u05d1", "\N{WOMAN}\N{ZERO WIDTH JOINER}\N{ROCKET}", "[red]":
        assert terminal.shown(honest) == honest


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (52_428_800, "50.0 MiB")],
)
def test_sizes(size: int, words: str) -> None:
    assert terminal.size_in_words(size) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0 s"), (0.4, "0 s"), (59, "59 s"), (60, "1 min"), (7199, "2 h"), (604_799, "7 d")],
)
def test_times(seconds: float, words: str) -> None:
    assert terminal.time_in_words(timedelta(seconds=seconds)) == words
