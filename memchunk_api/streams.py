"""The standard streams as the verbs rely on them, however the command was started."""

from __future__ import annotations

import io
import sys


def mend() -> None:
    """See to it that standard output takes all that is written to it, or tells that it does not."""
    # With PYTHONUNBUFFERED it may take a part of it, and say so only in a number that nobody reads.
    if sys.stdout is not None and isinstance(sys.stdout.buffer, io.RawIOBase):
        encoding, errors = sys.stdout.encoding, sys.stdout.errors
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(sys.stdout.detach()), encoding, errors)
