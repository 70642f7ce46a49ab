"""The commit of a write: a manifest in its place, and what follows from it.

Before it nobody sees the write; after it everybody does. In between there is the moment when
its answer is lost, and then somebody has to look.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from memchunk.amend import Amender
from memchunk.backend import Backend
from memchunk.catalog import Catalog
from memchunk.draft import Draft, Order
from memchunk.errors import ChangedError, NotFoundError, StorageFullError, UnavailableError
from memchunk.expiry import DRAFT_SECONDS, chunk_exptime
from memchunk.index import Entry, Index, already_exists, changed, stands
from memchunk.manifest import Manifest
from memchunk.protocol import Command, Reply
from memchunk.reader import Reader

MAX_COMMITS = 100


class Commit(NamedTuple):
    """A manifest was put in its place.

    Attributes:
        manifest: the manifest.
        over: what stood there before, or None.
        recorded: the replies to its record in the journal.
        settled: whether its chunks are known to stay as long as it does.
    """

    manifest: Manifest
    over: Entry | None
    recorded: Sequence[Reply] = ()
    settled: bool = False


class Committer:
    """Commits the writes of an index."""

    def __init__(
        self, backend: Backend, index: Index, reader: Reader, amender: Amender, catalog: Catalog
    ) -> None:
        self._backend = backend
        self._index = index
        self._reader = reader
        self._amender = amender
        self._catalog = catalog
        self._names_are_free = True  # what the last of them was, the next one is likely to be

    def catch_up(self) -> None:
        """Do what earlier changes still owe: before a write, for it may need the room."""
        self._amender.catch_up()

    def look(
        self, order: Order, beside: Sequence[Command] = ()
    ) -> tuple[Entry | None, list[Reply]]:
        """What stands under the name, and may be written over; with the replies `beside` it.

        Raises `AlreadyExistsError`, `NotFoundError` and `ChangedError` where it must not be.
        """
        found, replies = self._index.look(order.name, beside)
        return self._permitted(order, found), replies

    def is_likely_new(self, order: Order, draft: Draft) -> bool:
        """Whether `create` is worth trying: most likely there is no file of that name yet."""
        return (
            self._names_are_free
            and order.if_match is None
            and self._index.recall(order.name) is None
            and self._index.server_of(order.name)
            is self._backend.server_of_chunks(draft.generation)
        )

    def create(
        self, order: Order, draft: Draft, chunks: Sequence[Command]
    ) -> tuple[Commit | None, Entry | None, list[Reply]]:
        """Store the chunks and commit them in one round trip, if there is no file yet.

        Returns the commit, or None; what may be written over by `commit` then; and the
        replies to the chunks. Raises what `look` does, `UnavailableError`, and
        `DigestMismatchError` before anything is sent.
        """
        manifest = draft.manifest(order, time.time())
        record, touches = self._catalog.beside(manifest), self._settling(manifest)
        draft.offered = manifest, None
        try:
            created = self._index.create(manifest, chunks, [*record, *touches])
        except UnavailableError:
            if not self._is_seen(manifest):
                raise
            return Commit(manifest, over=None), None, []
        refused = any(reply.word != "STORED" for reply in created.ahead)
        if created.done and not refused:
            done = self._done(manifest, None, created.beside, len(record))
            return done, None, created.ahead
        if created.done:
            self._amender.put_back(manifest, None)
        else:
            self._catalog.look_after(manifest)
        draft.offered = None
        # the chunks are drafts again, for the next step may come to nothing
        drafts = self._backend.touches(draft.generation, draft.count, DRAFT_SECONDS)
        seen, _ = self.look(order, beside=drafts)
        return None, seen, created.ahead

    def commit(self, order: Order, draft: Draft, seen: Entry | None) -> Commit:
        """Put the manifest of stored chunks in place of what was `seen` there.

        Where others were faster, look again. Raises what `look` does, `DigestMismatchError`,
        `StorageFullError` and `UnavailableError`.
        """
        manifest = draft.manifest(order, time.time())
        record, touches = self._catalog.beside(manifest), self._settling(manifest)
        for _ in range(MAX_COMMITS):
            draft.offered = manifest, None if seen is None else seen.manifest
            try:
                done, replies = self._index.put(manifest, over=seen, beside=[*record, *touches])
            except StorageFullError:
                draft.offered = None
                raise
            except UnavailableError:
                if not self._is_seen(manifest):
                    raise
                return Commit(manifest, over=seen)
            if done:
                return self._done(manifest, seen, replies, len(record))
            draft.offered = None
            seen, _ = self.look(order)
        raise ChangedError(
            f"{order.name!r} was changed {MAX_COMMITS} times while being written, or the "
            "connection was lost as often; try again",
            name=order.name,
        )

    def follow_up(self, commit: Commit) -> None:
        """See that a file that stands is listed and keeps its chunks; free the one before it.

        Raises `StorageFullError` where chunks are gone: what stood there before does so again.
        After any other exception, `give_up` sees to the rest.
        """
        manifest = commit.manifest
        before = None if commit.over is None else commit.over.manifest
        self._catalog.added(manifest, commit.recorded)
        if not (commit.settled or self._amender.settle(manifest)):
            self._amender.take_back(manifest, before)
            raise crowded_out(manifest.name)
        if before is not None and not stands(commit.over, manifest):
            self._amender.release(before)

    def give_up(self, draft: Draft) -> None:
        """Free the chunks of a write that was broken off; not of one that may stand.

        What became of such a one, is looked at later. Where it was not put, its chunks expire
        as drafts.
        """
        if draft.offered is None:
            self._backend.free(draft.generation, draft.count)
        else:
            self._amender.doubt(*draft.offered, written=True)

    def _permitted(self, order: Order, found: Entry | None) -> Entry | None:
        """What was found, once it is at rest; raise where it must not be written over."""
        seen = self._amender.at_rest(order.name, found)
        self._names_are_free = seen is None
        if order.if_match is not None:
            if seen is None:
                raise NotFoundError(
                    f"there is no file {order.name!r} to replace; leave if_match out to create it",
                    name=order.name,
                )
            if seen.manifest is None or seen.manifest.sha256 not in order.if_match:
                raise changed(order.name)
        elif seen is not None and not order.replace and self._reader.is_worth_keeping(seen):
            raise already_exists(order.name)
        return seen

    def _settling(self, manifest: Manifest) -> list[Command]:
        exptime = chunk_exptime(manifest.expires, time.time())
        return self._backend.touches(manifest.generation, manifest.layout.chunk_count, exptime)

    def _done(
        self, manifest: Manifest, over: Entry | None, replies: Sequence[Reply], records: int
    ) -> Commit:
        touched = all(reply.word == "TOUCHED" for reply in replies[records:])
        return Commit(manifest, over, replies[:records], touched and manifest.expires is None)

    def _is_seen(self, manifest: Manifest) -> bool:
        """Whether a manifest is seen to stand although memcached did not say so."""
        try:
            seen, _ = self._index.look(manifest.name)
        except UnavailableError:
            return False
        return stands(seen, manifest)


def crowded_out(name: str) -> StorageFullError:
    """The error for a file whose first chunks made way for its last."""
    return StorageFullError(
        f"memcached evicted the beginning of {name!r} before its end was stored; "
        "give it more memory (-m)",
        name=name,
    )
