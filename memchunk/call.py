"""A call about a file: its errors bear the file's name, the observer is told, its time is limited.

Classes, for `contextmanager` would cost a small file a few percent of its time.
"""

from __future__ import annotations

from typing import Any

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
        if isinstance(error, MemchunkError):
            if error.name is None:
                error.name = self._name
            self._observer.failed(error)


class Call(Telling):
    """A call of so many seconds about a file runs, while the block does: see `Within`."""

    __slots__ = ("_within",)

    def __init__(self, observer: Observer, name: str, seconds: float) -> None:
        super().__init__(observer, name)
        self._within = Within(seconds)

    def __enter__(self) -> None:
        self._within.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._within.__exit__()
        super().__exit__(*error)
