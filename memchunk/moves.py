"""Renames under way: the marks that they leave, and what others do about them.

A rename puts one generation under two names for a moment, and nobody may free the
chunks of the one with the other. So the manifest that will be left is marked with
`moving_to` first: readers do not mind, and whoever wants to change that file waits
until it has moved. The new manifest bears `moved_from`: who takes it away, or moves it
on, first sees that nothing is left there. `move` tells one rename from the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from memchunk.backend import Backend
from memchunk.deadline import deadline
from memchunk.errors import ChangedError
from memchunk.index import Entry, Index
from memchunk.manifest import Manifest

MAX_ATTEMPTS = 100
MOVE_SECONDS = 20  # a rename that takes longer has died: it waits for one reply meanwhile
MOVE_POLL_SECONDS = 0.01
MOVE_POLLS = int(2 * MOVE_SECONDS / MOVE_POLL_SECONDS)


class Moves:
    """The renames in an index."""

    def __init__(self, backend: Backend, index: Index) -> None:
        self._backend = backend
        self._index = index

    def at_rest(self, name: str, entry: Entry | None) -> Entry | None:
        """What stands under `name`, once it is not on its way to another; `entry` if it is not.

        Raises `ChangedError` where it still is when the call has to be over.
        """
        call = deadline(self._backend.deadline)
        for _ in range(MOVE_POLLS):
            if entry is None or entry.manifest is None or entry.manifest.moving_to is None:
                return entry
            if time.time() < entry.manifest.moving_since + MOVE_SECONDS:
                if call.left() < MOVE_POLL_SECONDS:
                    raise _moving(name)
                time.sleep(MOVE_POLL_SECONDS)
            else:
                self._clear(entry, entry.manifest)
            entry, _ = self._index.look(name)
        raise too_busy(name)

    def _clear(self, entry: Entry, manifest: Manifest) -> None:
        """Finish a rename that died, or take it back."""
        assert manifest.moving_to is not None
        there, _ = self._index.look(manifest.moving_to)
        if (
            there is not None
            and there.manifest is not None
            and there.manifest.move == manifest.move
        ):
            self._index.remove(manifest.name, entry)
        else:
            self._index.put(_unmarked(manifest), over=entry)

    def unmark(self, moving: Manifest) -> None:
        """Take back the mark of a rename that did not happen."""
        self._while_marked(
            moving.name,
            moving.move,
            lambda entry: self._index.put(_unmarked(moving), over=entry)[0],
        )

    def leave_origin(self, manifest: Manifest) -> bool:
        """See that nothing is left under the name that a file had before.

        False where the rename came so late that others had taken it back: the file has
        stayed under that name, too.
        """
        if manifest.moved_from is None:
            return True
        origin = manifest.moved_from
        return self._while_marked(
            origin, manifest.move, lambda entry: self._index.remove(origin, entry)
        )

    def _while_marked(self, name: str, move: str | None, act: Callable[[Entry], bool]) -> bool:
        """Do `act` on what stands under `name`, if it is what the rename `move` has marked.

        Returns False where that mark was taken back.
        """
        for _ in range(MAX_ATTEMPTS):
            entry, _ = self._index.look(name)
            if entry is None or entry.manifest is None or entry.manifest.move != move:
                return True
            if entry.manifest.moving_to is None:
                return False
            if act(entry):
                return True
        raise too_busy(name)


def _unmarked(moving: Manifest) -> Manifest:
    # `move` stays. Who marked it may come late, and sees by it that the file has stayed here;
    # and the journal must not hear of a token again that it was told is gone.
    return moving._replace(moving_to=None, moving_since=0)


def _moving(name: str) -> ChangedError:
    return ChangedError(
        f"{name!r} is on its way to another name, and stays so while whoever renames it is "
        f"away; try again, in {MOVE_SECONDS} seconds at the latest",
        name=name,
    )


def too_busy(name: str) -> ChangedError:
    """The error for a name that others change all the time."""
    return ChangedError(
        f"{name!r} was changed {MAX_ATTEMPTS} times by others meanwhile, or the connection was "
        "lost as often; try again",
        name=name,
    )
