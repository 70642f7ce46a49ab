"""How a command ends: which exit status an error has, and the one line that tells of it.

One table for scripts to rely on; the help and docs/command-line.md repeat it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TextIO, TypeVar

import click

from memchunk import errors
from memchunk_api.exchange import UnexpectedAnswerError
from memchunk_api.local import LocalError, TargetExistsError
from memchunk_api.terminal import shown

T = TypeVar("T")

EXIT_STATUS: dict[type[BaseException], int] = {
    OSError: 1,
    LocalError: 1,
    errors.InvalidNameError: 2,
    errors.NotFoundError: 3,
    errors.AlreadyExistsError: 4,
    TargetExistsError: 4,
    errors.EvictedError: 5,
    errors.CorruptError: 6,
    errors.UnavailableError: 7,
    errors.StorageFullError: 8,
    errors.TooLargeError: 9,
    errors.ChangedError: 10,
    errors.UploadIncompleteError: 10,
    errors.LockedError: 10,
    errors.WrongOffsetError: 10,
    UnexpectedAnswerError: 11,
    KeyboardInterrupt: 130,  # as shells have it: 128 and the number of the signal
    BrokenPipeError: 141,
}

# After these the next file would fare no better.
_ENDS_ALL = (BrokenPipeError, errors.UnavailableError, errors.StorageFullError)

# Of which file they tell, where the library's words do not.
_ABOUT_ONE_FILE = (
    errors.InvalidNameError,
    errors.TooLargeError,
    errors.CorruptError,
    errors.StorageFullError,
)

UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command, or its work on one file, failed.

    Attributes:
        status: the exit status.
        message: one line for a person; empty where nothing is to be said.
        ends_all: whether the other files need not be tried.
    """

    status: int
    message: str
    ends_all: bool


def outcome_of(error: BaseException) -> Outcome | None:
    """What an exception means; None for one that nobody expected."""
    for cls in type(error).__mro__:
        if cls in EXIT_STATUS:
            unauthorized = getattr(error, "status", None) == UNAUTHORIZED
            ends_all = isinstance(error, _ENDS_ALL) or unauthorized
            return Outcome(EXIT_STATUS[cls], _message(error), ends_all)
    return None


def tell(outcome: Outcome) -> None:
    """Say on stderr what went wrong."""
    with suppress(OSError):  # nobody can be told, and the status tells all the same
        if outcome.message:
            click.echo(f"memchunk: {outcome.message}", err=True)
    for stream in sys.stdout, sys.stderr:
        _give_up_if_broken(stream)


def _give_up_if_broken(stream: TextIO) -> None:
    """Let what is left for a stream that is closed or full not fail once more when Python ends."""
    with suppress(OSError):
        stream.flush()
        return
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, stream.fileno())
    os.close(devnull)


def for_each(items: Iterable[T], act: Callable[[T], object]) -> None:
    """Do `act` for each item, also after one that fails; then exit as the first that failed."""
    status = 0
    for item in items:
        try:
            act(item)
        except Exception as error:
            outcome = outcome_of(error)
            if outcome is None:
                raise
            tell(outcome)
            status = status or outcome.status
            if outcome.ends_all:
                break
    if status:
        sys.exit(status)


def _message(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; nothing half done was left"
    if isinstance(error, BrokenPipeError):
        return ""  # whoever read our output has seen enough
    message = str(error)
    if isinstance(error, OSError):
        message = error.strerror or message
        if error.filename is not None:
            message = f"{error.filename}: {message}"
    elif isinstance(error, errors.AlreadyExistsError):
        message = message.replace("replace=True", "-f")
    elif getattr(error, "status", None) == UNAUTHORIZED:
        message += "; for this command MEMCHUNK_TOKEN holds it"
    elif isinstance(error, _ABOUT_ONE_FILE) and error.name and repr(error.name) not in message:
        message = f"{error.name!r}: {message}"
    return shown(message)
