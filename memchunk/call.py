"""A call about a file: its errors bear the file's name, the observer is told, its time is limited.

Classes, for `contextmanager` would cost a small file a few percent of its time.
"""

from __future__ import annotations

from memchunk.deadline import Within
from memchunk.errors import MemchunkError
from memchunk.observer import Observer


class Telling:
    """Puts the name of a file on the errors raised in the block, and tells of them."""

    __slots__ = ("_name", "_observer")

    def __init__(self, observer: Observer, name: str) -> None:
        self._observer = observer
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None:
            _tell(self._observer, self._name, error)


class Call(Within):
    """A call of so many seconds about a file runs, while the block does: see `Within`.

    What it raises is treated as by `Telling`.
    """

    __slots__ = ("_name", "_observer")

    def __init__(self, observer: Observer, name: str, seconds: float) -> None:
        self._observer = observer
        self._name = name
        self._seconds = seconds

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        super().__exit__(kind, error, trace)
        if error is not None:
            _tell(self._observer, self._name, error)


def _tell(observer: Observer, name: str, error: BaseException) -> None:
    if isinstance(error, MemchunkError):
        if error.name is None:
            error.name = name
        observer.failed(error)
