"""What a person sees: names that play no tricks, sizes and times in words, tables, progress.

rich is imported only where there is a terminal to draw on.
"""

from __future__ import annotations

import logging
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from memchunk.draft import Progress

# Controls, marks that turn the direction of writing, halves of characters, line breaks. The
# joiner is one of them too, but emoji are made of it.
_TRICKS = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINER = "\N{ZERO WIDTH JOINER}"

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def shown(text: str) -> str:
    """`text` as one line that moves no cursor and reads in the order in which it is written."""
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in _TRICKS and character != _JOINER
        else character
        for character in text
    )


def size_in_words(size: int) -> str:
    """A number of bytes, in units of 1024."""
    if size < 1024:
        return f"{size} B"
    if size < 1024 * 1024:
        return f"{size / 1024:.1f} KiB"
    return f"{size / (1024 * 1024):.1f} MiB"


def time_in_words(span: timedelta) -> str:
    """A span of time, rounded to the largest unit of which there is at least one."""
    seconds = max(0, round(span.total_seconds()))
    for length, unit in _UNITS:
        if seconds >= length:
            return f"{round(seconds / length)} {unit}"
    return "0 s"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, right: str) -> str:
    """Rows under headings, as lines; the column headed `right` holds numbers.

    Nothing is shortened: a line that is too long goes on in the next one, and its last column
    can still be copied.
    """
    from rich.cells import cell_len

    def line(row: Sequence[str]) -> str:
        cells = [
            " " * (width - cell_len(cell)) + cell
            if heading == right
            else cell + " " * (width - cell_len(cell))
            for heading, cell, width in zip(headings, row, widths, strict=True)
        ]
        return "  ".join(cells).rstrip() + "\n"

    shown_rows = [[shown(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(headings, *shown_rows, strict=True)]
    widths[-1] = 0  # nothing stands to the right of it
    return click.style(line(headings), bold=True) + "".join(map(line, shown_rows))


@contextmanager
def progress_bar(label: str) -> Iterator[Progress | None]:
    """A bar on stderr, and what moves it; None where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress as Bars,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(shown(label), total=None)

        def move(done: int, total: int | None) -> None:
            bars.update(task, completed=done, total=total)

        try:
            yield move
        except BaseException:
            bars.live.transient = True  # the error takes the place of the bar
            raise


class WaitingNotices(logging.Handler):
    """Tells a person at the terminal why nothing happens for a while."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message."""
        click.echo(f"memchunk: {shown(record.getMessage())}", err=True)


def tell_of_waiting() -> None:
    """Let what the client logs be seen, where stderr is a terminal."""
    log = logging.getLogger("memchunk_api")
    if sys.stderr.isatty() and not log.handlers:
        log.addHandler(WaitingNotices())
        log.setLevel(logging.INFO)
