"""Local files: which of them a `put` means, and how a `get` leaves a whole one or none.

No network here, and no terminal.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

STDIN = "-"


class LocalError(Exception):
    """A local file or directory cannot be used; the message is one line that names it."""


class TargetExistsError(LocalError):
    """There is a local file where a new one was to be."""


@dataclass(frozen=True, slots=True)
class Sendable:
    """A local file that is to be stored.

    Attributes:
        path: where it is; None for standard input.
        name: what it is to be called.
    """

    path: Path | None
    name: str


def find(argument: str, name: str | None, *, recursive: bool) -> Iterator[Sendable | LocalError]:
    """What one FILE of a `put` means: itself, or all files in a directory.

    Args:
        argument: a path, or `-` for standard input.
        name: what to call it (for a directory: in place of the directory's own name); with a
            slash at its end: the folder to put it in. None leaves it its own name.
        recursive: whether directories may be meant.

    What cannot be sent comes as an error, so that the rest still can.
    """
    if argument == STDIN:
        if name is None or name.endswith("/"):
            yield LocalError("standard input has no name of its own; give it one with --name")
        else:
            yield Sendable(None, name)
        return
    path = Path(argument)
    own = "" if path.name == ".." else path.name
    base = own if name is None else name + own if name.endswith("/") else name
    if not path.is_dir():
        yield Sendable(path, base)
    elif not recursive:
        yield LocalError(f"{argument} is a directory; -r puts all files in it")
    else:
        yield from _walk(path, base.rstrip("/"))


def _walk(directory: Path, base: str) -> Iterator[Sendable | LocalError]:
    try:
        entries = sorted(directory.iterdir())
    except OSError as error:
        yield LocalError(f"cannot list {directory}: {error.strerror}")
        return
    for path in entries:
        name = f"{base}/{path.name}" if base else path.name
        if path.is_dir():
            if path.is_symlink():  # it may lead out of here, or in a circle
                yield LocalError(f"{path} is a link to a directory; it was left out")
            else:
                yield from _walk(path, name)
        elif path.is_file() or not path.exists():
            yield Sendable(path, name)  # a link to nowhere fails when it is opened
        else:
            yield LocalError(f"{path} is neither a file nor a directory; it was left out")


def target_of(name: str, output: str | None) -> Path:
    """Where a file called `name` goes: `output`, or into it, or into the current directory.

    Raises:
        LocalError: `output` ends with a slash, and is no directory.
    """
    own = name.rpartition("/")[2]
    if own.startswith("-"):  # which the next command would take for an option
        own = "_" + own[1:]
    if output is None:
        return Path(own)
    if Path(output).is_dir():
        return Path(output, own)
    if output.endswith("/"):
        raise LocalError(f"{output} is no directory; make it first, or leave out the slash")
    return Path(output)


def is_device(target: Path) -> bool:
    """Whether it is a pipe, a terminal, /dev/null or the like, which is written to in place."""
    try:
        return not stat.S_ISREG(target.stat().st_mode)
    except OSError:
        return False


def write_in_place(target: Path, content: bytes) -> None:
    """Write to what is no regular file. Raises `LocalError`."""
    try:
        with target.open("wb") as device:
            device.write(content)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise LocalError(f"cannot write to {target}: {error.strerror}") from None


@contextmanager
def arriving(target: Path, *, replace: bool) -> Iterator[BinaryIO]:
    """A new file, which takes its place at `target` when the block ends, and is gone if it fails.

    Raises:
        TargetExistsError: `target` is there, and is not to be replaced.
        LocalError: it cannot be written.
    """
    place = Path(os.path.realpath(target))  # a link stays a link
    _refuse_existing(target, replace=replace)
    try:
        descriptor, draft = tempfile.mkstemp(".part", ".memchunk-", place.parent)
    except OSError as error:
        raise LocalError(f"cannot write into {place.parent}: {error.strerror}") from None
    try:
        with open(descriptor, "wb") as file:
            yield file
        Path(draft).chmod(_mode(place))
        if replace:
            Path(draft).replace(place)
        else:
            _take_place(Path(draft), place)
    except OSError as error:
        raise LocalError(f"cannot write {target}: {error.strerror}") from None
    finally:
        with suppress(FileNotFoundError):
            Path(draft).unlink()


def _take_place(draft: Path, place: Path) -> None:
    try:
        place.hardlink_to(draft)  # fails where there is a file by now
    except FileExistsError:
        _refuse_existing(place, replace=False)
    except OSError:  # a file system without hard links
        _refuse_existing(place, replace=False)
        draft.replace(place)


def _refuse_existing(target: Path, *, replace: bool) -> None:
    if not replace and os.path.lexists(target):
        raise TargetExistsError(f"{target} is there already; -f replaces it, -o names another file")


def _mode(place: Path) -> int:
    """The permissions of the file that is there, or those that a new file gets."""
    try:
        return stat.S_IMODE(place.stat().st_mode)
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
