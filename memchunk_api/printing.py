"""Files described on standard output: for a person at a terminal, or for the next program.

To a person names are shown so that they play no tricks; a program gets them as they are.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from memchunk_api import terminal
from memchunk_api.local import LocalError

if TYPE_CHECKING:
    from memchunk import FileInfo

BRIEF = ("size", "type", "age", "expires", "name")
FULL = ("size", "type", "stored", "expires", "sha256", "name")


def print_list(files: Iterable[FileInfo], *, in_full: bool, as_json: bool) -> None:
    """Print a list: a table on a terminal, else one name per line, or columns, or JSON."""
    if as_json:
        _print_json([_document(info) for info in files])
    elif sys.stdout.isatty():
        now = datetime.now(UTC)
        rows = [_full(info) if in_full else _brief(info, now) for info in files]
        if rows:
            drawn = terminal.table(FULL if in_full else BRIEF, rows, right="size")
            write_out(drawn.encode(sys.stdout.encoding, "backslashreplace"))
        else:
            click.echo("memchunk: there are no such files", err=True)
    else:
        for info in files:
            line = "\t".join(_full(info)) if in_full else info.name
            write_out(line.encode() + b"\n", flush=False)
        write_out(b"")


def print_facts(info: FileInfo, *, as_json: bool) -> None:
    """Print all that is known of one file."""
    if as_json:
        _print_json(_document(info))
        return
    facts = {
        "name": terminal.shown(info.name) if sys.stdout.isatty() else info.name,
        "size": f"{info.size} bytes ({terminal.size_in_words(info.size)})",
        "type": info.content_type,
        "sha256": info.sha256,
        "stored": _time(info.created_at),
        "expires": _time(info.expires_at),
        "chunks": f"{info.chunk_count} of {info.chunk_size} bytes",
    }
    write_out("".join(f"{key + ':':9}{value}\n" for key, value in facts.items()).encode())


def write_out(content: bytes, *, flush: bool = True) -> None:
    """Write to standard output, while an error can still be told."""
    stdout = sys.stdout.buffer
    try:
        stdout.write(content)
        if flush:
            stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise LocalError(f"cannot write to standard output: {error.strerror}") from None


def _print_json(document: object) -> None:
    # ASCII, so that no name in it can move a cursor.
    write_out(json.dumps(document, indent=2).encode() + b"\n")


def _document(info: FileInfo) -> dict[str, object]:
    from memchunk_api import description

    return description.as_json(info)


def _brief(info: FileInfo, now: datetime) -> tuple[str, ...]:
    expires = "never"
    if info.expires_at is not None:
        expires = f"in {terminal.time_in_words(info.expires_at - now)}"
    age = terminal.time_in_words(now - info.created_at)
    return terminal.size_in_words(info.size), info.content_type, age, expires, info.name


def _full(info: FileInfo) -> tuple[str, ...]:
    times = _time(info.created_at), _time(info.expires_at)
    return str(info.size), info.content_type, *times, info.sha256, info.name


def _time(moment: datetime | None) -> str:
    return "never" if moment is None else moment.isoformat(timespec="seconds")
