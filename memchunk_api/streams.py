"""The standard streams as the verbs rely on them, however the command was started."""

from __future__ import annotations

import io
import os
import sys

# What takes the place of a closed stream: nobody can read from the first, nor write to the
# second, so that what they were needed for fails as it should; words for nobody go nowhere.
_IN_PLACE = (os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)


def mend() -> None:
    """Let all three be there, and standard output take all that is written to it, or tell."""
    _open_what_is_closed()
    # With PYTHONUNBUFFERED it may take a part of it, and say so only in a number that nobody reads.
    if isinstance(sys.stdout.buffer, io.RawIOBase):
        encoding, errors = sys.stdout.encoding, sys.stdout.errors
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(sys.stdout.detach()), encoding, errors)


def _open_what_is_closed() -> None:
    # Else the next file or connection would get the number, and what is told be written into it.
    for number, mode in enumerate(_IN_PLACE):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # gets the lowest number that is free
    # Python has None for those that were closed when it started.
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
